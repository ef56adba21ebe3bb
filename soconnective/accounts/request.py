"""Who is asking, in which workspace, with which role: read once at the start of each request."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, g, redirect, render_template, request, session, url_for
from flask_login import current_user

from soconnective.accounts import queries
from soconnective.core import access, tenancy
from soconnective.core.access import Actor
from soconnective.core.db import abandon
from soconnective.core.forms import workspace_of_token
from soconnective.core.registry import registry
from soconnective.core.workspace import Workspace, current_workspace, enter_workspace

_OPEN = {"static", "accounts.setup", "dashboard.healthz", "dashboard.readyz"}


def init_app(app: Flask) -> None:
    app.before_request(_load)
    app.context_processor(_context)


def _load() -> Any:
    if request.endpoint in _OPEN or (request.endpoint or "").startswith("static") or access.at_a_door():
        return None
    if not current_user.is_authenticated:
        if not queries.has_users():
            return redirect(url_for("accounts.setup"))
        return None
    user: Any = current_user._get_current_object()  # noqa: SLF001  werkzeug has no other way to the object
    access.enter_actor(Actor("person", user.id, user.name))
    memberships = queries.memberships_of(user.id)
    g.workspaces = [(membership, tenant) for membership, tenant in memberships]
    g.person = user
    chosen = session.get("tenant_id", user.last_workspace_id)
    here = next(
        (pair for pair in memberships if pair[1].id == chosen), memberships[0] if memberships else None
    )
    if here is None:
        return None
    membership, tenant = here
    g.role = membership.role
    tenancy.enter_tenant(tenant.id)
    enter_workspace(Workspace(tenant.id, tenant.name, tenant.currency, tenant.timezone, tenant.is_demo))
    return _refuse_other_workspace(tenant.id)


def _refuse_other_workspace(tenant_id: int) -> Any:
    """A form made in one workspace and posted after a switch in another tab writes nothing."""
    if request.method in ("GET", "HEAD", "OPTIONS") or request.endpoint == "accounts.switch_workspace":
        return None
    token = request.form.get("workspace")
    if not token:
        return None
    meant = workspace_of_token(token)
    if meant == tenant_id:
        return None
    typed = [
        (name, value)
        for name, value in request.form.items(multi=True)
        if name not in ("csrf_token", "workspace", "version", "op", "form_key")
        and "password" not in name
        and value
    ]
    other = next((tenant for _m, tenant in g.workspaces if tenant.id == meant), None)
    abandon()
    html = render_template(
        "accounts/other_workspace.html", typed=typed, other=other, here=current_workspace()
    )
    return Response(html, 409)


def _is_here(item: str, endpoint: str) -> bool:
    """Whether an entry of the sidebar leads to where we are: to this page, or to the area's list."""
    area, page = item.split(".")
    return item == endpoint or (
        page == "index" and endpoint.split(".", maxsplit=1)[0] == area and area != "dashboard"
    )


def _context() -> dict[str, Any]:
    """What base.html draws around every page; made once a request, since each panel is a template of its own."""
    if "frame" not in g:
        g.frame = _frame(g.get("role"))
    return g.frame  # type: ignore[no-any-return]


def _frame(role: str | None) -> dict[str, Any]:
    if role is None:
        return {
            "current_workspace": None,
            "workspaces": [],
            "current_person": None,
            "nav_items": [],
            "new_menu": [],
        }
    endpoint = request.endpoint or ""
    nav = [
        {
            "label": item.label,
            "url": url_for(item.endpoint),
            "icon": item.icon,
            "is_active": _is_here(item.endpoint, endpoint),
            "badge": item.badge() if item.badge else None,
            "group": item.group,
        }
        for item in registry.in_order(registry.nav.values())
        if access.role_may(role, item.permission)
    ]
    new = [
        {"label": item.label, "url": url_for(item.endpoint), "icon": item.icon, "key": item.name}
        for item in registry.in_order(registry.new.values())
        if access.role_may(role, "records.edit")
    ]
    return {
        "current_workspace": current_workspace(),
        "workspaces": [{"id": t.id, "name": t.name, "role": m.role} for m, t in g.workspaces],
        "current_person": {"id": g.person.id, "name": g.person.name, "email": g.person.email, "role": role},
        "nav_items": nav,
        "new_menu": new,
    }

"""Settings: the sections that areas registered, and the workspace's own."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, abort, flash, g, redirect, render_template, url_for

from soconnective.accounts import queries
from soconnective.accounts.forms import WorkspaceFields
from soconnective.accounts.operations import update_tenant
from soconnective.core.access import may, role_may
from soconnective.core.registry import SettingsSection, registry
from soconnective.core.tenancy import current_tenant_id

bp = Blueprint("settings", __name__, url_prefix="/dashboard/settings")


def init_app(app: Flask) -> None:
    app.register_blueprint(bp)
    registry.add(
        SettingsSection(
            "workspace",
            "Workspace",
            "settings.workspace",
            "building",
            20,
            "workspace.edit",
            "Its name, currency and time zone.",
        )
    )


@bp.get("")
@may("account.own")
def index() -> Any:
    sections = [
        section
        for section in registry.in_order(registry.settings.values())
        if role_may(g.role, section.permission) and section.is_shown()
    ]
    return render_template("settings/index.html", sections=sections)


@bp.route("/workspace", methods=["GET", "POST"])
@may("workspace.edit")
def workspace() -> Any:
    tenant = queries.get_tenant(current_tenant_id()) or abort(404)
    form = WorkspaceFields(obj=tenant)
    if form.saved(lambda: update_tenant(tenant, **form.values())):
        flash("Saved.", "success")
        return redirect(url_for("settings.workspace"))
    return render_template("settings/workspace.html", form=form), form.status

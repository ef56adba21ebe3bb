"""Who acts, and what each role may do.

`PERMISSIONS` is the documented table *and* the data that `may()` reads. A view states what it
needs with ``@may("records.edit")``, or that it needs none with ``@public``; a view that states
nothing fails a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from flask import abort, current_app, g, request

View = TypeVar("View", bound=Callable[..., Any])

ROLES = ("owner", "admin", "member", "viewer")

# permission: (who has it, what it allows)
PERMISSIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "records.view": (
        ("owner", "admin", "member", "viewer"),
        "See every record, timeline and run of the workspace",
    ),
    "records.edit": (("owner", "admin", "member"), "Create, change, move and delete records; write notes"),
    "automations.view": (("owner", "admin", "member", "viewer"), "See the rules and what they did"),
    "automations.edit": (("owner", "admin"), "Create, change, switch and delete rules"),
    "pipelines.edit": (("owner", "admin"), "Edit pipelines and stages"),
    "tags.edit": (
        ("owner", "admin"),
        "Rename, recolour and delete tags (whoever edits records may also make new ones)",
    ),
    "views.own": (
        ("owner", "admin", "member", "viewer"),
        "Keep filters of lists as views of one's own; use the shared ones",
    ),
    "views.share": (
        ("owner", "admin", "member"),
        "Share one's views with the workspace (a shared one is changed by its maker, owners and admins)",
    ),
    "members.manage": (("owner", "admin"), "Invite, disable and remove members; change roles below owner"),
    "webhooks.edit": (("owner", "admin"), "Set up where webhooks go to and come from"),
    "workspace.edit": (("owner", "admin"), "Change the workspace's name, currency and time zone"),
    "workspace.own": (("owner",), "Appoint owners, remove the demo data"),
    "account.own": (
        ("owner", "admin", "member", "viewer"),
        "Change one's own name, password and second factor",
    ),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a frozen copy that is stored with what was done.

    `kind` is one of person, automation, import, api, schedule, system.
    """

    kind: str
    id: int | None
    name: str


SYSTEM = Actor("system", None, "System")

_actor: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)


def current_actor() -> Actor:
    return _actor.get()


def enter_actor(actor: Actor) -> None:
    """Set who acts for the rest of this context (a request)."""
    _actor.set(actor)


@contextmanager
def acting_as(actor: Actor) -> Iterator[Actor]:
    token = _actor.set(actor)
    try:
        yield actor
    finally:
        _actor.reset(token)


def role_may(role: str | None, permission: str) -> bool:
    """Whether `role` has `permission`; KeyError for a permission that is not in the table."""
    return role in PERMISSIONS[permission][0]


def can(permission: str) -> bool:
    """Whether the signed-in person's role in the current workspace has `permission` (for templates and views)."""
    return role_may(g.get("role"), permission)


def may(permission: str) -> Callable[[View], View]:
    """Only for signed-in members whose role has `permission`: others get the sign-in page, or 403."""
    roles = PERMISSIONS[permission][0]

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            role = g.get("role")
            if role is None:
                return current_app.extensions["soconnective.sign_in"]()
            if role not in roles:
                abort(403)
            return view(*args, **kwargs)

        guarded.permission = permission  # type: ignore[attr-defined]
        return guarded  # type: ignore[return-value]

    return decorate


def public(view: View) -> View:
    """A view that anybody may call, said on purpose."""
    view.permission = None  # type: ignore[attr-defined]
    return view


def door(view: View) -> View:
    """A view that other programs call: JSON, no session and no CSRF token. What it takes must prove itself."""
    view.is_door = True  # type: ignore[attr-defined]
    return public(view)


def at_a_door() -> bool:
    """Whether the current request is for such a view."""
    return bool(getattr(current_app.view_functions.get(request.endpoint or ""), "is_door", False))

"""Workspaces, people, memberships, roles, invitations, sign-in.

Owns the tables `tenants`, `users`, `memberships`, `invitations` and `rate_windows`: they belong to the
instance, not to a tenant, and are read only in `queries`. Knows nothing of the CRM's records: what a
person holds, and how it is handed over, comes from the registry.
"""

from __future__ import annotations

from flask import Flask

from soconnective.accounts import member_views, queries, request, security, views
from soconnective.core.registry import SettingsSection, registry
from soconnective.core.workspace import list_workspaces_with, load_workspaces_with


def init_app(app: Flask) -> None:
    load_workspaces_with(queries.load_workspace)
    list_workspaces_with(queries.workspace_ids)
    registry.people.load = queries.load_people
    security.init_app(app)
    request.init_app(app)
    app.register_blueprint(views.bp)
    app.register_blueprint(member_views.bp)
    registry.add(
        SettingsSection(
            "account",
            "My account",
            "accounts.account",
            "user",
            10,
            "account.own",
            "Your name, password and second factor.",
        ),
        SettingsSection(
            "members",
            "People",
            "members.index",
            "users",
            30,
            "members.manage",
            "Who is in this workspace and what they may do.",
        ),
    )

"""Believable data, made through the operations, so that rules and the timeline are real.

Deterministic: the same seed makes the same workspace, around today. `remove()` takes it all away.
"""

from __future__ import annotations

from random import Random

from flask import Flask

from soconnective.accounts import operations as accounts
from soconnective.accounts import queries
from soconnective.accounts.passwords import DEMO_PASSWORD
from soconnective.core.access import Actor
from soconnective.core.db import write_transaction
from soconnective.core.registry import SettingsSection, registry
from soconnective.core.tenancy import acting_in
from soconnective.core.workspace import current_workspace, enter_workspace
from soconnective.demo.names import GLOBEX_OWNER, PEOPLE
from soconnective.demo.removal import remove
from soconnective.demo.story import Size, Story
from soconnective.demo.views import bp

PASSWORD = DEMO_PASSWORD
ACME, GLOBEX = Size(40, 120, 60), Size(6, 15, 8)


def is_empty() -> bool:
    """Whether nobody exists yet: only then is demo data made."""
    return not queries.has_users()


def make() -> None:
    """Two workspaces: Acme, full of life, and a small Globex, so that tenancy shows."""
    with write_transaction():
        acme = accounts.create_tenant("Acme", "EUR", "Europe/Madrid", is_demo=True)
        people = {}
        for role, (email, name) in PEOPLE.items():
            people[role] = accounts.add_user(email, name, PASSWORD, is_demo=True)
            accounts.add_member(acme, people[role], role)
        globex = accounts.create_tenant("Globex", "USD", "America/New_York", is_demo=True)
        gina = accounts.add_user(*GLOBEX_OWNER, PASSWORD, is_demo=True)
        accounts.add_member(globex, gina, "owner")
        accounts.add_member(globex, people["admin"], "viewer")
        ids = acme.id, globex.id
        team = [
            Actor("person", person.id, person.name) for role, person in people.items() if role != "viewer"
        ]
        others = [Actor("person", gina.id, gina.name)]
    for tenant_id, seed, people_there, size in ((ids[0], 7, team, ACME), (ids[1], 11, others, GLOBEX)):
        enter_workspace(None)
        with acting_in(tenant_id):
            Story(Random(seed), people_there, size).tell()
    enter_workspace(None)


def init_app(app: Flask) -> None:
    app.register_blueprint(bp)
    registry.add(
        SettingsSection(
            "demo",
            "Demo data",
            "demo.remove",
            "trash",
            90,
            "workspace.own",
            "Remove it and start with an empty instance.",
            is_shown=lambda: current_workspace().is_demo,
        )
    )


__all__ = ["init_app", "is_empty", "make", "remove"]

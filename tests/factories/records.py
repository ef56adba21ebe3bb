"""Plain builders over the operations; each commits, so that events and rules happen."""

from __future__ import annotations

from typing import Any

from soconnective.automation.definition import build
from soconnective.automation.models import Automation
from soconnective.automation.operations import create_automation
from soconnective.contacts.models import Company, Contact
from soconnective.contacts.operations import Identity, create_company, create_contact
from soconnective.core.db import db, write_transaction
from soconnective.deals.models import Deal, Stage
from soconnective.deals.operations import create_deal, move_deal
from soconnective.tags.models import Tag
from soconnective.tags.operations import create_tag

KICKOFF = [
    ("create_task", {"title": "Kick off {{ deal.title }}", "due_in_days": 2}),
    ("log_note", {"body": "{{ deal.title }} is won."}),
]


def make_rule(
    trigger: str = "deal.won",
    steps: Any = KICKOFF,
    name: str = "Won kickoff",
    settings: Any = None,
    on_failure: str = "undo",
    is_active: bool = True,
) -> Automation:
    with write_transaction():
        return create_automation(build(name, trigger, settings or {}, steps, on_failure), is_active)


def make_contact(first: str = "Ana", last: str = "Ruiz", email: str | None = None, **values: Any) -> Contact:
    identities = [Identity("email", email)] if email else []
    with write_transaction():
        return create_contact(first, last, identities=identities, **values)


def make_deal(stage_id: int, title: str = "Roll-out", **values: Any) -> Deal:
    with write_transaction():
        return create_deal(title, stage_id, **values)


def move(deal: Deal, stage_id: int, reason: str | None = None) -> None:
    with write_transaction():
        move_deal(deal, db.session.get_one(Stage, stage_id), reason)


def make_company(name: str = "Initech", **values: Any) -> Company:
    with write_transaction():
        return create_company(name, **values)


def make_tag(name: str = "VIP", color: str | None = None) -> Tag:
    with write_transaction():
        return create_tag(name, color)

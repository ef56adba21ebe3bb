"""What the one who makes a change says of the rules: run, only log, skip; and that it is told afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from soconnective.automation.models import AutomationRun
from soconnective.automation.queries import NOT_ASKED, why
from soconnective.core.db import db, write_transaction
from soconnective.deals.operations import create_deal, update_deal
from soconnective.events import EventRow, rules
from soconnective.timeline.models import Note
from tests.factories.records import make_rule

LOGS = [("log_note", {"body": "made"})]


def made(inside: Any, mode: Any) -> tuple[list[str], list[str], EventRow]:
    with write_transaction(), rules(mode):
        create_deal("Roll-out", inside.stages["Lead"])
    event = db.session.scalars(select(EventRow).where(EventRow.name == "deal.created")).one()
    runs = list(db.session.scalars(select(AutomationRun.outcome)))
    return list(db.session.scalars(select(Note.body))), runs, event


@pytest.mark.parametrize(
    ("mode", "notes", "runs"), [("run", ["made"], ["succeeded"]), ("log", [], ["skipped"]), ("skip", [], [])]
)
def test_rules_do_as_the_maker_of_the_change_says(inside: Any, mode: str, notes: Any, runs: Any) -> None:
    make_rule("deal.created", LOGS)
    said, outcomes, event = made(inside, mode)
    assert (said, outcomes, event.rules) == (notes, runs, mode)


def test_a_change_that_no_rule_looked_at_says_so(inside: Any) -> None:
    make_rule("deal.created", LOGS)
    event = made(inside, "skip")[2]
    assert [answer.reason for answer in why(event)] == [NOT_ASKED]


def test_the_mode_ends_with_its_block_and_the_louder_one_counts(inside: Any) -> None:
    make_rule("deal.created", LOGS)
    with write_transaction():
        with rules("skip"):
            deal = create_deal("Quiet", inside.stages["Lead"])
        create_deal("Loud", inside.stages["Lead"])
        update_deal(deal, title="Quiet, then touched by somebody who said nothing")
    events = db.session.scalars(select(EventRow).where(EventRow.name == "deal.created").order_by(EventRow.id))
    assert [event.rules for event in events] == ["run", "run"]
    assert len(list(db.session.scalars(select(Note)))) == 2

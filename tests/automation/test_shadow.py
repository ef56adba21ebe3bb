"""A rule in the shadow looks at everything and does nothing: it writes down what it would have done."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.automation.by_hand import hand_rules, press, run_on
from soconnective.automation.definition import build
from soconnective.automation.due_queries import coming
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.operations import (
    create_automation,
    definition_of,
    delete_automation,
    set_active,
    set_state,
    update_automation,
)
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.deals.models import Deal
from soconnective.events import EventRow
from soconnective.jobs import Job
from soconnective.tasks.models import Task
from soconnective.timeline.models import Note
from tests.automation.test_faults import PLANTED, Faulty, pieces  # noqa: F401  a fixture
from tests.automation.timed import tick, work
from tests.factories.records import KICKOFF, make_deal, make_rule, move

NOTE = ("log_note", {"body": "{{ deal.title }}"})


def shadowed(**values: Any) -> Automation:
    rule = make_rule(is_active=False, **values)
    with write_transaction():
        return set_state(rule, "shadow")


def runs() -> list[tuple[str, str]]:
    rows = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id))
    return [(run.outcome, run.detail) for run in rows]


def made() -> tuple[int, int, int]:
    return tuple(len(db.session.scalars(select(model)).all()) for model in (Task, Note, Job))  # type: ignore[return-value]


def test_it_says_what_it_would_have_done_and_does_nothing(inside: Any) -> None:
    shadowed(steps=[*KICKOFF, ("wait", {"mode": "time"}), ("assign_owner", {"target": "deal"})])
    make_rule("note.logged", [("log_note", {"body": "again"})], "On notes")
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    assert made() == (0, 0, 0) and db.session.get_one(Deal, deal.id).owner_id is None
    (outcome, detail), *others = runs()
    assert outcome == "shadowed" and others == []
    assert detail.startswith("would have: task created; note logged; would wait until ")
    run = db.session.scalars(select(AutomationRun)).one()
    assert run.trace["steps"][0]["made"] == [
        {"type": "task", "id": None, "title": "Kick off Roll-out", "verb": "created"}
    ]
    assert {row.name for row in db.session.scalars(select(EventRow))} == {
        "deal.created", "deal.stage_changed", "deal.won",
    }  # fmt: skip


def test_no_is_no_as_ever(inside: Any) -> None:
    shadowed(trigger="deal.stage_changed", settings={"to_stage_id": inside.stages["Proposal"]}, steps=[NOTE])
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    assert runs() == [("not_matched", "To stage: wanted Proposal, was Won")]


def test_it_stands_in_its_place_between_those_that_are_on(inside: Any) -> None:
    make_rule(steps=[("change_field", {"target": "deal", "field": "title", "value": "First"})], name="First")
    shadowed(
        steps=[
            ("log_note", {"body": "shadow"}),
            ("change_field", {"target": "deal", "field": "title", "value": "No"}),
        ]
    )
    make_rule(steps=[("log_note", {"body": "last"})], name="Last")
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    assert [outcome for outcome, _ in runs()] == ["succeeded", "shadowed", "succeeded"]
    db.session.refresh(deal)
    assert deal.title == "First" and db.session.scalars(select(Note.body)).all() == ["last"]


def test_it_counts_to_the_bounds(app: Any, inside: Any) -> None:
    app.config["SOCONNECTIVE_RULE_RUNS"] = 1
    shadowed(steps=[NOTE])
    make_rule(steps=[NOTE], name="Second")
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    assert [outcome for outcome, _ in runs()] == ["shadowed", "skipped"]


@pytest.mark.parametrize("fault", PLANTED)
@pytest.mark.parametrize("on_failure", ["undo", "keep"])
def test_a_fault_in_the_shadow_harms_nothing(inside: Any, fault: str, on_failure: str) -> None:
    Faulty.plant = staticmethod(PLANTED[fault])
    make_rule(steps=[("log_note", {"body": "before"})], name="Before")
    shadowed(steps=[("faulty", {})], on_failure=on_failure)
    make_rule(steps=[("log_note", {"body": "after"})], name="After")
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    assert db.session.get_one(Deal, deal.id).status == "won"
    assert list(db.session.scalars(select(Note.body).order_by(Note.id))) == ["before", "after"]
    assert [outcome for outcome, _ in runs()] == ["succeeded", "shadowed", "succeeded"]
    assert runs()[1][1].startswith("would have ")


def test_the_three_states(inside: Any) -> None:
    rule = make_rule()
    states = []
    for state in ("shadow", "on", "shadow", "off"):
        with write_transaction():
            set_state(rule, state)
        states.append((rule.state, rule.is_active, rule.is_shadow))
    assert states == [
        ("shadow", False, True),
        ("on", True, False),
        ("shadow", False, True),
        ("off", False, False),
    ]
    with write_transaction():
        set_state(rule, "shadow")
        update_automation(rule, definition_of(rule), False)  # saved in the builder: still in the shadow
    assert rule.state == "shadow"
    with write_transaction():
        update_automation(rule, definition_of(rule), True)
    assert rule.state == "on"
    with write_transaction():
        set_state(rule, "shadow")
        set_active(rule, False)
    assert rule.state == "off"
    with write_transaction():
        set_state(rule, "shadow")
        delete_automation(rule)
    assert rule.state == "off"


def test_a_broken_rule_cannot_be_in_the_shadow(inside: Any) -> None:
    rule = make_rule(is_active=False)
    rule.trigger = "deal.exploded"
    with pytest.raises(Refused):
        set_state(rule, "shadow")


def test_a_draft_saved_off_is_off(inside: Any) -> None:
    with write_transaction():
        rule = create_automation(build("x", "deal.won", {}, [NOTE]))
    assert rule.state == "off"


def test_rules_that_no_change_starts_look_from_the_shadow_too(app: Flask, inside: Any) -> None:
    """Due, scheduled, by a button, on a selection, or started by another rule."""
    close = {"field": "expected_close_on", "amount": 3, "unit": "days", "direction": "before", "at": "09:00"}
    daily = {"weekdays": [1], "at": "10:00"}
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    with clock.at(now):
        record = make_deal(inside.stages["Lead"], expected_close_on=date(2026, 3, 20)).id
        ids = [
            shadowed(trigger="deal.date_reached", settings=close, steps=[NOTE], name="Due").id,
            shadowed(trigger="deal.schedule_due", settings=daily, steps=[NOTE], name="Daily").id,
        ]
        button = shadowed(trigger="deal.picked_by_hand", steps=[NOTE], name="Button")
        target = shadowed(trigger="deal.rule_started", steps=[NOTE], name="Target")
        starter = make_rule("deal.picked_by_hand", [("start_rule", {"rule_id": target.id})], "Starter")
        assert {i for i, _name in hand_rules("deal")} == {button.id, starter.id}
        with write_transaction():
            press(button, record)
            press(starter, record)
            run_on(button, [record])
    work(now)
    tick(datetime(2026, 3, 3, 9, 1, tzinfo=UTC))
    tick(datetime(2026, 3, 17, 8, 1, tzinfo=UTC))
    rows = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)).all()
    names = {rule.id: rule.name for rule in db.session.scalars(select(Automation))}
    assert [(names[row.automation_id or 0], row.outcome) for row in rows] == [
        ("Button", "shadowed"),
        ("Starter", "succeeded"),
        ("Target", "shadowed"),
        ("Button", "shadowed"),
        ("Daily", "shadowed"),
        ("Due", "shadowed"),
        ("Daily", "shadowed"),
    ]
    assert made()[1] == 0
    daily_rule = db.session.get_one(Automation, ids[1])
    assert coming(daily_rule, definition_of(daily_rule))

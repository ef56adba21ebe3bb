"""Applying a rule to what exists: those that match, each once, each a run like any other."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.automation import apply as by_hand
from soconnective.automation.apply import preview, start_applying, why_not
from soconnective.automation.definition import build
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.operations import create_automation, definition_of, set_state, update_automation
from soconnective.automation.sweeps import cancel_sweep
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.deals.models import Deal
from soconnective.deals.operations import update_deal
from soconnective.events import DomainEvent, EventRow, tell
from soconnective.timeline.models import Note
from tests.automation.test_backtest import finish
from tests.factories.records import make_deal, make_rule

BIG = {"match": "all", "items": [{"field": "amount", "operator": "at_least", "value": "500"}]}
NOTE = ("log_note", {"body": "{{ deal.title }}"})


def rule_on(
    trigger: str = "deal.won", conditions: Any = BIG, steps: Any = (NOTE,), state: str = "on"
) -> Automation:
    with write_transaction():
        rule = create_automation(build("Big ones", trigger, {}, steps, conditions=conditions))
        set_state(rule, state)
    return rule


def deals(inside: Any, number: int) -> None:
    for n in range(number):
        make_deal(inside.stages["Lead"], f"Deal {n}", amount=str(n * 100))


def apply(app: Flask, inside: Any, rule: Automation) -> Any:
    with write_transaction():
        sweep_id = start_applying(rule).id
    return finish(app, sweep_id, inside.id)


def runs() -> list[tuple[str, str]]:
    rows = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id))
    return [(run.outcome, run.detail) for run in rows]


def test_those_that_match_are_told_to_this_rule_alone(
    app: Flask, inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_hand, "AT_ONCE", 2)  # several transactions
    deals(inside, 10)
    rule = rule_on()
    rule_on(steps=[("log_note", {"body": "other"})])
    assert preview(definition_of(rule), 2) == (5, [(6, "Deal 5"), (7, "Deal 6")])
    sweep = apply(app, inside, rule)
    assert (sweep.state, sweep.done, sweep.total) == ("done", 5, 5)
    assert db.session.scalars(select(Note.body).order_by(Note.id)).all() == [
        f"Deal {n}" for n in range(5, 10)
    ]
    found = db.session.scalars(select(AutomationRun)).all()
    assert {run.automation_id for run in found} == {rule.id}
    assert runs() == [("succeeded", "note logged")] * 5
    event = db.session.get_one(EventRow, found[0].event_id)
    assert (event.name, event.actor_kind, event.actor_name) == (
        "deal.rule_applied",
        "person",
        inside.owner.name,
    )


def test_the_settings_of_its_trigger_are_not_asked(app: Flask, inside: Any) -> None:
    deals(inside, 1)
    rule = make_rule("deal.stage_changed", [NOTE], settings={"to_stage_id": inside.stages["Won"]})
    assert apply(app, inside, rule).state == "done" and runs() == [("succeeded", "note logged")]


def test_conditions_are_asked_at_that_moment(app: Flask, inside: Any) -> None:
    deals(inside, 7)
    rule = rule_on()
    with write_transaction():
        sweep_id = start_applying(rule).id
        update_deal(db.session.get_one(Deal, 6), amount="1")
    make_deal(inside.stages["Lead"], "Newer", amount="900")
    sweep = finish(app, sweep_id, inside.id)
    assert (sweep.state, sweep.total, sweep.done) == ("done", 2, 1)
    assert db.session.scalars(select(Note.body)).all() == ["Deal 6"]


def test_what_it_causes_starts_other_rules_and_failures_are_runs(app: Flask, inside: Any) -> None:
    deals(inside, 1)
    rule = rule_on(
        conditions=None, steps=[("change_field", {"target": "company", "field": "name", "value": "x"})]
    )
    assert apply(app, inside, rule).state == "done"
    assert runs() == [("failed", "step 1 failed: The deal has no company.")]
    rule = rule_on(conditions=None)
    make_rule("note.logged", [("create_task", {"title": "Read", "due_in_days": 0})], "On notes")
    apply(app, inside, rule)
    assert [outcome for outcome, _ in runs()] == ["failed", "succeeded", "succeeded"]


def test_in_the_shadow_it_only_says(app: Flask, inside: Any) -> None:
    deals(inside, 6)
    assert apply(app, inside, rule_on(state="shadow")).done == 1
    assert (
        runs() == [("shadowed", "would have: note logged")] and db.session.scalars(select(Note)).all() == []
    )


CHANGED = {"match": "all", "items": [{"field": "amount", "operator": "changed"}]}
BY = {"match": "all", "items": [{"field": "actor_kind", "operator": "is", "value": "person"}]}
CANNOT = [
    ({"conditions": CHANGED}, "can be asked of an event only"),
    ({"conditions": BY}, "can be asked of an event only"),
    ({"trigger": "deal.deleted", "conditions": None}, "nothing left to apply it to"),
    ({"state": "off"}, "switched off"),
]


@pytest.mark.parametrize(("what", "words"), CANNOT)
def test_what_cannot_be_applied_is_said(inside: Any, what: dict[str, Any], words: str) -> None:
    deals(inside, 6)
    rule = rule_on(**what)
    assert words in (why_not(rule, definition_of(rule)) or "")
    with pytest.raises(Refused, match=words), write_transaction():
        start_applying(rule)


def test_nothing_to_do_is_refused_and_twice_is_once(inside: Any) -> None:
    rule = rule_on()
    with pytest.raises(Refused, match="No record matches"), write_transaction():
        start_applying(rule)
    deals(inside, 6)
    found = []
    for _ in range(2):
        with write_transaction():
            found.append(start_applying(rule).id)
    assert found[0] == found[1]


def test_it_ends_when_the_rule_is_changed_or_it_is_cancelled(app: Flask, inside: Any) -> None:
    deals(inside, 6)
    rule = rule_on()
    with write_transaction():
        sweep_id = start_applying(rule).id
        cancel_sweep(sweep_id)
    assert finish(app, sweep_id, inside.id).state == "cancelled"
    with write_transaction():
        sweep_id = start_applying(rule).id
        update_automation(rule, build("Big ones", "deal.won", {}, [("log_note", {"body": "else"})]))
    sweep = finish(app, sweep_id, inside.id)
    assert sweep.state == "failed" and "changed" in sweep.error and runs() == []


def test_an_event_addressed_to_a_rule_of_its_own_trigger_works_too(inside: Any) -> None:
    """As what is due by a schedule is told."""
    deals(inside, 1)
    rule, other = rule_on("deal.won", None), rule_on("deal.won", None)
    off = rule_on("deal.won", None, state="off")
    for meant in (rule.id, off.id, 10**9):
        with write_transaction():
            event = DomainEvent("deal.won", inside.id, "deal", 1, inside.owner.actor, db.session.get_one(Deal, 1).created_at,
                                {}, {"title": "Due", "deal_id": 1}, (("deal", 1),), rule_id=meant)  # fmt: skip
            tell(db.session(), [event])
    found = db.session.scalars(select(AutomationRun)).all()
    assert [(run.automation_id, run.outcome) for run in found] == [(rule.id, "succeeded")]
    assert other.id not in {run.automation_id for run in found}

"""Rules that start rules: below the event that did it, in its transaction, within the bounds; and what ends waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from soconnective.automation import start_rule
from soconnective.automation.definition import build
from soconnective.automation.models import Automation
from soconnective.automation.operations import delete_automation, set_active, update_automation
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.events import EventRow
from tests.automation.timed import note, notes, runs, work
from tests.factories.records import make_deal, make_rule, move

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FAILS = ("change_field", {"target": "company", "field": "name", "value": "x"})


def start(rule_id: int) -> tuple[str, dict[str, Any]]:
    return "start_rule", {"rule_id": rule_id}


def target(*steps: Any, trigger: str = "deal.rule_started", **more: Any) -> int:
    return int(
        make_rule(trigger, list(steps) or [note("started")], name=more.pop("name", "Target"), **more).id
    )


def win(inside: Any) -> Any:
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    return deal


@pytest.mark.parametrize("trigger", ["deal.rule_started", "deal.picked_by_hand"])
def test_it_runs_below_the_rule_that_starts_it(inside: Any, trigger: str) -> None:
    found = target(note("{{ deal.source }}, by {{ actor.name }}"), trigger=trigger)
    target(note("not meant"), trigger=trigger, name="Another")
    change = ("change_field", {"target": "deal", "field": "source", "value": "Web"})
    make_rule(steps=[change, start(found), note("after")])
    win(inside)
    assert notes() == ["after", "Web, by Won kickoff"]
    first, second = runs()
    assert first.detail == "source set to Web; started “Target”; note logged"
    assert second.automation_id == found and second.outcome == "succeeded"
    fact = db.session.get_one(EventRow, second.event_id)
    assert (fact.name, fact.parent_id, fact.depth, fact.actor_kind) == (
        trigger,
        first.event_id,
        1,
        "automation",
    )
    assert fact.root_id == first.event_id and fact.snapshot["source"] == "Web"


def test_a_failure_of_the_starter_starts_nothing(inside: Any) -> None:
    found = target()
    make_rule(steps=[start(found), FAILS])
    win(inside)
    assert notes() == [] and [run.outcome for run in runs()] == ["failed"]


def test_what_is_kept_starts_and_a_failure_of_the_started_leaves_the_starter(inside: Any) -> None:
    found = target(FAILS)
    make_rule(steps=[start(found), FAILS, note("kept")], on_failure="keep")
    win(inside)
    assert [run.outcome for run in runs()] == ["partly_succeeded", "failed"] and notes() == ["kept"]


def test_rules_that_start_each_other_end(inside: Any) -> None:
    second = target(note("second"))
    first = target(note("first"), start(second), name="First")
    with write_transaction():
        definition = build("Target", "deal.rule_started", {}, [note("second"), start(first)])
        update_automation(db.session.get_one(Automation, second), definition)
    make_rule(steps=[start(first)])
    win(inside)
    assert notes() == ["first", "second"]
    assert [run.outcome for run in runs()] == ["succeeded", "succeeded", "succeeded", "skipped"]
    assert "already run for this record" in runs()[-1].detail


def test_rules_that_start_each_other_after_waits_end_too(inside: Any) -> None:
    wait = ("wait", {"amount": 1, "unit": "minutes"})
    with clock.at(NOW):
        second = target(note("second"))
        first = target(wait, note("first"), start(second), name="First")
        with write_transaction():
            definition = build("Target", "deal.rule_started", {}, [wait, note("second"), start(first)])
            update_automation(db.session.get_one(Automation, second), definition)
        make_rule(steps=[start(first)])
        win(inside)
    for minute in range(1, 30):
        work(NOW + timedelta(minutes=minute, seconds=minute))
    assert len(notes()) == 7 and runs()[-1].outcome == "skipped"
    assert "8 deep" in runs()[-1].detail


def test_what_starts_after_a_wait_keeps_its_cause(inside: Any) -> None:
    with clock.at(NOW):
        found = target()
        make_rule(steps=[("wait", {"amount": 1, "unit": "days"}), start(found)])
        win(inside)
    work(NOW + timedelta(days=1, seconds=1))
    first, second = runs()
    fact = db.session.get_one(EventRow, second.event_id)
    assert (fact.parent_id, fact.depth) == (first.event_id, 1) and notes() == ["started"]


def test_one_that_is_off_gone_or_another_now_fails_in_words(inside: Any) -> None:
    found = target()
    make_rule(steps=[start(found)])
    for change, said in (
        (lambda row: set_active(row, False), "is switched off"),
        (lambda row: update_automation(row, build("Target", "deal.won", {}, [note("x")])), "switched off"),
        (lambda row: set_active(row, True), "cannot be started by a rule any more"),
        (delete_automation, "The rule to start is gone"),
    ):
        with write_transaction():
            change(db.session.get_one(Automation, found))
        win(inside)
        assert runs()[-1].outcome in ("failed", "succeeded")
        failed = [run for run in runs() if run.outcome == "failed"]
        assert said in failed[-1].detail


def test_what_makes_no_sense_is_refused(inside: Any, rivals: Any) -> None:
    other_kind = target(trigger="contact.rule_started")
    not_started = make_rule("deal.lost", [note("x")]).id
    with acting_in(rivals.id):
        for _ in range(5):
            theirs = target()
        db.session.rollback()
    for rule_id in (None, other_kind, not_started, theirs + 100):
        with pytest.raises(Refused) as refused:
            make_rule(steps=[("start_rule", {"rule_id": rule_id})])
        assert refused.value.field == "steps-0-rule_id"
    found = target()
    with pytest.raises(Refused, match="deleted record"):
        make_rule("deal.deleted", [start(found)])
    with pytest.raises(Refused):
        make_rule(steps=[("cancel_waiting", {"rule_id": other_kind})])


def test_they_are_said_as_a_sentence(inside: Any) -> None:
    found = target()
    steps = [start(found), ("cancel_waiting", {}), ("cancel_waiting", {"rule_id": found})]
    assert build("x", "deal.won", {}, steps).sentence() == (
        "When a deal is won → start rule “Target”, cancel all waiting runs of the record, "
        "cancel waiting runs of “Target”"
    )
    with write_transaction():
        delete_automation(db.session.get_one(Automation, found))
    assert "start rule ⚠ that is gone" in build("x", "deal.won", {}, steps).sentence()


@pytest.mark.parametrize("only", [True, False])
def test_waiting_runs_are_cancelled_but_never_its_own(inside: Any, only: bool) -> None:
    wait = ("wait", {"amount": 2, "unit": "days"})
    with clock.at(NOW):
        first = make_rule("deal.created", [wait, note("first")], name="First").id
        make_rule("deal.created", [wait, note("second")], name="Second")
        make_rule("deal.created", [("wait", {"amount": 1, "unit": "hours"}),
                                   ("cancel_waiting", {"rule_id": first if only else None}), wait, note("own")], name="Own")  # fmt: skip
        make_deal(inside.stages["Lead"])
        make_deal(inside.stages["Lead"], "Other")
    assert work(NOW + timedelta(hours=2)) == ["done", "done"]
    details = {run.automation_id: run for run in runs()}
    assert details[first].outcome == "cancelled" and "by rule Own" in details[first].detail
    assert sorted(run.outcome for run in runs()) == sorted((["cancelled"] if only else ["cancelled"] * 2) * 2
                                                           + (["waiting"] * 2 if only else ["waiting"]) * 2)  # fmt: skip
    work(NOW + timedelta(days=5))
    assert sorted(notes()) == (["own", "own", "second", "second"] if only else ["own", "own"])


def test_nothing_waits(inside: Any) -> None:
    make_rule(steps=[("cancel_waiting", {})])
    win(inside)
    assert runs()[-1].detail == "nothing was waiting"


def test_control_an_addressed_event_without_its_address_would_start_others(
    inside: Any, monkeypatch: Any
) -> None:
    found = target()
    target(note("not meant"), name="Another")
    make_rule(steps=[start(found)])
    below = start_rule.below
    monkeypatch.setattr(start_rule, "below", lambda event, cause: replace(below(event, cause), rule_id=None))
    win(inside)
    assert "not meant" in notes()

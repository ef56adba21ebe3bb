"""Branches, stops and waits: which steps run, what the trace says, and how a waiting run ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.automation.definition import build
from soconnective.automation.flow import DEEPEST, flow_of
from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import delete_automation, update_automation
from soconnective.automation.waiting import cancel_run
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.deals.operations import delete_deal, update_deal
from soconnective.events import EventRow
from soconnective.jobs import Job
from soconnective.jobs.queue import claim
from soconnective.jobs.worker import perform
from soconnective.tasks.models import Task
from soconnective.timeline.models import Note
from tests.factories.records import make_deal, make_rule, move

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def asks(field: str, operator: str, value: Any = None) -> dict[str, Any]:
    tree = {"match": "all", "items": [{"field": field, "operator": operator, "value": value}]}
    return {"conditions": tree}


def note(body: str) -> tuple[str, dict[str, Any]]:
    return "log_note", {"body": body}


def branches(*steps: Any) -> list[Any]:
    return [step if isinstance(step, tuple) else (step, {}) for step in steps]


def notes() -> list[str]:
    db.session.expire_all()
    return list(db.session.scalars(select(Note.body).order_by(Note.id)))


def last() -> AutomationRun:
    db.session.expire_all()
    run = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id.desc())).first()
    assert run is not None
    return run


def win(inside: Any, **values: Any) -> Any:
    deal = make_deal(inside.stages["Lead"], **values)
    move(deal, inside.stages["Won"])
    return deal


BIG = ("if", asks("amount", "at_least", "1000"))
MIDDLE = ("otherwise_if", asks("amount", "at_least", "100"))
LADDER = branches(
    BIG, note("big"), MIDDLE, note("middle"), "otherwise", note("small"), "end_if", note("after")
)


@pytest.mark.parametrize(
    ("amount", "said"), [("5000", "big"), ("500", "middle"), ("5", "small"), (None, "small")]
)
def test_one_branch_is_taken_and_the_rest_goes_on(inside: Any, amount: str | None, said: str) -> None:
    make_rule(steps=LADDER)
    win(inside, amount=amount)
    assert notes() == [said, "after"]
    assert last().outcome == "succeeded" and last().detail == "note logged; note logged"


def test_the_trace_tells_each_question_and_no_step_that_was_not_reached(inside: Any) -> None:
    make_rule(steps=LADDER)
    win(inside, amount="500")
    steps = last().trace["steps"]
    assert [(s["path"], s["kind"]) for s in steps] == [
        ("1", "if"), ("3", "otherwise_if"), ("4", "log_note"), ("8", "log_note"),
    ]  # fmt: skip
    assert steps[0]["text"] == "no: amount is at least 1000, was 500.00" and steps[1]["text"] == "yes"
    assert steps[0]["checks"][0]["wanted"] == "is at least 1000"
    assert steps[0]["label"] == "if amount is at least 1000"


def test_ifs_stand_inside_ifs(inside: Any) -> None:
    inner = [("if", asks("source", "is", "Web")), note("web"), "otherwise", note("elsewhere"), "end_if"]
    make_rule(steps=branches(BIG, *inner, note("big"), "otherwise", note("small"), "end_if"))
    for values in ({"amount": "2000", "source": "Web"}, {"amount": "2000"}, {"amount": "1"}):
        win(inside, **values)
    assert notes() == ["web", "big", "elsewhere", "big", "small"]


def test_stop_ends_the_run_where_it_stands(inside: Any) -> None:
    make_rule(steps=branches(BIG, note("big"), "stop", "end_if", note("after")))
    win(inside, amount="5000")
    win(inside, amount="5")
    assert notes() == ["big", "after"] and last().outcome == "succeeded"


def test_a_branch_sees_what_a_step_before_it_changed(inside: Any) -> None:
    change = ("change_field", {"target": "deal", "field": "amount", "value": "3000"})
    make_rule(steps=branches(change, BIG, note("{{ deal.amount }}"), "end_if"))
    win(inside, amount="5")
    assert notes() == ["3000.00"]


def test_a_failure_in_a_branch_undoes_the_rule_or_keeps_what_succeeded(inside: Any) -> None:
    steps = branches(note("before"), BIG, ("change_field", {"target": "company", "field": "name", "value": "x"}),
                     "end_if", note("after"))  # fmt: skip
    make_rule(steps=steps)
    make_rule(steps=steps, on_failure="keep", name="Keeps")
    win(inside, amount="5000")
    runs = list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))
    assert [run.outcome for run in runs] == ["failed", "partly_succeeded"]
    assert runs[0].detail == "step 3 failed: The deal has no company." and notes() == ["before", "after"]


BROKEN: list[tuple[list[Any], int, str]] = [
    (["end_if"], 0, "no “if” before"), (["otherwise", "end_if"], 0, "no “if” before"), ([BIG], 0, "has no end"),
    ([BIG, "otherwise", "otherwise", "end_if"], 2, "can only end"),
    ([BIG, "otherwise", MIDDLE, "end_if"], 2, "can only end"),
    ([BIG] * (DEEPEST + 1) + ["end_if"] * (DEEPEST + 1), DEEPEST, "deep at most"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "index", "said"), BROKEN)
def test_what_does_not_fit_together_is_refused_at_its_step(
    inside: Any, steps: list[Any], index: int, said: str
) -> None:
    with pytest.raises(Refused, match=said) as refused:
        make_rule(steps=branches(*steps))
    assert refused.value.field == f"steps-{index}"


def test_a_branch_is_checked_like_any_condition(inside: Any) -> None:
    with pytest.raises(Refused, match="Add a condition") as refused:
        make_rule(steps=branches(("if", {}), "end_if"))
    assert refused.value.field == "steps-0-if"
    with pytest.raises(Refused, match="does not exist here") as refused:
        make_rule(steps=branches(("if", asks("secret", "is", "x")), "end_if"))
    assert refused.value.field == "steps-0-if-0"


def test_depths_are_those_of_the_branches() -> None:
    kinds = ["if", "log_note", "otherwise", "if", "log_note", "end_if", "end_if", "log_note"]
    assert flow_of(kinds).depths == (0, 1, 0, 1, 2, 1, 0, 0)


def test_the_sentence_puts_branches_in_brackets(inside: Any) -> None:
    definition = build("x", "deal.won", {}, LADDER)
    assert definition.sentence() == (
        "When a deal is won → if amount is at least 1000 (log note “big”) otherwise if amount is at least 100 "
        "(log note “middle”) otherwise (log note “small”), log note “after”"
    )


# --- waiting ---------------------------------------------------------------------------------------


def wait(**settings: Any) -> tuple[str, dict[str, Any]]:
    return "wait", settings


def work(app: Flask, at: datetime) -> list[str]:
    """What a worker makes of everything that is due at `at`."""
    db.session.rollback()
    states = []
    with clock.at(at):
        while claims := claim("w", 10):
            states += [perform(one) for one in claims]
    return states


def test_a_run_waits_and_goes_on(app: Flask, inside: Any) -> None:
    make_rule(steps=[note("before"), wait(amount=2, unit="days"), note("after {{ deal.title }}")])
    with clock.at(NOW):
        deal = win(inside)
    run = last()
    assert (run.outcome, run.planned_at) == ("waiting", NOW + timedelta(days=2))
    assert run.trace["steps"][1]["outcome"] == "waiting" and notes() == ["before"]
    with write_transaction():
        update_deal(deal, title="Renamed")
    assert work(app, NOW + timedelta(days=1)) == []
    assert work(app, NOW + timedelta(days=2, seconds=1)) == ["done"]
    run = last()
    assert (run.outcome, run.planned_at) == ("succeeded", None)
    assert notes() == ["before", "after Renamed"]
    assert [s["outcome"] for s in run.trace["steps"]] == ["succeeded"] * 3
    assert run.detail == "note logged; waited; note logged"
    assert work(app, NOW + timedelta(days=9)) == []


def test_what_it_does_then_is_told_with_its_cause_and_starts_other_rules(app: Flask, inside: Any) -> None:
    make_rule(steps=[wait(), ("change_field", {"target": "deal", "field": "source", "value": "Web"})])
    make_rule("deal.updated", [note("changed by {{ actor.name }}")], name="Second")
    with clock.at(NOW):
        win(inside)
    first = last()
    assert work(app, NOW + timedelta(days=1)) == ["done"]
    assert notes() == ["changed by Won kickoff"]
    changed = db.session.scalars(select(EventRow).where(EventRow.name == "deal.updated")).one()
    assert (changed.parent_id, changed.depth, changed.actor_kind) == (first.event_id, 1, "automation")
    assert changed.root_id == first.event_id


def test_it_can_wait_twice_and_inside_a_branch(app: Flask, inside: Any) -> None:
    steps = branches(
        BIG, wait(), note("one"), wait(), note("two"), "otherwise", note("small"), "end_if", note("end")
    )
    make_rule(steps=steps)
    with clock.at(NOW):
        win(inside, amount="5000")
    assert work(app, NOW + timedelta(days=1)) == ["done"]
    assert notes() == ["one"] and last().outcome == "waiting"
    assert work(app, NOW + timedelta(days=3)) == ["done"]
    assert notes() == ["one", "two", "end"] and last().outcome == "succeeded"


def test_it_keeps_its_version(app: Flask, inside: Any) -> None:
    rule = make_rule(steps=[wait(), note("old")])
    with clock.at(NOW):
        win(inside)
    with write_transaction():
        update_automation(rule, build("Won kickoff", "deal.won", {}, [wait(), note("new")]))
    work(app, NOW + timedelta(days=1))
    assert notes() == ["old"] and last().automation_number == 1


def test_a_failure_after_the_wait_is_a_failed_run_that_keeps_what_was_before(app: Flask, inside: Any) -> None:
    bad = ("change_field", {"target": "company", "field": "name", "value": "x"})
    make_rule(steps=[note("before"), wait(), note("lost"), bad])
    with clock.at(NOW):
        win(inside)
    assert work(app, NOW + timedelta(days=1)) == ["done"]
    run = last()
    assert (run.outcome, run.detail) == ("failed", "step 4 failed: The deal has no company.")
    assert [s["outcome"] for s in run.trace["steps"]] == ["succeeded", "succeeded", "undone", "failed"]
    assert notes() == ["before"]


def _delete(inside: Any, deal: Any, _rule: Any) -> None:
    delete_deal(deal)


def _gone(inside: Any, _deal: Any, rule: Any) -> None:
    delete_automation(rule)


@pytest.mark.parametrize(
    ("happen", "said"),
    [(_delete, "its record was deleted"), (_gone, "the rule was deleted")],
)
def test_a_waiting_run_ends_with_what_it_is_about(app: Flask, inside: Any, happen: Any, said: str) -> None:
    rule = make_rule(steps=[("create_task", {"title": "Before"}), wait(), note("after")])
    with clock.at(NOW):
        deal = win(inside)
        with write_transaction():
            happen(inside, deal, rule)
    later = NOW + (timedelta(seconds=5) if happen is _delete else timedelta(days=2))
    assert work(app, later) == ["done"]
    run = last()
    assert run.outcome == "cancelled" and said in run.detail
    assert run.trace["steps"][-1]["outcome"] == "cancelled" and notes() == []
    assert db.session.scalars(select(Task.title)).one() == "Before"


def test_it_can_be_cancelled_once(app: Flask, inside: Any) -> None:
    make_rule(steps=[wait(), note("after")])
    with clock.at(NOW):
        win(inside)
    with write_transaction():
        cancel_run(last(), "by Ana")
    assert last().detail == "cancelled: by Ana" and db.session.scalars(select(Job.state)).one() == "cancelled"
    assert work(app, NOW + timedelta(days=9)) == [] and notes() == []
    with pytest.raises(Refused):
        cancel_run(last(), "again")


def test_it_waits_until_something_happens(app: Flask, inside: Any) -> None:
    make_rule(
        "deal.created", [wait(mode="event", event="deal.won", amount=9, unit="days"), note("won or late")]
    )
    with clock.at(NOW):
        deal, other = make_deal(inside.stages["Lead"]), make_deal(inside.stages["Lead"], "Other")
        move(deal, inside.stages["Proposal"])
        assert work(app, NOW + timedelta(minutes=1)) == []
        move(deal, inside.stages["Won"])
        assert work(app, NOW + timedelta(minutes=1)) == ["done"]
    assert notes() == ["won or late"]
    first = db.session.scalars(select(AutomationRun).where(AutomationRun.record_id == deal.id)).first()
    assert first is not None and first.trace["steps"][0]["text"] == "waited until it happened"
    assert work(app, NOW + timedelta(days=10)) == ["done"]  # the other's time is out
    assert last().trace["steps"][0]["text"] == "waited; went on 1 d late" and last().record_id == other.id


def test_what_another_rule_does_wakes_it_too(app: Flask, inside: Any) -> None:
    make_rule("deal.created", [wait(mode="event", event="deal.won", amount=9), note("woken")])
    make_rule("deal.updated", [("move_stage", {"stage_id": inside.stages["Won"]})], name="Second")
    with clock.at(NOW):
        deal = make_deal(inside.stages["Lead"])
        with write_transaction():
            update_deal(deal, title="Go")
    assert work(app, NOW + timedelta(minutes=1)) == ["done"] and notes() == ["woken"]


DATES = [
    (
        {"field": "expected_close_on", "days": -2, "at": "08:00"},
        "2026-03-10",
        datetime(2026, 3, 8, 7, tzinfo=UTC),
    ),
    ({"field": "expected_close_on", "days": 1}, "2026-03-28", datetime(2026, 3, 29, 7, tzinfo=UTC)),
]


@pytest.mark.parametrize(("settings", "close", "at"), DATES)
def test_it_waits_until_a_date_at_the_wall_clock(
    inside: Any, monkeypatch: pytest.MonkeyPatch, settings: Any, close: str, at: datetime
) -> None:
    from dataclasses import replace
    from datetime import date

    from soconnective.automation import wait as module
    from soconnective.core.workspace import current_workspace

    berlin = replace(current_workspace(), timezone="Europe/Berlin")
    monkeypatch.setattr(module, "current_workspace", lambda: berlin)
    make_rule(steps=[wait(mode="date", **settings), note("after")])
    with clock.at(NOW):
        win(inside, expected_close_on=date.fromisoformat(close))
    assert last().planned_at == at


def test_a_date_that_is_over_is_passed_and_one_that_is_missing_fails(inside: Any) -> None:
    make_rule(steps=[wait(mode="date", field="expected_close_on"), note("after")])
    with clock.at(NOW):
        win(inside, expected_close_on=NOW.date() - timedelta(days=3))
        assert last().outcome == "succeeded" and "did not wait" in last().detail
        win(inside)
    assert last().detail == "step 1 failed: There is no date to wait for: expected close is empty."


def test_a_wait_that_makes_no_sense_is_refused(inside: Any) -> None:
    for settings in (
        {"mode": "event"},
        {"mode": "event", "event": "task.completed"},
        {"mode": "date", "field": "title"},
    ):
        with pytest.raises(Refused):
            make_rule(steps=[wait(**settings), note("x")])
    with pytest.raises(Refused, match="cannot wait"):
        make_rule("deal.deleted", [wait(), note("x")])


def test_a_failed_rule_leaves_no_job_behind(inside: Any) -> None:
    bad = ("change_field", {"target": "company", "field": "name", "value": "x"})
    make_rule(steps=[bad, wait(), note("x")])
    make_rule(steps=[bad, wait(), note("x")], on_failure="keep", name="Keeps")
    win(inside)
    runs = list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))
    assert [run.outcome for run in runs] == ["failed", "waiting"]
    assert len(list(db.session.scalars(select(Job)))) == 1


def test_a_job_that_was_given_up_fails_its_run(app: Flask, inside: Any) -> None:
    from soconnective.automation.going_on import GoOn

    make_rule(steps=[wait(), note("x")])
    win(inside)
    with write_transaction():
        GoOn().gave_up(db.session.scalars(select(Job)).one(), "the worker was lost")
    assert (last().outcome, last().detail) == ("failed", "it could not go on: the worker was lost")


def test_a_job_that_was_given_up_and_is_run_again_goes_on(app: Flask, inside: Any) -> None:
    """Not from the start: what was done before the wait is not done twice."""
    from soconnective.automation.again import resume
    from soconnective.automation.going_on import GoOn

    make_rule(steps=[note("before"), wait(), note("after")])
    with clock.at(NOW):
        win(inside)
        win(inside)
    for job in db.session.scalars(select(Job)).all():
        with write_transaction():
            GoOn().gave_up(job, "the worker was lost")
    assert work(app, NOW + timedelta(days=1)) == ["done", "done"]
    assert notes() == ["before", "before", "after", "after"] and last().outcome == "succeeded"
    with clock.at(NOW):
        win(inside)
    with write_transaction():
        job = db.session.scalars(select(Job).where(Job.state == "ready")).one()
        GoOn().gave_up(job, "the worker was lost")
        job.state = "dead"
    with clock.at(NOW + timedelta(days=2)), write_transaction():
        assert resume(last()).outcome == "waiting"
    assert work(app, NOW + timedelta(days=4)) == ["done"] and notes()[-2:] == ["before", "after"]

"""The engine at its exact edges: where each bound begins, what is logged, what the runs say of time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from soconnective.automation import engine, trace
from soconnective.automation.contracts import Action, ActionFailed, RunContext, StepResult, Trigger, Verdict
from soconnective.automation.definition import parse
from soconnective.automation.models import AutomationRun
from soconnective.automation.registry import _actions, _triggers, register_action
from soconnective.core.db import db, write_transaction
from soconnective.deals.models import Deal, Stage
from soconnective.deals.operations import move_deal
from soconnective.tasks.operations import create_task
from soconnective.timeline.models import Note
from tests.factories.records import make_deal, make_rule, move

NOTE = ("log_note", {"body": "x"})


class Failing(Action):
    type_id, label, group, only_adds = "failing", "Fail", "Test", True
    plant: BaseException = ActionFailed("planted")

    def run(self, context: RunContext) -> StepResult:
        raise type(self).plant


class Slow(Action):
    """Says that a second has passed; `only_adds`, so that several run together."""

    type_id, label, group, only_adds = "slow", "Slow", "Test", True
    clock = 0.0

    def run(self, context: RunContext) -> StepResult:
        Slow.clock += 1.0
        return StepResult("slept")


class MoveOn(Action):
    """Moves the deal to one stage."""

    type_id, label, group = "move_on", "Move", "Test"
    to = 0

    def run(self, context: RunContext) -> StepResult:
        move_deal(db.session.get_one(Deal, context.event.record_id), db.session.get_one(Stage, self.to), None)
        return StepResult("moved")


@pytest.fixture(autouse=True)
def pieces() -> Iterator[None]:
    for piece in (Failing, Slow, MoveOn):
        register_action(piece)
    Slow.clock = 0.0
    parse.cache_clear()
    yield
    parse.cache_clear()  # tests here put other triggers in the place of real ones
    for piece in (Failing, Slow, MoveOn):
        _actions.pop(piece.type_id, None)


def runs() -> list[AutomationRun]:
    db.session.expire_all()
    return list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))


def outcomes() -> list[str]:
    return [run.outcome for run in runs()]


def win(inside: Any) -> None:
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])


@pytest.mark.parametrize(("most", "expected"), [(4, 2), (5, 2), (3, 1), (1, 0)])
def test_actions_are_counted_over_all_rules(app: Any, inside: Any, most: int, expected: int) -> None:
    app.config["SOCONNECTIVE_RULE_ACTIONS"] = most
    for number in range(3):
        make_rule(steps=[NOTE, NOTE], name=f"R{number}")
    win(inside)
    assert outcomes() == ["succeeded"] * expected + ["skipped"] * (3 - expected)
    assert len(list(db.session.scalars(select(Note)))) == 2 * expected
    said = f"{2 * expected} actions have already run for this change; {most} are the most allowed"
    assert runs()[-1].detail == f"stopped: {said}"


def test_a_rule_runs_once_for_a_record_in_a_chain_and_says_so(inside: Any) -> None:
    MoveOn.to = inside.stages["Qualified"]
    make_rule("deal.stage_changed", [("move_on", {})])
    move(make_deal(inside.stages["Lead"]), inside.stages["Proposal"])
    assert outcomes() == ["succeeded", "skipped"]
    assert runs()[1].detail == "stopped: this rule has already run for this record in this chain"


def _stop_the_clock(monkeypatch: pytest.MonkeyPatch, start: float = 0.0) -> None:
    Slow.clock = start
    monkeypatch.setattr(engine, "perf_counter", lambda: Slow.clock)
    monkeypatch.setattr(engine.Chain, "__init__", _chain(engine.Chain.__init__))


def _chain(real: Any) -> Any:
    def begin(self: Any, bounds: Any, *args: Any, **kwargs: Any) -> None:
        real(self, bounds, began=Slow.clock)

    return begin


def test_exactly_the_seconds_allowed_are_allowed(
    app: Any, inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.config["SOCONNECTIVE_RULE_SECONDS"] = 1.0
    for number in range(3):
        make_rule(steps=[("slow", {})], name=f"R{number}", on_failure="keep")  # keep: each alone
    _stop_the_clock(monkeypatch)
    win(inside)
    assert outcomes() == ["succeeded", "succeeded", "skipped"]
    assert runs()[-1].detail == "stopped: the rules of this change have taken more than 1 s"


def test_the_time_of_rules_that_ran_together_is_shared_among_them(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        make_rule(steps=[("slow", {}), ("slow", {})], name=f"R{number}")
    _stop_the_clock(monkeypatch, 100.0)
    win(inside)
    assert outcomes() == ["succeeded"] * 2
    assert [run.milliseconds for run in runs()] == [2000.0, 2000.0]


def test_the_time_of_the_verdict_counts_as_well(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pondering(Trigger):
        type_id, record_type, label, group = "deal.won", "deal", "a deal is won", "Test"

        def match(self, event: Any) -> Verdict:
            Slow.clock += 0.5
            return Verdict(True)

    monkeypatch.setitem(_triggers, "deal.won", Pondering)
    for number in range(2):
        make_rule(steps=[("slow", {})], name=f"R{number}")
    make_rule(steps=[("slow", {})], name="Alone", on_failure="keep")
    _stop_the_clock(monkeypatch, 100.0)
    win(inside)
    assert [run.milliseconds for run in runs()] == [1500.0, 1500.0, 1500.0]


@pytest.mark.parametrize("neighbours", [2, 3, 4, 5])
def test_how_many_rules_share_a_savepoint(
    inside: Any, monkeypatch: pytest.MonkeyPatch, neighbours: int
) -> None:
    monkeypatch.setattr(engine, "TOGETHER", 2)
    tried: list[int] = []
    real = engine.execute_together

    def execute_together(session: Any, jobs: Any) -> bool:
        tried.append(len(jobs))
        return real(session, jobs)

    monkeypatch.setattr(engine, "execute_together", execute_together)
    for number in range(neighbours):
        make_rule(steps=[NOTE], name=f"R{number}")
    make_rule(steps=[NOTE], name="Alone", on_failure="keep")
    make_rule(steps=[NOTE], name="Last")
    win(inside)
    assert tried == [2] * (neighbours // 2)
    assert outcomes() == ["succeeded"] * (neighbours + 2)


EXPECTED = {
    "says why": (ActionFailed("a reason"), "a reason", False),
    "a bug": (ValueError("planted\nsecond line"), "ValueError: planted", True),
    "controls": (ActionFailed("line\r\nWARNING forged \x1b[31m\u202e"), "line\\r\\nWARNING forged \\x1b[31m\\u202e", False),
}  # fmt: skip


@pytest.mark.parametrize("case", EXPECTED)
def test_a_failure_is_logged_in_one_line_with_a_traceback_only_for_bugs(
    inside: Any, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    error, words, has_traceback = EXPECTED[case]
    Failing.plant = error
    rule = make_rule(steps=[("failing", {})])
    with caplog.at_level(logging.WARNING, "soconnective.automation.engine"):
        win(inside)
    (record,) = [r for r in caplog.records if r.name == "soconnective.automation.engine"]
    assert record.getMessage() == f"rule {rule.id} failed: {words}"
    assert bool(record.exc_info) is has_traceback
    if has_traceback:
        assert record.exc_info is not None and record.exc_info[1] is error


def test_a_verdict_that_fails_is_one_failed_run_that_says_why(
    inside: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Raising(Trigger):
        type_id, record_type, label, group = "deal.won", "deal", "a deal is won", "Test"

        def match(self, event: Any) -> Verdict:
            raise ValueError("planted")

    monkeypatch.setitem(_triggers, "deal.won", Raising)
    rule = make_rule()
    win(inside)
    (run,) = runs()
    assert (run.outcome, run.detail, run.automation_id) == ("failed", "ValueError: planted", rule.id)
    assert f"rule {rule.id} failed: ValueError: planted" in caplog.text
    assert "the engine failed" not in caplog.text


def test_traces_that_cannot_be_written_are_told_of_with_their_number(
    inside: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, tries = trace.record, []

    def record(session: Any, found: Any) -> None:
        tries.append(len(found))
        if len(tries) == 1:
            raise ValueError("planted")
        real(session, found)

    monkeypatch.setattr(trace, "record", record)
    make_rule()
    make_rule(name="Other")
    win(inside)
    assert "the traces of 2 runs could not be written" in caplog.messages
    assert {run.detail for run in runs()} == {"succeeded; the trace could not be written"}


def test_events_without_rules_in_a_chain_are_nothing_to_look_at(inside: Any) -> None:
    """A chain's root has a rule, what it causes has none, and the chain goes on to the next."""
    make_rule("deal.won", [("create_task", {"title": "a"}), NOTE])
    make_rule("task.completed", [NOTE], name="Never")
    win(inside)
    assert outcomes() == ["succeeded"]


def test_tasks_of_people_do_not_disturb(inside: Any) -> None:
    """A rule for completed tasks is not looked at when one is made."""
    make_rule("task.completed", [NOTE])
    with write_transaction():
        create_task("open")
    assert outcomes() == []

"""The breaker: what pauses a rule, what does not, and that it never reaches the save."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select

from soconnective.automation import breaker
from soconnective.automation.apply import start_applying
from soconnective.automation.by_hand import run_on
from soconnective.automation.contracts import Action, ActionFailed, RunContext, StepResult
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.operations import set_active
from soconnective.automation.registry import _actions, register_action
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.deals.operations import create_deal, update_deal
from soconnective.jobs import Worker
from soconnective.timeline.models import Note
from tests.automation.timed import work
from tests.factories.records import make_deal, make_rule

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
NOTE = [("log_note", {"body": "x"})]
FAIL = [("shaky", {})]


class Shaky(Action):
    """Fails while the test says so."""

    type_id, label, group = "shaky", "Shake", "Test"
    fails = True

    def run(self, context: RunContext) -> StepResult:
        if type(self).fails:
            raise ActionFailed("the weather")
        return StepResult("went well")


@pytest.fixture(autouse=True)
def pieces() -> Iterator[None]:
    register_action(Shaky)
    Shaky.fails = True
    yield
    _actions.pop("shaky", None)


@pytest.fixture
def limit(app: Flask) -> Any:
    """Set the limits: `limit(per_minute=3)`; the others are off."""

    def set_to(per_minute: int = 0, per_record: int = 0, failures: int = 0) -> None:
        app.config["SOCONNECTIVE_BREAKER_PER_MINUTE"] = per_minute
        app.config["SOCONNECTIVE_BREAKER_PER_RECORD"] = per_record
        app.config["SOCONNECTIVE_BREAKER_FAILURES"] = failures

    return set_to


def rule_now(name: str = "Won kickoff") -> Automation:
    db.session.expire_all()
    return db.session.scalars(select(Automation).where(Automation.name == name)).one()


def outcomes() -> list[str]:
    return list(db.session.scalars(select(AutomationRun.outcome).order_by(AutomationRun.id)))


def make_deals(team: Any, seconds: list[float]) -> None:
    """A deal at each of these moments after noon, each in a transaction of its own."""
    for second in seconds:
        with clock.at(NOON + timedelta(seconds=second)):
            make_deal(team.stages["Lead"], f"Deal {second}")


def rule_at_noon(trigger: str = "deal.created", steps: Any = NOTE, **more: Any) -> Automation:
    with clock.at(NOON - timedelta(hours=1)):
        return make_rule(trigger, steps, **more)


WITHIN = [  # limit, seconds at which it runs, runs that were kept before it was paused (None: it is not)
    (3, [0, 1, 2], None),
    (3, [0, 1, 2, 3], 4),  # the run that tripped it is kept
    (3, [0, 1, 2, 59.9], 4),
    (3, [0, 1, 2, 60], None),  # a minute later the first one counts no more
    (3, [0, 1, 2, 61, 61.5, 61.9], 6),  # the one at 2 still does
    (3, [0, 1, 2, 62, 62.5, 62.9], None),
    (3, [0, 1, 2, 62, 62.5, 62.9, 63], 7),
    (1, [0, 0.5], 2),
]  # fmt: skip


@pytest.mark.parametrize(("most", "seconds", "kept"), WITHIN)
def test_runs_within_a_minute(
    inside: Any, limit: Any, most: int, seconds: list[float], kept: int | None
) -> None:
    limit(per_minute=most)
    rule_at_noon()
    make_deals(inside, seconds)
    rule = rule_now()
    assert outcomes() == ["succeeded"] * len(seconds)
    if kept is None:
        assert rule.is_active and rule.paused_at is None and rule.paused_why is None
        return
    assert not rule.is_active
    assert rule.paused_at == NOON + timedelta(seconds=seconds[kept - 1])
    assert rule.paused_why == f"it ran more than {most} times within a minute"
    make_deals(inside, [seconds[-1] + 1])
    assert len(outcomes()) == kept  # it is off: it does not even look


def test_only_runs_that_did_or_tried_something_count(inside: Any, limit: Any) -> None:
    limit(per_minute=2, per_record=2)
    rule_at_noon("deal.stage_changed", NOTE, settings={"to_stage_id": inside.stages["Won"]})
    with clock.at(NOON):
        deal = make_deal(inside.stages["Lead"])
        for _ in range(3):
            for stage in ("Proposal", "Lead"):
                with write_transaction():
                    deal.stage_id = inside.stages[stage]
    assert set(outcomes()) == {"not_matched"} and len(outcomes()) == 6
    assert rule_now().is_active


def test_runs_for_one_record_within_a_minute(inside: Any, limit: Any) -> None:
    limit(per_record=2)
    rule_at_noon("deal.updated")
    with clock.at(NOON):
        busy, other = make_deal(inside.stages["Lead"], "Busy"), make_deal(inside.stages["Lead"], "Other")
    for second in range(4):
        with clock.at(NOON + timedelta(seconds=second)), write_transaction():
            update_deal(busy if second != 1 else other, title=f"Title {second}")
        assert rule_now().is_active is (second < 3), second
    assert rule_now().paused_why == "it ran more than 2 times within a minute for the same deal"


STREAKS = [  # what the runs did in turn (f fails, s succeeds), whether it is paused then
    ("ff", False), ("fff", True), ("ffsff", False), ("ffsfff", True), ("sss", False),
]  # fmt: skip


@pytest.mark.parametrize(("story", "is_paused"), STREAKS)
def test_a_streak_of_failures(inside: Any, limit: Any, story: str, is_paused: bool) -> None:
    limit(failures=3)
    rule_at_noon(steps=FAIL)
    for number, word in enumerate(story):
        Shaky.fails = word == "f"
        make_deals(inside, [number * 3600])  # however far apart
    rule = rule_now()
    assert rule.is_active is not is_paused
    if is_paused:
        assert rule.paused_why == "its last 3 runs failed, the last one with: step 1 failed: the weather"
        assert outcomes()[-1] == "failed"  # it is kept, with what it says


def test_failures_and_their_end_in_one_transaction(inside: Any, limit: Any) -> None:
    limit(failures=3)
    rule_at_noon(steps=FAIL)
    make_deals(inside, [0, 1])
    with clock.at(NOON + timedelta(seconds=2)), write_transaction():
        for number in range(4):
            create_deal(f"Together {number}", inside.stages["Lead"])
    assert outcomes() == ["failed"] * 3 + ["skipped"] * 3
    said = list(db.session.scalars(select(AutomationRun.detail).order_by(AutomationRun.id)))[-1]
    assert said.startswith("paused: its last 3 runs failed")
    assert db.session.query(Deal).count() == 6  # every save stands
    assert not rule_now().is_active


def test_later_events_of_the_transaction_see_it_paused(inside: Any, limit: Any) -> None:
    limit(per_minute=3)
    rule_at_noon()
    rule_at_noon(name="Calm", steps=[("log_note", {"body": "calm"})], trigger="deal.won")
    make_deals(inside, [0, 1])
    with clock.at(NOON + timedelta(seconds=2)), write_transaction():
        for number in range(5):
            create_deal(f"Together {number}", inside.stages["Lead"])
    assert outcomes() == ["succeeded"] * 4 + ["skipped"] * 3
    assert db.session.query(Deal).count() == 7 and db.session.query(Note).count() == 4
    assert rule_now("Calm").is_active


def test_resuming_starts_anew(inside: Any, limit: Any) -> None:
    limit(per_minute=2, failures=2)
    rule_at_noon(steps=FAIL)
    make_deals(inside, [0, 1])
    assert not rule_now().is_active
    with clock.at(NOON + timedelta(seconds=2)), write_transaction():
        set_active(rule_now(), True)
    rule = rule_now()
    assert rule.is_active and rule.paused_at is None and rule.paused_why is None
    make_deals(inside, [3])
    assert rule_now().is_active  # neither the failures nor the runs of before count
    make_deals(inside, [4])
    assert not rule_now().is_active


def test_zero_is_no_limit(inside: Any, limit: Any) -> None:
    limit()
    rule_at_noon(steps=FAIL)
    make_deals(inside, [n / 100 for n in range(40)])
    assert rule_now().is_active and len(outcomes()) == 40


def test_another_rule_and_another_workspace_do_not_count(
    app: Flask, team: Any, rivals: Any, limit: Any
) -> None:
    limit(per_minute=2, failures=2)
    for workspace in (team, rivals):
        with app.app_context(), acting_in(workspace.id):
            rule_at_noon()
            rule_at_noon(name="Other", trigger="deal.created")
            make_deals(workspace, [0, 1])
            assert [r.is_active for r in db.session.scalars(select(Automation))] == [True, True]
            db.session.rollback()


def test_a_run_that_fails_after_a_wait_counts(app: Flask, inside: Any, limit: Any) -> None:
    limit(failures=2)
    rule_at_noon(steps=[("wait", {"mode": "time", "amount": 1, "unit": "hours"}), *FAIL])
    make_deals(inside, [0, 1])
    assert outcomes() == ["waiting"] * 2
    db.session.rollback()  # the worker writes
    with clock.at(NOON + timedelta(hours=2)):
        Worker(app).turn()
    assert outcomes() == ["failed"] * 2
    detail = db.session.scalars(select(AutomationRun.detail).limit(1)).one()
    assert rule_now().paused_why == f"its last 2 runs failed, the last one with: {detail.rstrip('.')}"


BROKEN = ["_lately", "_failed", "_last_good"]


@pytest.mark.parametrize("part", BROKEN)
def test_a_breaker_that_cannot_count_reaches_nobody(
    inside: Any, limit: Any, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    limit(per_minute=1, per_record=1, failures=1)
    monkeypatch.setattr(breaker, part, "no statement")
    rule_at_noon(steps=FAIL)
    rule_at_noon(name="Good")
    make_deals(inside, [0, 1])
    assert db.session.query(Deal).count() == 2
    assert [run for run in outcomes() if run == "succeeded"]


def test_a_rule_that_cannot_be_paused_reaches_nobody(
    inside: Any, limit: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limit(per_minute=1)
    rule_at_noon()

    def full(*_args: Any) -> Any:
        raise RuntimeError("planted")

    monkeypatch.setattr(breaker, "Pause", full)
    make_deals(inside, [0, 1])
    assert db.session.query(Deal).count() == 2 and outcomes() == ["succeeded"] * 2
    assert rule_now().is_active and "could not be paused" in caplog.text


def statements_of(work: Any) -> list[str]:
    found: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        found.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    return found


def test_it_costs_one_statement_for_an_event_and_none_without_rules(inside: Any, limit: Any) -> None:
    def save(second: int) -> Any:
        return lambda: make_deals(inside, [second])

    make_deals(inside, [-1])  # what is asked once
    limit()
    none = len(statements_of(save(0)))
    limit(per_minute=100, per_record=100, failures=100)
    assert len(statements_of(save(1))) == none
    for number in range(3):
        rule_at_noon(name=f"Rule {number}")
    make_deals(inside, [2])
    counted = statements_of(save(3))
    limit()
    assert len(counted) == len(statements_of(save(4))) + 1


def test_the_count_reads_an_index_alone(inside: Any, limit: Any, database_kind: str) -> None:
    limit(per_minute=10)
    rule_at_noon()
    make_deals(inside, [0])
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        asked.append((statement, values))

    event.listen(db.engine, "before_cursor_execute", note)
    make_deals(inside, [1])
    event.remove(db.engine, "before_cursor_execute", note)
    statement, values = next(pair for pair in asked if "sum(CASE" in pair[0])
    connection = db.session.connection()
    if database_kind == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        said = " ".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values))
        assert "Seq Scan on automation_runs" not in said and "ix_automation_runs" in said, said
    else:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        said = " ".join(row[3] for row in plan)
        assert "ix_automation_runs_outcomes" in said and "SCAN" not in said, said


def test_what_is_asked_for_runs_as_often_as_asked(app: Flask, inside: Any, limit: Any) -> None:
    """Applied to what exists, chosen in a list, due at nine: once for each record, and that is no running away."""
    limit(per_minute=3, per_record=3)
    with clock.at(NOON):
        ids = [make_deal(inside.stages["Lead"], f"Deal {n}").id for n in range(6)]
        rule = make_rule("deal.updated", NOTE)
        by_hand = make_rule("deal.picked_by_hand", NOTE, "By hand")
        made, picked = rule.id, by_hand.id
        with write_transaction():
            start_applying(rule)
            run_on(by_hand, ids)
    work(NOON)
    assert outcomes() == ["succeeded"] * 12
    assert [db.session.get_one(Automation, one).is_active for one in (made, picked)] == [True, True]
    with clock.at(NOON):  # what was asked for does not count towards what happens by itself, either
        for number, one in enumerate([*ids[:3], ids[3]]):
            assert rule_now().is_active, number
            with write_transaction():
                update_deal(db.session.get_one(Deal, one), source=f"S{number}")
    assert not rule_now().is_active


def test_a_rule_that_rules_start_is_counted(inside: Any, limit: Any) -> None:
    limit(per_minute=2)
    with clock.at(NOON):
        target = make_rule("deal.rule_started", NOTE, "Target")
        make_rule("deal.created", [("start_rule", {"rule_id": target.id})], "Starter")
    make_deals(inside, [0, 1])
    assert rule_now("Target").is_active
    make_deals(inside, [2])
    assert not rule_now("Target").is_active

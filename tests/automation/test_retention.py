"""Old runs are forgotten by a job, by outcome and in slices; the engine has its line on the Health page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.automation import engine, retention
from soconnective.automation.models import AutomationRun
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Worker, health
from soconnective.jobs.kinds import ticks
from soconnective.jobs.models import Job
from tests.factories.records import make_deal, make_rule

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
KEPT = {
    "succeeded": 90, "partly_succeeded": 365, "failed": 365, "not_matched": 14, "skipped": 90, "cancelled": 90,
    "shadowed": 14,
}  # fmt: skip


def fill(team: Any, number: int = 5) -> None:
    """For each outcome, `number` runs that are just too old and one that just is not; one that waits."""
    make_rule("deal.created", [("log_note", {"body": "x"})])
    make_deal(team.stages["Lead"])
    model = db.session.scalars(select(AutomationRun)).one()
    with write_transaction():
        attempt = 0
        for outcome, days in [*KEPT.items(), ("waiting", 1000)]:
            for age in [days + 0.01] * number + [days - 0.01]:
                attempt += 1
                db.session.add(
                    AutomationRun(
                        automation_id=model.automation_id, event_id=model.event_id, attempt=attempt, record_type="deal",
                        record_id=model.record_id, outcome=outcome, started_at=NOON - timedelta(days=age),
                    )
                )  # fmt: skip


def left(outcome: str) -> list[float]:
    rows = db.session.scalars(select(AutomationRun.started_at).where(AutomationRun.outcome == outcome))
    return sorted((NOON - moment).total_seconds() / 86400 for moment in rows)


def test_the_job_forgets_what_is_old_in_every_workspace(
    app: Flask, team: Any, rivals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE", 2)
    for workspace in (team, rivals):
        with app.app_context(), acting_in(workspace.id), clock.at(NOON):
            fill(workspace)
            db.session.rollback()
    worker = Worker(app)
    with clock.at(NOON):
        for _ in range(60):
            worker.turn()
    for workspace in (team, rivals):
        with app.app_context(), acting_in(workspace.id):
            for outcome, days in KEPT.items():
                ages = [age for age in left(outcome) if age > 0]
                assert ages == [pytest.approx(days - 0.01)], outcome
            assert len(left("waiting")) == 6
            (job,) = db.session.scalars(select(Job).where(Job.kind == "prune_runs"))
            assert job.state == "done"
            db.session.rollback()


def test_each_slice_is_a_transaction_of_its_own(
    inside: Any, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE", 2)
    with clock.at(NOON):
        fill(inside, 4)
        assert len(left("failed")) == 5
        with write_transaction():
            assert retention._slice("failed") == 2
        assert len(left("failed")) == 3
        db.session.rollback()
        assert retention.prune() == {name: 2 if name == "failed" else 4 for name in KEPT}
        assert retention.prune() == dict.fromkeys(KEPT, 0)


def test_what_is_young_is_not_read_through(inside: Any, database_kind: str) -> None:
    """The oldest by id are looked at, no more: the plan walks the index of the outcome."""
    table = AutomationRun.__table__
    first = (
        select(table.c.id, table.c.started_at)
        .where(table.c.tenant_id == 1, table.c.outcome == "succeeded")
        .order_by(table.c.id)
        .limit(1000)
    )
    compiled = first.compile(db.engine, compile_kwargs={"literal_binds": True})
    connection = db.session.connection()
    if database_kind == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        said = " ".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {compiled}"))
        assert "Seq Scan" not in said and "Index" in said, said
    else:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")
        said = " ".join(row[3] for row in plan)
        assert "ix_automation_runs_outcome " in f"{said} " and "TEMP B-TREE" not in said, said


def sign() -> health.Sign:
    (found,) = [one for one in health.signs(clock.now()) if one.label == "Automation engine"]
    return found


def test_health_says_when_the_engine_looked_last_and_what_failed(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sign().is_good and "anything yet" in sign().text and sign().at is None
    with clock.at(NOON - timedelta(days=1, seconds=1)):
        make_rule("deal.created", [("create_task", {"title": "{{ deal.source }}", "due_in_days": 0})])
        make_deal(inside.stages["Lead"])
    with clock.at(NOON):
        assert sign().text == "at work; failed runs of the last day: none"
        make_deal(inside.stages["Lead"])
        assert sign().is_good and sign().text.endswith("last day: 1") and sign().at == NOON

        def planted(*_args: Any) -> Any:
            raise RuntimeError("planted")

        monkeypatch.setattr(engine, "_run_chain", planted)
        make_deal(inside.stages["Lead"])
        assert not sign().is_good and "failed itself" in sign().text
    with clock.at(NOON + timedelta(days=2)):
        assert sign().is_good


def test_another_workspace_sees_nothing_of_it(app: Flask, team: Any, rivals: Any) -> None:
    with app.app_context(), acting_in(team.id):
        make_rule("deal.created", [("create_task", {"title": "{{ deal.source }}", "due_in_days": 0})])
        make_deal(team.stages["Lead"])
        db.session.rollback()
    with app.app_context(), acting_in(rivals.id):
        assert "anything yet" in sign().text
        db.session.rollback()


def test_health_turns_red_within_two_ticks_when_the_scheduler_stops(app: Flask, inside: Any) -> None:
    """The tick that comes most often says it; with the worker gone it is said within seconds."""

    def red() -> set[str]:
        found = {one.label for one in health.signs(clock.now()) if not one.is_good}
        db.session.rollback()
        return found

    assert red() == {"Workers", "Scheduler"}
    worker = Worker(app)
    with clock.at(NOON):
        worker.turn()
        assert red() == set()
    every = min(tick.every for tick in ticks())
    with clock.at(NOON + every * 2):
        worker._show()  # the worker lives; its scheduler does not tick
        assert red() == {"Scheduler"}
        worker.turn()
        assert red() == set()
    with clock.at(NOON + every * 2 + timedelta(seconds=16)):
        assert red() == {"Workers"}

"""The job that goes on with a waiting run: the same version of the rule, the record as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

from sqlalchemy import select

from soconnective.automation import engine
from soconnective.automation.candidates import Rule
from soconnective.automation.definition import parse
from soconnective.automation.execution import Job as Performance
from soconnective.automation.execution import execute
from soconnective.automation.models import Automation, AutomationRun, AutomationVersion
from soconnective.automation.trace import Run
from soconnective.automation.waiting import KIND, end
from soconnective.core.db import db
from soconnective.core.errors import TransactionLost
from soconnective.events import DomainEvent, EventRow, snapshot_now, tell
from soconnective.jobs import Job, JobKind, register_job


@register_job
class GoOn(JobKind):
    """Performs the steps behind a wait, inside a savepoint as ever; a failure is a failed run, not a failed job."""

    kind = KIND
    label = "Go on with a waiting run"
    most_attempts = 5

    def describe(self, payload: Mapping[str, Any]) -> str:
        rule = db.session.get(Automation, payload.get("automation_id") or 0)
        return rule.name if rule else "a rule that is gone"

    def run(self, job: Job) -> None:
        run = _waiting(job)
        if run is None:
            return
        event, why = _event_now(run)
        rule = _rule(run)
        if event is None:
            end(run, why)
        elif rule is None:
            end(run, "the rule was switched off or deleted")
        else:
            _go_on(run, rule, event, int(job.payload["step"]), bool(job.payload.get("woken")))

    def gave_up(self, job: Job, reason: str) -> None:
        run = _waiting(job)
        if run is not None:
            run.outcome, run.planned_at, run.waits_for = "failed", None, None
            run.detail = f"it could not go on: {reason}"


def _waiting(job: Job) -> AutomationRun | None:
    """The run that the job is for, locked, if it still waits."""
    return db.session.scalars(
        select(AutomationRun)
        .where(
            AutomationRun.event_id == job.payload["event_id"],
            AutomationRun.automation_id == job.payload["automation_id"],
            AutomationRun.attempt == 0,
            AutomationRun.outcome == "waiting",
        )
        .with_for_update()
    ).first()


def _rule(run: AutomationRun) -> Rule | None:
    """The rule as it was when the run began; None if it may not run any more."""
    now = db.session.get(Automation, run.automation_id)
    if now is None or now.deleted_at is not None or not now.is_active:
        return None
    version = db.session.scalars(
        select(AutomationVersion).where(
            AutomationVersion.automation_id == now.id, AutomationVersion.number == run.automation_number
        )
    ).one()
    return Rule(now.id, version.number, parse(version.definition))


def _event_now(run: AutomationRun) -> tuple[DomainEvent | None, str]:
    """The event that started the run, with the record as it is now; or why there is none."""
    row = db.session.get_one(EventRow, run.event_id)
    snapshot = snapshot_now(row.record_type, row.record_id)
    if snapshot is None:
        return None, "its record was deleted"
    return replace(row.as_event(), snapshot=snapshot), ""


def _go_on(row: AutomationRun, rule: Rule, event: DomainEvent, step: int, is_woken: bool) -> None:
    began = perf_counter()
    session = db.session()
    run = Run(
        event, rule.id, rule.number, steps=_passed(row.trace, is_woken), checks=row.trace.get("checks", [])
    )
    run.kept = len(run.steps)
    performance = Performance(event, rule, run, start=step)
    try:
        execute(session, performance)
        tell(session, performance.caused)
    except TransactionLost:
        raise
    except Exception as error:
        if performance.is_done:
            raise
        engine.fail(session, run, rule, error)
    made = run.as_row()
    for name in ("outcome", "detail", "trace", "planned_at", "waits_for"):
        setattr(row, name, made[name])
    row.milliseconds += (perf_counter() - began) * 1000


def _passed(trace: Mapping[str, Any], is_woken: bool) -> list[dict[str, Any]]:
    """The steps so far, the wait among them over."""
    said = {"text": "waited until it happened" if is_woken else "waited"}
    return [
        {**step, **said, "outcome": "succeeded"} if step["outcome"] == "waiting" else dict(step)
        for step in trace.get("steps", ())
    ]

"""Runs that wait: a job each, which goes on at the planned moment, or as soon as what is waited for happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.models import AutomationRun
from soconnective.automation.trace import Run
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.events import DomainEvent
from soconnective.jobs import Job, cancel, enqueue

KIND = "automation.go_on"


def go_on_later(event: DomainEvent, rule_id: int, run: Run) -> None:
    """Enqueue what goes on with `run`, in the transaction of the run itself."""
    payload = {
        "event_id": event.id,
        "automation_id": rule_id,
        "attempt": run.attempt,
        "step": run.goes_on_at,
    }
    enqueue(
        KIND,
        payload,
        at=run.planned_at,
        key=f"{KIND}-{event.id}-{rule_id}-{run.attempt}-{run.goes_on_at}",
        about=(event.record_type, event.record_id),
        event_id=event.id,
    )


def wake(session: OrmSession, events: Sequence[DomainEvent]) -> None:
    """Let the runs go on that waited for one of `events`; one whose record was deleted goes on to its end."""
    happened = [(fact.record_type, fact.record_id, fact.name) for fact in events]
    table: Any = AutomationRun.__table__.c
    deleted = [(kind, record_id) for kind, record_id, name in happened if name.endswith(".deleted")]
    record = tuple_(table.record_type, table.record_id)
    is_meant = tuple_(table.record_type, table.record_id, table.waits_for).in_(happened)
    found = session.execute(
        select(AutomationRun.event_id, AutomationRun.automation_id, AutomationRun.attempt).where(
            table.outcome == "waiting",
            record.in_({(kind, record_id) for kind, record_id, _name in happened}),
            or_(is_meant, record.in_(deleted)) if deleted else is_meant,
        )
    ).all()
    for event_id, rule_id, attempt in found:
        for job in _jobs_of(event_id, rule_id, attempt):
            job.next_at = clock.now()
            job.payload = {**job.payload, "woken": True}


def _jobs_of(event_id: int, rule_id: int | None, attempt: int) -> list[Job]:
    """The live job of a waiting run."""
    rows = db.session.scalars(
        select(Job).where(Job.kind == KIND, Job.state == "ready", Job.event_id == event_id)
    )
    wanted = (rule_id, attempt)
    return [j for j in rows if (j.payload.get("automation_id"), j.payload.get("attempt", 0)) == wanted]


def cancel_run(run: AutomationRun, why: str) -> None:
    """End a waiting run. Raises `Refused` if it does not wait any more."""
    if run.outcome != "waiting":
        raise Refused("It does not wait any more.")
    for job in _jobs_of(run.event_id, run.automation_id, run.attempt):
        cancel(job)
    end(run, why)


def end(run: AutomationRun, why: str) -> None:
    """Write down that a waiting run will not go on."""
    run.outcome, run.planned_at, run.waits_for = "cancelled", None, None
    run.detail = f"{run.detail}; cancelled: {why}" if run.detail else f"cancelled: {why}"
    run.trace = _without_waiting(run.trace)


def _without_waiting(trace: Mapping[str, Any]) -> dict[str, Any]:
    steps = [
        {**s, "outcome": "cancelled"} if s["outcome"] == "waiting" else s for s in trace.get("steps", ())
    ]
    return {**trace, "steps": steps}


def waiting_runs(automation_id: int) -> int:
    """How many runs of a rule wait."""
    return len(
        db.session.scalars(
            select(AutomationRun.id).where(
                AutomationRun.automation_id == automation_id, AutomationRun.outcome == "waiting"
            )
        ).all()
    )

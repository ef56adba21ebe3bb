"""Runs that wait: a job each, which goes on at the planned moment, or as soon as what is waited for happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.models import AutomationRun
from soconnective.automation.trace import Run
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.events import DomainEvent
from soconnective.jobs import Job, cancel, enqueue

KIND = "automation.go_on"
CATCH_UP, CANCEL = "automation.catch_up", "automation.cancel_waiting"
LOOK_AGAIN = timedelta(days=1)  # at what is held: its rule may have been deleted meanwhile
AT_ONCE = 200  # runs cancelled in the transaction that asks for it; a job cancels the others
_r: Any = AutomationRun.__table__.c

# Core, with the tenant named: this runs for every save.
_waiting = select(
    _r.event_id, _r.automation_id, _r.attempt, _r.record_type, _r.record_id, _r.waits_for
).where(
    _r.tenant_id == bindparam("tenant_id"),
    _r.outcome == text("'waiting'"),  # spelled out, so that the partial index is used
    _r.record_type.in_(bindparam("types", expanding=True)),
    _r.record_id.in_(bindparam("ids", expanding=True)),
)


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
    happened = {(fact.record_type, fact.record_id, fact.name) for fact in events}
    if not happened:
        return
    which = {
        "tenant_id": events[0].tenant_id,
        "types": list({fact.record_type for fact in events}),
        "ids": list({fact.record_id for fact in events}),
    }
    for run in session.connection().execute(_waiting, which).all():
        record = (run.record_type, run.record_id)
        if (*record, run.waits_for) in happened or (*record, f"{run.record_type}.deleted") in happened:
            for job in _jobs_of(run.event_id, run.automation_id, run.attempt):
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


def hold(run: AutomationRun) -> datetime:
    """The moment of a waiting run has come, but its rule is paused: it waits on. Returns when to look again."""
    now = clock.now()
    run.outcome, run.waits_for = "waiting", None
    run.planned_at = min(run.planned_at or now, now)
    return now + LOOK_AGAIN


def catch_up(automation_id: int) -> None:
    """Let a job go on with what a rule held, one run after the other."""
    enqueue(CATCH_UP, {"automation_id": automation_id})


def is_catching_up(automation_id: int) -> bool:
    """Whether such a job is at work: then it goes on with what is held, in its turn."""
    jobs = db.session.scalars(select(Job).where(Job.kind == CATCH_UP, Job.state.in_(("ready", "running"))))
    return any(job.payload["automation_id"] == automation_id for job in jobs)


def cancel_all(automation_id: int, why: str) -> int:
    """End the waiting runs of a rule; returns how many. Of many, a job ends the rest."""
    ended, is_all = cancel_some(automation_id, why)
    if is_all:
        return ended
    enqueue(CANCEL, {"automation_id": automation_id, "why": why})
    return waiting_runs(automation_id) + ended


def cancel_some(automation_id: int, why: str) -> tuple[int, bool]:
    """End `AT_ONCE` waiting runs of a rule at most; how many, and whether these were all."""
    found = db.session.scalars(
        select(AutomationRun)
        .where(AutomationRun.automation_id == automation_id, AutomationRun.outcome == "waiting")
        .order_by(AutomationRun.id)
        .limit(AT_ONCE)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    for run in found:
        cancel_run(run, why)
    db.session.flush()
    return len(found), len(found) < AT_ONCE


def waiting_runs(automation_id: int) -> int:
    """How many runs of a rule wait."""
    mine = (AutomationRun.automation_id == automation_id) & (AutomationRun.outcome == "waiting")
    return db.session.scalar(select(func.count(AutomationRun.id)).where(mine)) or 0

"""Taking back what an application to existing records did: run by run, where nobody has touched it since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, func, select

from soconnective.automation.definition import parse
from soconnective.automation.models import AutomationRun
from soconnective.automation.sweep_models import Sweep
from soconnective.automation.undo_run import undo_run
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.events import EventRow
from soconnective.jobs import Again, Job, JobKind, enqueue, register_job

AT_ONCE = 20  # runs in one transaction
DID = ("succeeded", "partly_succeeded")
ABOUT = "sweep"


def runs_of(sweep: Sweep, *columns: Any) -> Select[Any]:
    """The live runs that an application made."""
    return (
        select(*columns)
        .select_from(AutomationRun)
        .join(EventRow, EventRow.id == AutomationRun.event_id)
        .where(
            AutomationRun.automation_id == sweep.automation_id,
            AutomationRun.attempt == 0,
            EventRow.name.like("%.rule_applied"),
            EventRow.occurred_at >= sweep.started_at,
            EventRow.occurred_at <= (sweep.ended_at or clock.now()),
        )
    )


def counts_of(sweep: Sweep) -> tuple[int, int]:
    """How many of its runs did something, and how many of those were taken back."""
    row = db.session.execute(
        runs_of(sweep, func.count(), func.count(AutomationRun.undone_at)).where(
            AutomationRun.outcome.in_(DID)
        )
    ).one()
    return row[0], row[1]


def job_of(sweep: Sweep) -> Job | None:
    """The last job that takes back what it did; None before there is one, and after a week."""
    mine = (Job.record_type == ABOUT) & (Job.record_id == sweep.id) & (Job.kind == UndoApplication.kind)
    return db.session.scalars(select(Job).where(mine).order_by(Job.id.desc()).limit(1)).first()


def is_open(job: Job | None) -> bool:
    return job is not None and job.state in ("ready", "running")


def undo_application(sweep: Sweep) -> Job:
    """Begin to take back what `sweep` did. Raises `Refused`."""
    if sweep.what != "apply":
        raise Refused("A backtest leaves nothing that could be taken back.")
    if sweep.state == "running":
        raise Refused("It still runs. Cancel it first.")
    did, undone = counts_of(sweep)
    if did == undone:
        raise Refused("There is nothing left of it that could be taken back.")
    if is_open(job_of(sweep)):
        raise Refused("It is being taken back already.")
    payload = {"sweep_id": sweep.id, "after": 0, "left": 0}
    job = enqueue(UndoApplication.kind, payload, about=(ABOUT, sweep.id))
    db.session.flush()
    return job


@register_job
class UndoApplication(JobKind):
    """A few runs in each transaction, the last first; what was touched since stays, and is counted."""

    kind = "automation.undo_application"
    label = "Take back what a rule did to existing records"

    def describe(self, payload: Mapping[str, Any]) -> str:
        sweep = db.session.get(Sweep, payload.get("sweep_id") or 0)
        name = parse(sweep.definition).name if sweep else "a rule that is gone"
        left = f", {payload['left']:,} stay as they are" if payload.get("left") else ""
        return f"“{name}”{left}"

    def run(self, job: Job) -> Again | None:
        sweep = db.session.get(Sweep, job.payload["sweep_id"])
        if sweep is None:
            return None
        statement = runs_of(sweep, AutomationRun).where(
            AutomationRun.outcome.in_(DID), AutomationRun.undone_at.is_(None)
        )
        if job.payload["after"]:
            statement = statement.where(AutomationRun.id < job.payload["after"])
        found = list(db.session.scalars(statement.order_by(AutomationRun.id.desc()).limit(AT_ONCE)))
        left = job.payload["left"]
        for run in found:
            try:
                with db.session.begin_nested():
                    undo_run(run)
            except Refused:
                left += 1
        payload = {**job.payload, "after": found[-1].id if found else 0, "left": left}
        if len(found) < AT_ONCE:
            job.payload = payload
            return None
        return Again(payload)

"""Jobs that ended are kept for a while, so that people can see what was done, and then deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, select

from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in, current_tenant_id
from soconnective.core.workspace import workspace_ids
from soconnective.jobs.kinds import Again, JobKind, Tick, register_job, register_tick
from soconnective.jobs.models import Job, WorkerRow
from soconnective.jobs.queue import enqueue

KEPT = {"done": timedelta(days=7), "cancelled": timedelta(days=30), "dead": timedelta(days=90)}
WORKERS_KEPT = timedelta(days=7)
SLICE = 1000


class PruneJobs(JobKind):
    """Deletes a workspace's jobs that ended long ago, a slice at a time."""

    kind, label = "prune_jobs", "Forget old jobs"

    def run(self, job: Job) -> Again | None:
        table: Any = Job.__table__
        c = table.c
        for state, kept in KEPT.items():
            if prune(table, SLICE, c.state == state, c.finished_at < clock.now() - kept):
                return Again(job.payload)
        return None


def prune(table: Any, most: int, *is_old: ColumnElement[bool]) -> bool:
    """Delete `most` of the current workspace's rows, at most, that meet all of `is_old`.

    In the caller's transaction. True if that many went, so that there may be more.
    """
    old = select(table.c.id).where(table.c.tenant_id == current_tenant_id(), *is_old).limit(most)
    gone = db.session.connection().execute(delete(table).where(table.c.id.in_(old.scalar_subquery())))
    return bool(gone.rowcount >= most)


def enqueue_everywhere(kind: str, key: str) -> None:
    """One job of `kind` in each workspace, once for the same `key`."""
    for tenant_id in workspace_ids():
        with acting_in(tenant_id), write_transaction():
            enqueue(kind, key=key)


def register_daily(
    kind: type[JobKind], name: str = "", also: Callable[[datetime], None] | None = None
) -> type[JobKind]:
    """Register `kind`, and the tick `name` (None: called as the kind) that enqueues one in each workspace every day.

    `also` is called by the tick first, for what belongs to no workspace.
    """

    def _run(now: datetime) -> None:
        if also is not None:
            also(now)
        enqueue_everywhere(kind.kind, f"{kind.kind}-{now:%Y-%m-%d}")

    register_tick(Tick(name or kind.kind, timedelta(hours=6), _run))
    return register_job(kind)


def forget_workers(now: datetime) -> None:
    """Delete the rows of workers that have not been seen for long."""
    table: Any = WorkerRow.__table__
    with write_transaction():
        db.session.execute(delete(table).where(table.c.seen_at < now - WORKERS_KEPT))

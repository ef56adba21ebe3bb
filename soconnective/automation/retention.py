"""How long runs are kept: by outcome, failures longest."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import current_app
from sqlalchemy import delete, select

from soconnective.automation.models import AutomationRun
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import current_tenant_id
from soconnective.jobs import Again, Job, JobKind, register_daily

_KEPT_AS = {
    "succeeded": "SUCCEEDED", "partly_succeeded": "FAILED", "failed": "FAILED", "not_matched": "NOT_MATCHED",
    "skipped": "SKIPPED", "cancelled": "SKIPPED", "shadowed": "NOT_MATCHED",
}  # fmt: skip
SLICE = 1000


def prune() -> dict[str, int]:
    """Delete the current workspace's runs that are older than their outcome is kept; waiting ones stay.

    Returns the counts.
    In slices, each its own short transaction, so that nobody waits for it.
    """
    counts = dict.fromkeys(_KEPT_AS, 0)
    for outcome in _KEPT_AS:
        gone = 1
        while gone:
            with write_transaction():
                gone = _slice(outcome)
            counts[outcome] += gone
    return counts


def _slice(outcome: str) -> int:
    """Delete the oldest runs of an outcome, `SLICE` of them at most, in the caller's transaction.

    Only the first ones by id are looked at, an index's beginning: where nothing is old, nothing is read through,
    and what is old behind a whole slice of younger ones goes once those do.
    """
    table: Any = AutomationRun.__table__
    days = current_app.config[f"SOCONNECTIVE_KEEP_{_KEPT_AS[outcome]}_DAYS"]
    first = (
        select(table.c.id, table.c.started_at)
        .where(table.c.tenant_id == current_tenant_id(), table.c.outcome == outcome)
        .order_by(table.c.id)
        .limit(SLICE)
        .subquery()
    )
    old = select(first.c.id).where(first.c.started_at < clock.now() - timedelta(days=days))
    gone = db.session.connection().execute(delete(table).where(table.c.id.in_(old)))
    return int(gone.rowcount)


@register_daily
class PruneRuns(JobKind):
    """`prune()` as a job: each slice is a transaction that ends with the job's next part being due."""

    kind, label = "prune_runs", "Forget old runs"

    def run(self, job: Job) -> Again | None:
        for outcome in _KEPT_AS:
            if _slice(outcome):
                return Again(job.payload)
        return None

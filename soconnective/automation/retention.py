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

_KEPT_AS = {
    "succeeded": "SUCCEEDED", "partly_succeeded": "FAILED", "failed": "FAILED", "not_matched": "NOT_MATCHED",
    "skipped": "SKIPPED", "cancelled": "SKIPPED", "shadowed": "NOT_MATCHED",
}  # fmt: skip
SLICE = 2000


def prune() -> dict[str, int]:
    """Delete the current workspace's runs that are older than their outcome is kept; waiting ones stay.

    Returns the counts.
    In slices, each its own short transaction, so that nobody waits for it.
    """
    tenant_id = current_tenant_id()
    table: Any = AutomationRun.__table__
    counts = {}
    for outcome, setting in _KEPT_AS.items():
        days = current_app.config[f"SOCONNECTIVE_KEEP_{setting}_DAYS"]
        before = clock.now() - timedelta(days=days)
        counts[outcome] = 0
        while True:
            old = (
                select(table.c.id)
                .where(
                    table.c.tenant_id == tenant_id, table.c.outcome == outcome, table.c.started_at < before
                )
                .limit(SLICE)
            )
            with write_transaction():
                gone = (
                    db.session.connection()
                    .execute(delete(table).where(table.c.id.in_(old.scalar_subquery())))
                    .rowcount
                )
            counts[outcome] += gone
            if gone < SLICE:
                break
    return counts

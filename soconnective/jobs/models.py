"""The queue's tables: jobs, the workers that were seen, and when each tick came last."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core import clock
from soconnective.core.model import (
    Base,
    BigId,
    Json,
    TenantOwned,
    UtcDateTime,
    tenant_table,
)

# state: how people read it
STATES = {
    "ready": "waiting",
    "running": "running",
    "done": "done",
    "dead": "given up",
    "cancelled": "cancelled",
}
LIVE = text("state IN ('ready', 'running')")


class Job(TenantOwned, Base):
    """Something to do at `next_at` or later; while it runs, `next_at` is the end of the worker's lease.

    `token` counts the claims: whoever holds an older one has lost the job. `attempts` counts tries since it
    was enqueued or told to run again, `deaths` the workers that were lost with it. `key` is unique within
    the workspace: what is enqueued under a key that exists is that job; it also names the job to the
    outside (Message-ID, webhook-id), the same at every attempt.
    """

    __tablename__ = "jobs"
    __table_args__ = tenant_table(
        CheckConstraint("state IN ('ready', 'running', 'done', 'dead', 'cancelled')", name="state"),
        UniqueConstraint("tenant_id", "key"),
        Index("ix_jobs_due", "next_at", "id", sqlite_where=LIVE, postgresql_where=LIVE),
        Index("ix_jobs_state", "tenant_id", "state", "id"),
        Index("ix_jobs_record", "tenant_id", "record_type", "record_id"),
    )

    kind: Mapped[str] = mapped_column(String(80))
    key: Mapped[str] = mapped_column(String(120))
    payload: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    state: Mapped[str] = mapped_column(String(20), default="ready")
    next_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    deaths: Mapped[int] = mapped_column(Integer, default=0)
    token: Mapped[int] = mapped_column(Integer, default=0)
    worker: Mapped[str | None] = mapped_column(String(120))
    error: Mapped[str] = mapped_column(Text, default="")
    record_type: Mapped[str | None] = mapped_column(String(40))
    record_id: Mapped[int | None] = mapped_column(BigId)
    event_id: Mapped[int | None] = mapped_column(
        BigId
    )  # no reference: events are stored after what rules enqueue
    actor_kind: Mapped[str] = mapped_column(String(20), default="system")
    actor_id: Mapped[int | None] = mapped_column(BigId)
    actor_name: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class WorkerRow(Base):
    """A worker as it last showed itself. `id` is made anew at each start."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(120), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    jobs: Mapped[int] = mapped_column(Integer, default=0)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TickRow(Base):
    """When a tick of the scheduler came last, and when it is due."""

    __tablename__ = "ticks"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    last_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    next_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    worker: Mapped[str] = mapped_column(String(120), default="")
    error: Mapped[str] = mapped_column(Text, default="")

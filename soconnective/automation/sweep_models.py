"""Sweeps as rows: a rule going over many events (a backtest) or many records (applied to what there is)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core import clock
from soconnective.core.model import (
    Base,
    BigId,
    CreatedBy,
    Json,
    TenantOwned,
    UtcDateTime,
    tenant_reference,
    tenant_table,
)

STATES = {"running": "running", "done": "done", "cancelled": "cancelled", "failed": "given up"}


class Sweep(TenantOwned, CreatedBy, Base):
    """One sweep and how far it has come. It stops by itself once `state` is no longer "running".

    `definition` is the rule as it was when the sweep began (`number` its version; None for a draft);
    `last_id` is the last event or record that was looked at, `until_id` the last there will be.
    `counts` are the outcomes of a backtest.
    """

    __tablename__ = "automation_sweeps"
    __table_args__ = tenant_table(
        CheckConstraint("what IN ('backtest', 'apply')", name="what"),
        CheckConstraint("state IN ('running', 'done', 'cancelled', 'failed')", name="state"),
        tenant_reference("automation_id", "automations"),
        Index("ix_automation_sweeps_automation", "tenant_id", "automation_id", "id"),
    )

    automation_id: Mapped[int | None] = mapped_column(BigId)
    what: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20), default="running")
    definition: Mapped[str] = mapped_column(Text)
    number: Mapped[int | None] = mapped_column(Integer)
    asked: Mapped[str] = mapped_column(String(80), default="")
    total: Mapped[int] = mapped_column(Integer, default=0)
    done: Mapped[int] = mapped_column(Integer, default=0)
    last_id: Mapped[int] = mapped_column(BigId, default=0)
    until_id: Mapped[int] = mapped_column(BigId, default=0)
    since: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    counts: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    error: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SweepRow(TenantOwned, Base):
    """What a backtest said of one event. Only some of each outcome are kept; the counts are of all.

    Events are named by a plain id: a sweep is forgotten before they are.
    """

    __tablename__ = "automation_sweep_rows"
    __table_args__ = tenant_table(
        tenant_reference("sweep_id", "automation_sweeps"),
        Index("ix_automation_sweep_rows_outcome", "tenant_id", "sweep_id", "outcome", "id"),
    )

    sweep_id: Mapped[int] = mapped_column(BigId)
    event_id: Mapped[int] = mapped_column(BigId)
    record_type: Mapped[str] = mapped_column(String(40))
    record_id: Mapped[int] = mapped_column(BigId)
    title: Mapped[str] = mapped_column(String(200), default="")
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(String(20))
    detail: Mapped[str] = mapped_column(Text, default="")
    trace: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)

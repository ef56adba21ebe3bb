"""What is due when: one row for each moment at which a rule that no change starts is to look at a record."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core import clock
from soconnective.core.model import Base, BigId, TenantOwned, UtcDateTime, tenant_reference, tenant_table

PLANNED = text("state = 'planned'")
LIVE = text("state <> 'fired'")
EVERY_RECORD = 0  # the record id of a schedule's row: it is about all records of the kind


class AutomationDue(TenantOwned, Base):
    """At `at`, the rule looks at the record because of `due_value`: the date, the last activity, the scheduled moment.

    planned → taken (a job is enqueued for it) → fired. A fired row stays: it is what makes a rule fire once
    for a record and value. `number` is the version of the rule that planned it.
    """

    __tablename__ = "automation_due"
    __table_args__ = tenant_table(
        tenant_reference("automation_id", "automations"),
        CheckConstraint("state IN ('planned', 'taken', 'fired')", name="state"),
        UniqueConstraint(
            "tenant_id",
            "automation_id",
            "record_type",
            "record_id",
            "due_value",
            name="uq_automation_due_value",
        ),
        Index(
            "ix_automation_due_next", "tenant_id", "at", "id", sqlite_where=PLANNED, postgresql_where=PLANNED
        ),
        Index(
            "uq_automation_due_live",
            "tenant_id",
            "automation_id",
            "record_type",
            "record_id",
            unique=True,
            sqlite_where=LIVE,
            postgresql_where=LIVE,
        ),
        Index("ix_automation_due_fired", "tenant_id", "state", "fired_at"),
    )

    automation_id: Mapped[int] = mapped_column(BigId)
    number: Mapped[int] = mapped_column(Integer)
    record_type: Mapped[str] = mapped_column(String(40))
    record_id: Mapped[int] = mapped_column(BigId)
    due_value: Mapped[str] = mapped_column(String(40))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(10), default="planned")
    planned_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    fired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


due: Any = AutomationDue.__table__

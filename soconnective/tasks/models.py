"""Tasks: something to do, by somebody, by a day."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from soconnective.contacts.models import Contact
from soconnective.core.model import (
    Base,
    BigId,
    CreatedBy,
    TenantOwned,
    Timestamped,
    UtcDateTime,
    Versioned,
    tenant_reference,
    tenant_table,
)
from soconnective.core.search import searchable
from soconnective.deals.models import Deal

PRIORITIES = {"low": "Low", "normal": "Normal", "high": "High"}


class Task(TenantOwned, Timestamped, Versioned, CreatedBy, Base):
    __tablename__ = "tasks"
    __table_args__ = tenant_table(
        tenant_reference("assignee_id", "memberships", "user_id"),
        tenant_reference("deal_id", "deals"),
        tenant_reference("contact_id", "contacts"),
        CheckConstraint("status IN ('open', 'completed')", name="status"),
        CheckConstraint("priority IN ('low', 'normal', 'high')", name="priority"),
        Index("ix_tasks_assignee", "tenant_id", "assignee_id", "status", "due_on"),
        Index("ix_tasks_due", "tenant_id", "status", "due_on", "id"),
        Index("ix_tasks_deal", "tenant_id", "deal_id", "status", "due_on"),
        Index("ix_tasks_contact", "tenant_id", "contact_id", "status"),
    )

    title: Mapped[str] = mapped_column(String(200))
    details: Mapped[str | None] = mapped_column(Text)
    due_on: Mapped[date | None] = mapped_column(Date)
    assignee_id: Mapped[int | None] = mapped_column(BigId)
    priority: Mapped[str] = mapped_column(String(10), default="normal")
    status: Mapped[str] = mapped_column(String(10), default="open")
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deal_id: Mapped[int | None] = mapped_column(BigId)
    contact_id: Mapped[int | None] = mapped_column(BigId)

    deal: Mapped[Deal | None] = relationship(primaryjoin="foreign(Task.deal_id) == Deal.id")
    contact: Mapped[Contact | None] = relationship(primaryjoin="foreign(Task.contact_id) == Contact.id")

    @property
    def is_open(self) -> bool:
        return self.status == "open"


searchable(Task, "task", lambda row: [row.title])

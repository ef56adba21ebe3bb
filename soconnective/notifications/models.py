"""What people are told, and what each of them wants to be told of."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core import clock
from soconnective.core.model import (
    Base,
    BigId,
    TenantOwned,
    UtcDateTime,
    tenant_reference,
    tenant_table,
)

TITLE_LENGTH = 200
UNREAD = text("read_at IS NULL AND is_shown")


class Notification(TenantOwned, Base):
    """Something that one person is told. `key` names its cause: under a key they are told once.

    `record_type` and `record_id` say what it is about, and so where it leads. `is_shown` False: they want it
    by mail alone; the row is kept for its key.
    """

    __tablename__ = "notifications"
    __table_args__ = tenant_table(
        tenant_reference("person_id", "memberships", "user_id"),
        UniqueConstraint("tenant_id", "person_id", "key"),
        Index(
            "ix_notifications_unread",
            "tenant_id",
            "person_id",
            "id",
            sqlite_where=UNREAD,
            postgresql_where=UNREAD,
        ),
        Index("ix_notifications_person", "tenant_id", "person_id", "is_shown", "id"),
        Index("ix_notifications_created", "tenant_id", "created_at"),
    )

    person_id: Mapped[int] = mapped_column(BigId)
    kind: Mapped[str] = mapped_column(String(40))
    title: Mapped[str] = mapped_column(String(TITLE_LENGTH))
    text: Mapped[str] = mapped_column(Text, default="")
    record_type: Mapped[str | None] = mapped_column(String(40))
    record_id: Mapped[int | None] = mapped_column(BigId)
    key: Mapped[str | None] = mapped_column(String(120))
    is_shown: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class NotificationChoice(TenantOwned, Base):
    """What one person wants of one kind; without a row it is as the kind says."""

    __tablename__ = "notification_choices"
    __table_args__ = tenant_table(
        tenant_reference("person_id", "memberships", "user_id"),
        UniqueConstraint("tenant_id", "person_id", "kind"),
    )

    person_id: Mapped[int] = mapped_column(BigId)
    kind: Mapped[str] = mapped_column(String(40))
    in_app: Mapped[bool] = mapped_column(Boolean)
    by_mail: Mapped[bool] = mapped_column(Boolean)

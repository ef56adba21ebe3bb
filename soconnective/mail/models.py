"""The mail account of a workspace, its templates, and every mail that was asked for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, CheckConstraint, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core import clock
from soconnective.core.model import (
    Base,
    BigId,
    CreatedBy,
    TenantOwned,
    Timestamped,
    UtcDateTime,
    Versioned,
    tenant_table,
)

# security: how people read it
SECURITY = {
    "starttls": "STARTTLS (usually port 587)",
    "tls": "TLS (usually port 465)",
    "none": "none (only for a server on this machine)",
}
# state: how people read it
STATES = {"queued": "waiting", "sent": "sent", "failed": "not sent", "suppressed": "held back"}


class MailAccount(TenantOwned, Timestamped, Versioned, Base):
    """Where the workspace's mail leaves; one a workspace. Its password is the secret `mail.password`."""

    __tablename__ = "mail_accounts"
    __table_args__ = tenant_table(
        CheckConstraint("security IN ('none', 'starttls', 'tls')", name="security"),
        UniqueConstraint("tenant_id"),
    )

    host: Mapped[str] = mapped_column(String(253))
    port: Mapped[int] = mapped_column(Integer)
    security: Mapped[str] = mapped_column(String(10), default="starttls")
    username: Mapped[str | None] = mapped_column(String(254))
    from_address: Mapped[str] = mapped_column(String(254))
    from_name: Mapped[str | None] = mapped_column(String(120))
    hourly_cap: Mapped[int] = mapped_column(Integer, default=200)
    proven_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # when the server, as it is, took a mail


class MailTemplate(TenantOwned, Timestamped, Versioned, CreatedBy, Base):
    """A subject, a text and HTML with merge fields, for rules about `record_type`.

    One of `body` and `html` may be empty: the other is then made into both. `has_images`: images from the
    web may stand in the HTML.
    """

    __tablename__ = "mail_templates"
    __table_args__ = tenant_table(UniqueConstraint("tenant_id", "name"))

    name: Mapped[str] = mapped_column(String(120))
    record_type: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text, default="")
    has_images: Mapped[bool] = mapped_column(Boolean, default=False)


class MailMessage(TenantOwned, CreatedBy, Base):
    """A mail that was asked for, and what became of it. `key` is its job's; `message_id` never changes.

    `record_type`, `record_id`: the record it is about. `addressee_type`, `addressee_id`: the record it is
    written to. `root_id` and `depth`: the event that began the chain of rules, and how far along it was.
    """

    __tablename__ = "mail_messages"
    __table_args__ = tenant_table(
        CheckConstraint("state IN ('queued', 'sent', 'failed', 'suppressed')", name="state"),
        UniqueConstraint("tenant_id", "key"),
        Index("ix_mail_messages_address", "tenant_id", "to_address", "created_at"),
        Index("ix_mail_messages_created", "tenant_id", "created_at", "id"),
        Index("ix_mail_messages_record", "tenant_id", "record_type", "record_id", "id"),
        Index("ix_mail_messages_addressee", "tenant_id", "addressee_type", "addressee_id", "id"),
        Index("ix_mail_messages_state", "tenant_id", "state", "id"),
    )

    to_address: Mapped[str] = mapped_column(String(254))
    to_name: Mapped[str] = mapped_column(String(200), default="")
    subject: Mapped[str] = mapped_column(String(300))
    text: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(20), default="queued")
    is_automatic: Mapped[bool] = mapped_column(Boolean, default=True)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[str] = mapped_column(Text, default="")
    key: Mapped[str] = mapped_column(String(120))
    message_id: Mapped[str] = mapped_column(String(320))
    record_type: Mapped[str | None] = mapped_column(String(40))
    record_id: Mapped[int | None] = mapped_column(BigId)
    addressee_type: Mapped[str | None] = mapped_column(String(40))
    addressee_id: Mapped[int | None] = mapped_column(BigId)
    event_id: Mapped[int | None] = mapped_column(
        BigId
    )  # no reference: events are stored after their rules ran
    root_id: Mapped[int | None] = mapped_column(BigId)
    depth: Mapped[int] = mapped_column(Integer, default=0)
    automation_id: Mapped[int | None] = mapped_column(BigId)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    tried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the first try
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

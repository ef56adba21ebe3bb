"""Webhooks out (endpoints and deliveries) and in (hooks and calls)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core import clock
from soconnective.core.model import (
    Base,
    BigId,
    Json,
    TenantOwned,
    Timestamped,
    UtcDateTime,
    Versioned,
    tenant_reference,
    tenant_table,
)

# state: how people read it
STATES = {"waiting": "on its way", "delivered": "delivered", "failed": "given up"}


class WebhookEndpoint(TenantOwned, Timestamped, Versioned, Base):
    """Where webhooks are sent to. Its secret is kept in `secrets`, under `secret_name`.

    A deleted one stays as a row, without its secret, for the deliveries that name it.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = tenant_table()

    name: Mapped[str] = mapped_column(String(120))
    url: Mapped[str] = mapped_column(Text)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    off_because: Mapped[str] = mapped_column(Text, default="")
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    old_secret_until: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @property
    def secret_name(self) -> str:
        return f"webhook-endpoint-{self.id}"

    @property
    def old_secret_name(self) -> str:
        """The secret before, which signs too until `old_secret_until`."""
        return f"webhook-endpoint-{self.id}-old"


class WebhookDelivery(TenantOwned, Base):
    """One message to an endpoint: what was sent, and what came of it. `key` is its job's, and its webhook-id."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = tenant_table(
        tenant_reference("endpoint_id", "webhook_endpoints"),
        CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="state"),
        UniqueConstraint("tenant_id", "key"),
        Index("ix_webhook_deliveries_endpoint", "tenant_id", "endpoint_id", "id"),
        Index("ix_webhook_deliveries_created", "tenant_id", "created_at"),
    )

    endpoint_id: Mapped[int] = mapped_column(BigId)
    key: Mapped[str] = mapped_column(String(120))
    event_name: Mapped[str] = mapped_column(String(80))
    event_id: Mapped[int | None] = mapped_column(
        BigId
    )  # no reference: events are stored after what rules write
    cause: Mapped[str] = mapped_column(String(200), default="")
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(20), default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    response_code: Mapped[int | None] = mapped_column(Integer)
    said: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    tried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @property
    def title(self) -> str:
        return f"{self.event_name} ({STATES[self.state]})"


class WebhookHook(TenantOwned, Timestamped, Versioned, Base):
    """A secret address that others call. Only the digest of its token is kept.

    `mapping` is a list of [name, JSON path] or [name, JSON path, unit]; `id_path` says where the id is that tells duplicates (empty:
    the header webhook-id, else `id`). With `is_signed`, calls must carry a signature by the secret kept
    under `secret_name`.
    """

    __tablename__ = "webhook_hooks"
    __table_args__ = tenant_table(UniqueConstraint("tenant_id", "token_digest"))

    name: Mapped[str] = mapped_column(String(120))
    token_digest: Mapped[str] = mapped_column(String(64))
    id_path: Mapped[str | None] = mapped_column(String(200))
    mapping: Mapped[list[Any]] = mapped_column(Json, default=list)
    is_signed: Mapped[bool] = mapped_column(Boolean, default=False)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @property
    def secret_name(self) -> str:
        return f"webhook-hook-{self.id}"


class WebhookCall(TenantOwned, Base):
    """A call that was received: the record that rules about webhooks look at.

    `payload` is the JSON text as it came, `fields` what the hook's mapping found in it. `contact_id` is
    the contact that a rule found for it: a plain id, since contacts may go while the call stays.
    """

    __tablename__ = "webhook_calls"
    __table_args__ = tenant_table(
        tenant_reference("hook_id", "webhook_hooks"),
        UniqueConstraint("tenant_id", "hook_id", "external_id"),
        Index("ix_webhook_calls_hook", "tenant_id", "hook_id", "id"),
        Index("ix_webhook_calls_received", "tenant_id", "received_at"),
    )

    hook_id: Mapped[int] = mapped_column(BigId)
    external_id: Mapped[str | None] = mapped_column(String(200))
    payload: Mapped[str] = mapped_column(Text)
    fields: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    contact_id: Mapped[int | None] = mapped_column(BigId)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)


class WebhookRefusal(TenantOwned, Base):
    """A call to a hook's right address that was not taken. With `external_id`: one with this id came before."""

    __tablename__ = "webhook_refusals"
    __table_args__ = tenant_table(
        tenant_reference("hook_id", "webhook_hooks"),
        Index("ix_webhook_refusals_hook", "tenant_id", "hook_id", "id"),
        Index("ix_webhook_refusals_at", "tenant_id", "at"),
    )

    hook_id: Mapped[int] = mapped_column(BigId)
    external_id: Mapped[str | None] = mapped_column(String(200))
    said: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)

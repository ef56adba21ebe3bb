"""DomainEvent: the fact that something happened to a record, and the rows it is stored in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKeyConstraint, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core.access import Actor
from soconnective.core.model import (
    Base,
    BigId,
    Json,
    TenantOwned,
    UtcDateTime,
    tenant_reference,
    tenant_table,
)


@dataclass(slots=True)
class DomainEvent:
    """One fact, as receivers and the engine see it.

    `changes` maps a field to its old and new value (JSON-ready; a list field has the removed and the
    added members); `snapshot` is the record's declared fields after the change, flat, with the names
    of what it points to. `id` is None until the event is stored; `root_id` is its own id for an event
    that no rule caused. `depth` counts the rules between the root and this event. `rule_id` is set on what
    is addressed to one rule (its schedule is due, somebody pressed its button): no other looks at it.
    `rules` is what the one who made the change said of them: "run", "log" (a rule that would run is
    written down, and does nothing), "skip" (no rule looks).
    """

    name: str
    tenant_id: int
    record_type: str
    record_id: int
    actor: Actor
    occurred_at: datetime
    changes: dict[str, list[Any]]
    snapshot: dict[str, Any] = field(default_factory=dict)
    links: tuple[tuple[str, int], ...] = ()
    id: int | None = None
    parent_id: int | None = None
    root_id: int | None = None
    depth: int = 0
    rule_id: int | None = None
    rules: str = "run"


class EventRow(TenantOwned, Base):
    """A stored domain event; written once, by `events.store`, never changed."""

    __tablename__ = "events"
    __table_args__ = tenant_table(
        tenant_reference("parent_id", "events"),
        Index("ix_events_record", "tenant_id", "record_type", "record_id", "id"),
        Index("ix_events_root", "tenant_id", "root_id"),
        Index("ix_events_parent", "tenant_id", "parent_id"),
        Index("ix_events_name", "tenant_id", "name", "id"),
    )

    name: Mapped[str] = mapped_column(String(80))
    record_type: Mapped[str] = mapped_column(String(40))
    record_id: Mapped[int] = mapped_column(BigId)
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor_kind: Mapped[str] = mapped_column(String(20))
    actor_id: Mapped[int | None] = mapped_column(BigId)
    actor_name: Mapped[str] = mapped_column(String(200))
    changes: Mapped[dict[str, list[Any]]] = mapped_column(Json)
    snapshot: Mapped[dict[str, Any]] = mapped_column(Json)
    parent_id: Mapped[int | None] = mapped_column(BigId)
    root_id: Mapped[int | None] = mapped_column(BigId)  # NULL on a root: it is its own
    depth: Mapped[int] = mapped_column(Integer, default=0)
    rules: Mapped[str] = mapped_column(String(10), default="run", server_default="run")

    def as_event(self) -> DomainEvent:
        """The event as the engine sees it, with the record as it was then."""
        return DomainEvent(
            self.name,
            self.tenant_id,
            self.record_type,
            self.record_id,
            Actor(self.actor_kind, self.actor_id, self.actor_name),
            self.occurred_at,
            dict(self.changes),
            dict(self.snapshot),
            (),
            self.id,
            self.parent_id,
            self.root_id,
            self.depth,
            rules=self.rules,
        )


class EventLink(Base):
    """On whose timelines an event is told: its own record's, and those of the records it is linked to."""

    __tablename__ = "event_links"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "event_id"], ["events.tenant_id", "events.id"]),
        Index("ix_event_links_event", "tenant_id", "event_id"),
    )

    tenant_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    record_type: Mapped[str] = mapped_column(String(40), primary_key=True)
    record_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    event_id: Mapped[int] = mapped_column(BigId, primary_key=True)

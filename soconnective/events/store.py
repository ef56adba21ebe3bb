"""Events become rows: one executemany for the events, one for their links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session as OrmSession

from soconnective.core.db import before_outermost_commit
from soconnective.events.event import DomainEvent, EventLink, EventRow
from soconnective.events.fold import fold
from soconnective.events.pending import take

Reactor = Callable[[OrmSession, list[DomainEvent]], None]

_events: Any = EventRow.__table__
_links: Any = EventLink.__table__
_insert_events = insert(_events).returning(_events.c.id, sort_by_parameter_order=True)
_insert_links = insert(_links)
_reactor: list[Reactor] = []


def react_with(reactor: Reactor) -> None:
    """Register the one that reacts to stored events: the automation engine."""
    _reactor[:] = [reactor]


@before_outermost_commit
def drain(session: OrmSession) -> None:
    """Fold and store what this transaction did, and give what somebody wants to the reactor."""
    found = fold(session, take(session))
    if not found:
        return
    store(session, [event for event, _wanted in found])
    wanted = [event for event, is_wanted in found if is_wanted]
    if wanted and _reactor:
        _reactor[0](session, wanted)


def store(session: OrmSession, events: Sequence[DomainEvent]) -> None:
    """Write `events` and give each its id."""
    if not events:
        return
    rows = [
        {
            "tenant_id": event.tenant_id,
            "name": event.name,
            "record_type": event.record_type,
            "record_id": event.record_id,
            "occurred_at": event.occurred_at,
            "actor_kind": event.actor.kind,
            "actor_id": event.actor.id,
            "actor_name": event.actor.name,
            "changes": event.changes,
            "snapshot": event.snapshot,
            "parent_id": event.parent_id,
            "root_id": event.root_id,
            "depth": event.depth,
        }
        for event in events
    ]
    connection = session.connection()
    for event, event_id in zip(events, connection.execute(_insert_events, rows).scalars(), strict=True):
        event.id = event_id
    connection.execute(
        _insert_links,
        [
            {"tenant_id": event.tenant_id, "record_type": kind, "record_id": record_id, "event_id": event.id}
            for event in events
            for kind, record_id in event.links
        ],
    )

"""Events become rows: numbered as soon as they are known, written together at the end.

An event's id is in hand before its row is: rules name it as their cause. So a whole chain is one
executemany for the events and one for their links, whatever its depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.event import listens_for
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import SessionTransaction

from soconnective.core.db import Session, before_outermost_commit
from soconnective.events.event import DomainEvent, EventLink, EventRow
from soconnective.events.fold import fold
from soconnective.events.pending import take


@dataclass(slots=True)
class Reaction:
    """What the reactor caused: further events, and what it wants to write once all events are stored."""

    events: list[DomainEvent] = field(default_factory=list)
    write: Callable[[OrmSession], None] | None = None


Follower = Callable[[OrmSession, Sequence[DomainEvent]], None]
Reactor = Callable[[OrmSession, list[DomainEvent]], Reaction]

_events: Any = EventRow.__table__
_links: Any = EventLink.__table__
_insert_events = insert(_events).inline()
_insert_links = insert(_links)
_reactor: list[Reactor] = []
_followers: list[Follower] = []

_TOLD = "events.told"
_AHEAD = 8  # ids taken from PostgreSQL's sequence at once; gaps do no harm
_next_sqlite = text("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
_next_postgresql = text("SELECT nextval('events_id_seq') FROM generate_series(1, :number)")


def react_with(reactor: Reactor) -> None:
    """Register the one that reacts to events: the automation engine."""
    _reactor[:] = [reactor]


def follow_with(follower: Follower) -> None:
    """Register one that hears of every event, those included that nobody is to react to."""
    if follower not in _followers:
        _followers.append(follower)


def tell(session: OrmSession, events: Sequence[DomainEvent]) -> None:
    """Add events that were folded with their cause already: `drain` stores them, and rules look at them."""
    session.info.setdefault(_TOLD, []).extend(events)


@listens_for(Session, "after_soft_rollback")
def _on_soft_rollback(session: OrmSession, previous: SessionTransaction) -> None:
    if not previous.nested:
        session.info.pop(_TOLD, None)


@before_outermost_commit
def drain(session: OrmSession) -> None:
    """Fold what this transaction did, give what somebody wants to the reactor, and store it all."""
    told: list[DomainEvent] = session.info.pop(_TOLD, [])
    found = fold(session, take(session))
    if not found and not told:
        return
    events = [*told, *(fact for fact, _wanted in found)]
    number(session, [fact for fact in events if fact.id is None])
    wanted = [*told, *(fact for fact, is_wanted in found if is_wanted)]
    reaction = _reactor[0](session, wanted) if wanted and _reactor else Reaction()
    if unnumbered := [fact for fact in reaction.events if fact.id is None]:  # the engine failed before
        number(session, unnumbered)
    for follower in _followers:
        follower(session, [*events, *reaction.events])
    store(session, [*events, *reaction.events])
    if reaction.write is not None:
        reaction.write(session)


@dataclass(slots=True)
class _Ids:
    """Ids of one transaction that are not used yet. SQLite has one writer, so it counts on from the last."""

    transaction: SessionTransaction | None
    last: int = 0
    left: list[int] = field(default_factory=list)


def number(session: OrmSession, events: Sequence[DomainEvent]) -> None:
    """Give each of `events` the id that its row will have."""
    transaction = session.get_transaction()
    ids: _Ids | None = session.info.get("events.ids")
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    if ids is None or ids.transaction is not transaction:
        ids = session.info["events.ids"] = _Ids(transaction)
        if is_sqlite:
            ids.last = session.connection().execute(_next_sqlite).scalar() or 0
    if not is_sqlite and len(ids.left) < len(events):
        asked = {"number": len(events) + _AHEAD}
        ids.left += [row[0] for row in session.connection().execute(_next_postgresql, asked)]
    for event in events:
        if is_sqlite:
            ids.last += 1
            event.id = ids.last
        else:
            event.id = ids.left.pop(0)


def store(session: OrmSession, events: Sequence[DomainEvent]) -> None:
    """Write numbered `events`, causes before what they caused."""
    if not events:
        return
    connection = session.connection()
    connection.execute(
        _insert_events,
        [
            {
                "id": event.id,
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
                "rules": event.rules,
            }
            for event in events
        ],
    )
    links = [
        {"tenant_id": event.tenant_id, "record_type": kind, "record_id": record_id, "event_id": event.id}
        for event in events
        for kind, record_id in event.links
    ]
    if links:
        connection.execute(_insert_links, links)

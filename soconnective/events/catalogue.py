"""The list of everything that can happen, as the areas declare it, and the signals that say it.

    DEAL_WON = declare("deal.won", "deal", "Deal won", sent_when="...", not_when="...")

Each event type has one blinker signal in `namespace`, named like the event. A signal is sent inside
the flush with the `DomainEvent` as `event`; its receivers may only take notes (see `events.capture`).
"""

from __future__ import annotations

from dataclasses import dataclass

from blinker import Namespace

namespace = Namespace()


@dataclass(frozen=True, slots=True)
class EventType:
    """A kind of fact: when it is sent, when it is not, and how it differs from its neighbours."""

    name: str
    record_type: str
    title: str
    sent_when: str
    not_when: str


_types: dict[str, EventType] = {}


def declare(name: str, record_type: str, title: str, *, sent_when: str, not_when: str) -> EventType:
    """Add an event type to the catalogue. Names are dotted, past tense, and never change."""
    event_type = EventType(name, record_type, title, sent_when, not_when)
    if _types.get(name, event_type) != event_type:
        raise ValueError(f"the event {name} is declared twice")
    _types[name] = event_type
    namespace.signal(name, sent_when)
    return event_type


def event_types() -> dict[str, EventType]:
    """Every declared event type by name, in the order of declaration."""
    return dict(_types)

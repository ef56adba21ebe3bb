"""What happened: domain events declared, captured from the unit of work, folded, stored and handed on.

Owns the tables `events` and `event_links`. Names no area and no rule: areas declare and watch, the
automation engine registers itself as the one that reacts.
"""

from soconnective.events.catalogue import EventType, declare, event_types, namespace
from soconnective.events.event import DomainEvent, EventLink, EventRow
from soconnective.events.watch import Change, Part, Watch, watch, watched_models

__all__ = [
    "Change",
    "DomainEvent",
    "EventLink",
    "EventRow",
    "EventType",
    "Part",
    "Watch",
    "declare",
    "event_types",
    "namespace",
    "watch",
    "watched_models",
]

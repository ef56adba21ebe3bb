"""What happened: domain events declared, captured from the unit of work, folded, stored and handed on.

Owns the tables `events` and `event_links`. Names no area and no rule: areas declare and watch, the
automation engine registers itself as the one that reacts.
"""

from flask import Flask

from soconnective.events import capture
from soconnective.events.catalogue import EventType, declare, event_types, namespace
from soconnective.events.event import DomainEvent, EventLink, EventRow
from soconnective.events.fold import fold
from soconnective.events.pending import take
from soconnective.events.reacting import rules
from soconnective.events.store import Reaction, follow_with, number, react_with, store, tell
from soconnective.events.watch import Change, Part, Watch, snapshot_now, watch, watched_models, watches_of

__all__ = [
    "Change",
    "DomainEvent",
    "EventLink",
    "EventRow",
    "EventType",
    "Part",
    "Reaction",
    "Watch",
    "declare",
    "event_types",
    "fold",
    "follow_with",
    "init_app",
    "namespace",
    "number",
    "react_with",
    "rules",
    "snapshot_now",
    "store",
    "take",
    "tell",
    "watch",
    "watched_models",
    "watches_of",
]


def init_app(app: Flask) -> None:
    """Nothing to set up: importing `capture` and `store` listens on the session class."""
    app.extensions["soconnective.events"] = capture

"""When this, if that, then do: rules as data, the engine that runs them, and their pages.

Owns the tables `automations`, `automation_steps`, `automation_versions` and `automation_runs`.
Names no area: triggers and actions come to its registry from the areas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, current_app
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.engine import Bounds, react
from soconnective.automation.registry import trigger_types
from soconnective.events import DomainEvent, namespace, react_with


def _on_event(_sender: Any, *, event: DomainEvent, react: Callable[[], None]) -> None:
    """The one receiver: asks that rules look at this change before it is committed."""
    react()


def _react(session: OrmSession, events: list[DomainEvent]) -> None:
    config = current_app.config
    bounds = Bounds(
        config["SOCONNECTIVE_RULE_DEPTH"],
        config["SOCONNECTIVE_RULE_RUNS"],
        config["SOCONNECTIVE_RULE_ACTIONS"],
        config["SOCONNECTIVE_RULE_SECONDS"],
    )
    react(session, events, bounds)


def init_app(app: Flask) -> None:
    """Register the engine with the events; `listen()` follows once every area has offered its triggers."""
    react_with(_react)


def listen() -> None:
    """Connect the receiver to the signal of each event that some trigger is about."""
    for name in trigger_types():
        namespace.signal(name).connect(_on_event, weak=False)

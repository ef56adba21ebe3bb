"""When this, if that, then do: rules as data, the engine that runs them, and their pages.

Owns the tables `automations`, `automation_steps`, `automation_versions` and `automation_runs`.
Names no area: triggers and actions come to its registry from the areas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, current_app, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation import (
    assign_owner,
    backtest,
    by_hand,
    change_field,
    engine,
    flow,
    going_on,
    operations,
    queries,
    run_views,
    sweep_views,
    trial_views,
    views,
    wait,
)
from soconnective.automation.models import Automation
from soconnective.automation.registry import trigger_types
from soconnective.core.db import db
from soconnective.core.registry import Holding, NavItem, Panel, Search, SearchHit, registry
from soconnective.events import DomainEvent, Reaction, namespace, react_with

__all__ = [
    "assign_owner",
    "backtest",
    "change_field",
    "flow",
    "going_on",
    "init_app",
    "listen",
    "run_views",
    "sweep_views",
    "trial_views",
    "wait",
]


def _on_event(_sender: Any, *, event: DomainEvent, react: Callable[[], None]) -> None:
    """The one receiver: asks that rules look at this change before it is committed."""
    react()


def _react(session: OrmSession, events: list[DomainEvent]) -> Reaction:
    config = current_app.config
    bounds = engine.Bounds(
        config["SOCONNECTIVE_RULE_DEPTH"],
        config["SOCONNECTIVE_RULE_RUNS"],
        config["SOCONNECTIVE_RULE_ACTIONS"],
        config["SOCONNECTIVE_RULE_SECONDS"],
    )
    return engine.react(session, events, bounds)


def init_app(app: Flask) -> None:
    """Register the pages and the engine; `listen()` follows once every area has offered its triggers."""
    react_with(_react)
    app.register_blueprint(views.bp)
    registry.add(
        NavItem(
            "automations",
            "Automations",
            "automations.index",
            "bolt",
            60,
            "automations.view",
            badge=queries.unseen_failures,
        ),
        Panel("home-runs", "home", 80, "automations/_home.html", _recent),
        Holding("rules", "rules that name them", operations.rules_with_person, operations.replace_person),
        Search("automations", "Automations", 60, _find),
    )


def listen() -> None:
    """Connect the receiver to the signal of each event that some trigger is about."""
    by_hand.offer_by_hand()
    for name in trigger_types():
        namespace.signal(name).connect(_on_event, weak=False)


def _recent(_record: Any) -> dict[str, Any]:
    runs = queries.recent_runs(6)
    return {"runs": runs, "names": queries.names_of(runs)}


def _find(words: str, limit: int) -> list[SearchHit]:
    """By name: a workspace has few rules, so they are read and compared."""
    parts = words.casefold().split()
    if not parts:
        return []
    rules = db.session.scalars(
        select(Automation).where(Automation.deleted_at.is_(None)).order_by(Automation.position).limit(500)
    )
    found = [rule for rule in rules if all(part in rule.name.casefold() for part in parts)]
    return [
        SearchHit(r.name, r.state, url_for("automations.show", automation_id=r.id), "bolt")
        for r in found[:limit]
    ]

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
    apply,
    assign_owner,
    backtest,
    by_hand,
    by_hand_views,
    catching_up,
    change_field,
    draft_views,
    due,
    due_fire,
    due_plan,
    due_schedule,
    engine,
    flow,
    going_on,
    health,
    hours_views,
    queries,
    recipe_views,
    references,
    retention,
    run_action_views,
    run_views,
    start_rule,
    sweep_views,
    text_views,
    trial_views,
    undo_application,
    views,
    wait,
    waiting_views,
)
from soconnective.automation.breaker import Limits
from soconnective.automation.models import Automation
from soconnective.automation.registry import trigger_types
from soconnective.automation.waiting_words import waiting_words
from soconnective.core.db import db
from soconnective.core.registry import Holding, NavItem, Panel, Search, SearchHit, registry
from soconnective.events import DomainEvent, Reaction, follow_with, namespace, react_with

__all__ = [
    "assign_owner",
    "backtest",
    "by_hand_views",
    "catching_up",
    "change_field",
    "draft_views",
    "due_fire",
    "due_plan",
    "due_schedule",
    "flow",
    "going_on",
    "health",
    "init_app",
    "listen",
    "recipe_views",
    "retention",
    "run_action_views",
    "run_views",
    "start_rule",
    "sweep_views",
    "text_views",
    "trial_views",
    "undo_application",
    "wait",
    "waiting_views",
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
    return engine.react(session, events, bounds, limits())


def limits() -> Limits:
    """The breaker's limits as the settings say."""
    config = current_app.config
    return Limits(
        config["SOCONNECTIVE_BREAKER_PER_MINUTE"],
        config["SOCONNECTIVE_BREAKER_PER_RECORD"],
        config["SOCONNECTIVE_BREAKER_FAILURES"],
    )


def init_app(app: Flask) -> None:
    """Register the pages and the engine; `listen()` follows once every area has offered its triggers."""
    react_with(_react)
    follow_with(due.follow)
    app.register_blueprint(views.bp)
    app.register_blueprint(hours_views.bp)
    app.jinja_env.globals["hand_rules"] = by_hand.hand_rules
    app.jinja_env.globals["run_subjects"] = queries.subjects_of
    app.jinja_env.globals["waiting_words"] = waiting_words
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
        hours_views.SECTION,
        Panel("home-runs", "home", 80, "automations/_home.html", _recent),
        Holding("rules", "rules that name them", references.rules_with_person, references.replace_person),
        Search("automations", "Automations", 60, _find),
    )


def listen() -> None:
    """Connect the receiver to the signal of each event that some trigger is about."""
    apply.offer_by_hand()
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

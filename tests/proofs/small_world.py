"""A small workspace with rules of two actions, for faults around the rules and for the machine that lives at random.

What is stored is read over another connection, by rule. Every action is struck in `test_fault_matrix.py`.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, text, update

from soconnective.automation.models import Automation
from soconnective.core.access import current_actor
from soconnective.core.db import db, write_transaction
from soconnective.tasks import automation as tasks_automation
from soconnective.timeline import automation as timeline_automation
from tests.factories.records import make_deal, make_rule, move
from tests.proofs.faults import faults

NAME = "1 Fault matrix"
ACTIONS = {"create_task": (tasks_automation, "create_task"), "log_note": (timeline_automation, "write_note")}


@dataclass(frozen=True)
class Case:
    """One way to go wrong."""

    action: str
    place: str
    fault: str
    swallowed: bool
    on_failure: str
    between: bool
    name: str = ""

    @property
    def victim(self) -> str:
        return self.name or f"Victim {self.action} {self.on_failure}"


class Injector:
    """Puts the fault of the current case into the victim's middle step."""

    def __init__(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.faults, self.case = faults(kind), None  # type: ignore[var-annotated]
        self.fired = 0
        for action, (module, operation) in ACTIONS.items():
            action_class = next(c for c in vars(module).values() if getattr(c, "type_id", "") == action)
            monkeypatch.setattr(
                action_class, "run", self._around(action, "before", "after", action_class.run)
            )
            monkeypatch.setattr(
                module, operation, self._around(action, "", "middle", getattr(module, operation))
            )

    def _around(self, action: str, before: str, after: str, real: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            mine = self._is_victim(action, args, kwargs)
            if mine and self.case.place == before:
                self._strike()
            result = real(*args, **kwargs)
            if mine and self.case.place == after:
                self._strike()
            return result

        return run

    def _is_victim(self, action: str, args: Any, kwargs: Any) -> bool:
        case = self.case
        if case is None or case.action != action or current_actor().name != case.victim:
            return False
        settings = getattr(args[0], "settings", None)
        said = getattr(settings, "title", None) or getattr(settings, "body", None) or args[0]
        return str(said).startswith("victim step")

    def _strike(self) -> None:
        self.fired += 1
        if self.case.swallowed:
            with suppress(Exception):
                self.faults[self.case.fault]()
        else:
            self.faults[self.case.fault]()


class World:
    """A workspace with the rules, and a look at what is stored that does not trust our session."""

    def __init__(self, app: Flask, team: Any) -> None:
        self.team = team
        url = app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url
        self.reader = create_engine(url, poolclass=NullPool)
        self.rules = {"First": self._rule("First", "undo", [self._step("log_note", "of the first")])}
        for action, on_failure in product(ACTIONS, ("undo", "keep")):
            name = f"Victim {action} {on_failure}"
            steps = [
                self._step("log_note", "head"),
                self._step(action, "victim step"),
                self._step("create_task", "tail"),
            ]
            self.rules[name] = self._rule(name, on_failure, steps)
        self.rules["Last"] = self._rule("Last", "undo", [self._step("create_task", "of the last")])

    @staticmethod
    def _step(action: str, words: str) -> tuple[str, dict[str, Any]]:
        if action == "create_task":
            return action, {"title": words, "due_in_days": 1}
        return action, {"body": words}

    @staticmethod
    def _rule(name: str, on_failure: str, steps: Any) -> int:
        return make_rule(name=name, on_failure=on_failure, steps=steps, is_active=False).id

    def switch_on(self, names: list[str]) -> None:
        with write_transaction():
            for is_on, chosen in ((False, self.rules.keys() - set(names)), (True, names)):
                ids = [self.rules[name] for name in chosen]
                db.session.execute(update(Automation).where(Automation.id.in_(ids)).values(is_active=is_on))

    def stored(self, deal_id: int) -> dict[str, Any]:
        """What the database holds of this deal, by rule."""
        with self.reader.connect() as connection:

            def rows(query: str) -> list[Any]:
                return list(connection.execute(text(query), {"deal": deal_id}).all())

            return {
                "status": rows("SELECT status FROM deals WHERE id = :deal")[0][0],
                "events": Counter(row[0] for row in rows("SELECT name FROM events WHERE record_type = 'deal' AND record_id = :deal")),
                "made": Counter(
                    tuple(row)
                    for table, words in (("tasks", "title"), ("notes", "body"))
                    for row in rows(f"SELECT created_by_name, '{table}', {words} FROM {table} WHERE deal_id = :deal")
                ),
                "told": Counter(
                    row[0] for row in rows(
                        "SELECT e.actor_name FROM events e JOIN event_links l ON l.event_id = e.id AND l.tenant_id = e.tenant_id "
                        "WHERE l.record_type = 'deal' AND l.record_id = :deal AND e.name IN ('task.created', 'note.logged')"
                    )
                ),
                "runs": [
                    tuple(row) for row in rows(
                        "SELECT a.name, r.outcome, r.detail FROM automation_runs r JOIN automations a ON a.id = r.automation_id "
                        "WHERE r.record_type = 'deal' AND r.record_id = :deal"
                    )
                ],
            }  # fmt: skip


STEPS = {"First": ["of the first"], "Last": ["of the last"]}


def wrong(case: Case, raised: Exception | None, found: dict[str, Any]) -> list[str]:
    """What of `found` breaks the promise."""
    names = ["First", case.victim, "Last"] if case.between else [case.victim]
    if raised is not None:
        left = (
            found["status"] != "open"
            or found["made"]
            or found["runs"]
            or found["told"]
            or found["events"]["deal.won"]
        )
        return [f"the request failed, and yet: {found}"] if left else []
    if found["status"] != "won" or found["events"]["deal.won"] != 1:
        return [f"said saved, but it is not: {found['status']}, {found['events']}"]
    outcomes = Counter(run[0] for run in found["runs"])
    problems = [f"{name} has {outcomes[name]} runs" for name in names if outcomes[name] != 1]
    for name, outcome, detail in found["runs"]:
        made = [key[2] for key in found["made"].elements() if key[0] == name]
        steps = STEPS.get(name, ["head", "victim step", "tail"])
        fits = {
            "succeeded": sorted(made) == sorted(steps),
            "failed": not made,
            "partly_succeeded": case.on_failure == "keep" and 0 < len(made) < len(steps),
        }[outcome]
        if not fits or not detail:
            problems.append(f"{name}: {outcome} ({detail}), and there are {made}")
        if found["told"][name] != len(made):
            problems.append(f"{name}: {len(made)} rows, {found['told'][name]} events")
        if name in ("First", "Last") and outcome != "succeeded":
            problems.append(f"{name} was taken along: {detail}")
        if name == case.victim and not case.swallowed and outcome == "succeeded":
            problems.append("the victim succeeded")
    return problems


def attempt(world: World, case: Case, planted: AbstractContextManager[Any] | None = None) -> list[str]:
    """Win a deal under `case`, inside `planted`; what went wrong."""
    world.switch_on(["First", case.victim, "Last"] if case.between else [case.victim])
    deal = make_deal(world.team.stages["Lead"])
    deal_id, raised = deal.id, None
    try:
        with planted or nullcontext():
            move(deal, world.team.stages["Won"])
    except Exception as error:
        raised = error
        with suppress(Exception):  # a connection that is gone; the session lets it go below
            db.session.rollback()
    db.session.remove()
    return [f"{case}: {problem}" for problem in wrong(case, raised, world.stored(deal_id))]

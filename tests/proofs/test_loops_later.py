"""Proof 4, loops that go by way of another rule or of time: they end, too, and the run that stopped says why.

Three rules that only others start, each with one or two of: start the first, the second, the third, change the deal.
And rules that wait before they change what another one (or they themselves) wait for: each goes on in a transaction of
its own, so that only the depth, which is kept over the wait, and the breaker can end them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import permutations, product
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text, update

from soconnective.automation import engine, start_rule
from soconnective.automation.definition import build
from soconnective.automation.models import Automation
from soconnective.automation.operations import update_automation
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.deals.models import Deal
from soconnective.deals.operations import update_deal
from soconnective.jobs import queue, worker
from tests.factories.records import make_deal, make_rule
from tests.proofs.ledger import Ledger

NAME = "4b Loops over rules that start rules, and over waits"
BOUNDS = {"DEPTH": 8, "RUNS": 40, "ACTIONS": 100}
NOTE = ("log_note", {"body": "x"})
CHANGE = ("change_field", {"target": "deal", "field": "title", "value": "{{ deal.title }}+"})
MINUTE = ("wait", {"mode": "time", "amount": 1, "unit": "minutes"})
NAMES = ("A", "B", "C")
SINGLES = [(one,) for one in (*NAMES, "change")]
LISTS = SINGLES + list(permutations((*NAMES, "change"), 2))
GRAPHS = list(product(LISTS, repeat=3))
LATER = [
    (trigger, steps)
    for trigger in ("deal.updated", "deal.stage_changed")
    for steps in (
        ("wait", "change"),
        ("wait", "move"),
        ("change", "wait", "move"),
        ("wait", "wait", "change"),
    )
]
WAITING = [(one,) for one in LATER] + list(permutations(LATER, 2))


class Maze:
    """The deal, the rules, and the events and runs of one change."""

    def __init__(self, app: Flask, team: Any) -> None:
        app.config.update({f"SOCONNECTIVE_RULE_{name}": value for name, value in BOUNDS.items()})
        self.app, self.team, self.ledger = app, team, Ledger(app)
        self.deal = make_deal(team.stages["Lead"], "D").id
        self.ids = {name: make_rule("deal.rule_started", [NOTE], name).id for name in NAMES}
        self.start = make_rule("deal.updated", self.steps(("A", "B")), "Start").id
        db.session.remove()
        self.base = self.ledger.rows()
        self.reasons: Counter[str] = Counter()  # why runs were stopped, in all that was tried

    def steps(self, words: tuple[str, ...]) -> list[Any]:
        goal = self.team.stages
        known = {"change": CHANGE, "wait": MINUTE, "move": ("move_stage", {"stage_id": goal["Proposal"]})}
        return [("start_rule", {"rule_id": self.ids[w]}) if w in NAMES else known[w] for w in words]

    def set_up(self, graph: tuple[tuple[str, ...], ...]) -> None:
        """What is no rule's own start, since that is refused when it is saved or fails when it runs."""
        with write_transaction():
            for name, words in zip(NAMES, graph, strict=True):
                rule = db.session.get_one(Automation, self.ids[name])
                update_automation(rule, build(name, "deal.rule_started", {}, self.steps(words)))
        db.session.remove()

    def change(self) -> None:
        with write_transaction():
            update_deal(db.session.get_one(Deal, self.deal), source="changed")
        db.session.remove()

    def read(self) -> tuple[list[Any], list[Any]]:
        with self.ledger.engine.connect() as connection:
            runs = connection.execute(
                text(
                    "SELECT id, automation_id, event_id, outcome, detail, record_id FROM automation_runs ORDER BY id"
                )
            ).all()
            events = connection.execute(text("SELECT id, name, depth, root_id FROM events ORDER BY id")).all()
        return list(runs), list(events)

    def wrong(self) -> list[str]:
        runs, events = self.read()
        problems = [
            f"{run.outcome}: {run.detail!r}"
            for run in runs
            if (run.outcome == "skipped" and not run.detail.startswith(("stopped: ", "paused: ")))
            or run.outcome not in ("succeeded", "skipped", "failed")
            or (run.outcome == "failed" and "A rule cannot start itself" not in run.detail)
        ]
        problems += [
            f"{event.name} is {event.depth} deep" for event in events if event.depth > BOUNDS["DEPTH"]
        ]
        self.reasons.update(run.detail for run in runs if run.outcome == "skipped")
        problems += [
            f"{event.name} {event.id} stands below nothing"
            for event in events
            if event.name == "deal.rule_started" and not event.depth
        ]
        done = [run for run in runs if run.outcome == "succeeded"]
        if len(done) > BOUNDS["RUNS"]:
            problems.append(f"{len(done)} runs")
        if not any(event.name == "deal.updated" and event.depth == 0 for event in events):
            problems.append("the save is not there")
        told = Counter((run.event_id, run.automation_id) for run in runs)
        problems += [
            f"the start of a rule at event {event.id} has no run"
            for event in events
            if event.name == "deal.rule_started" and not any(key[0] == event.id for key in told)
        ]
        return problems


@pytest.fixture
def maze(app: Flask, inside: Any) -> Iterator[Maze]:
    made = Maze(app, inside)
    yield made
    made.ledger.close()


def started(maze: Maze, graph: tuple[tuple[str, ...], ...]) -> list[str]:
    maze.set_up(graph)
    maze.change()
    problems = maze.wrong()
    runs, _events = maze.read()
    twice = Counter(run.automation_id for run in runs if run.outcome == "succeeded")
    problems += [f"rule {rule} ran {times} times" for rule, times in twice.items() if times > 1]
    maze.ledger.restore(maze.base)
    return [f"{graph}: {problem}" for problem in problems]


@pytest.mark.proof(NAME)
def test_rules_that_start_rules_end_and_say_why(maze: Maze, proof: Any) -> None:
    assert len(GRAPHS) >= 4_000
    number, problems = proof.scale(80, len(GRAPHS)), []
    for place in range(number):
        problems += started(maze, GRAPHS[int(place * len(GRAPHS) / number)])
        proof.cases += 1
    proof.found = len(problems)
    assert not problems, "\n".join(problems[:20])


def waited(maze: Maze, graph: tuple[Any, ...], most: int = 40) -> list[str]:
    """Rules of `graph` alone; time goes on until nothing waits any more."""
    with write_transaction():
        db.session.execute(update(Automation).values(is_active=False))
    for number, (trigger, words) in enumerate(graph):
        make_rule(trigger, maze.steps(words), f"W{number}")
    maze.change()
    now, rounds, problems = clock.now(), 0, []
    while rounds < most:
        now += timedelta(minutes=2)
        with clock.at(now):
            claims = queue.claim("a worker", 50)
            db.session.remove()
            states = [worker.perform(claim) for claim in claims]
            db.session.remove()
        if not claims:
            break
        problems += [f"a job is {state}" for state in states if state != "done"]
        rounds += 1
    if rounds == most:
        problems.append(f"it goes on after {most} waits")
    problems += maze.wrong()
    maze.ledger.restore(maze.base)
    return [f"{graph}: {problem}" for problem in problems]


@pytest.mark.proof(NAME)
def test_rules_that_wait_and_change_what_is_waited_for_end_and_say_why(maze: Maze, proof: Any) -> None:
    number, problems = proof.scale(16, len(WAITING)), []
    for place in range(number):
        problems += waited(maze, WAITING[int(place * len(WAITING) / number)])
        proof.cases += 1
    proof.found = len(problems)
    assert not problems, "\n".join(problems[:20])
    assert any("deep" in reason for reason in maze.reasons), maze.reasons


@pytest.mark.proof(NAME)
def test_a_rule_that_runs_away_is_paused_and_the_rest_says_so(app: Flask, maze: Maze, proof: Any) -> None:
    """Each change is a root of its own: no bound of a chain stops it, the breaker does."""
    app.config.update({"SOCONNECTIVE_BREAKER_PER_MINUTE": 5, "SOCONNECTIVE_BREAKER_PER_RECORD": 0})
    maze.set_up((("B",), ("change",), ("change",)))
    for number in range(9):
        with write_transaction():
            update_deal(db.session.get_one(Deal, maze.deal), source=f"no. {number}")
        db.session.remove()
        proof.cases += 1
    runs, _events = maze.read()
    ran = [run for run in runs if run.automation_id == maze.start and run.outcome == "succeeded"]
    with maze.ledger.engine.connect() as connection:
        asked = text("SELECT is_active, paused_why FROM automations WHERE id = :id")
        rule = connection.execute(asked, {"id": maze.start}).one()
    assert 5 <= len(ran) <= 6 and not rule.is_active and "times within a minute" in rule.paused_why
    assert maze.wrong() == []


@pytest.mark.control(NAME)
@pytest.mark.parametrize("defect", ["no bound", "the depth is forgotten"])
def test_an_engine_that_forgets_is_found(maze: Maze, monkeypatch: pytest.MonkeyPatch, defect: str) -> None:
    if defect == "no bound":
        monkeypatch.setattr(
            engine.Chain, "stopped", lambda chain, *_more: "enough" if chain.runs > 60 else None
        )
        assert started(maze, (("B",), ("C",), ("A",)))
    else:  # what is started begins a chain of its own
        monkeypatch.setattr(start_rule, "below", lambda started, _event: started)
        assert started(maze, (("B",), ("C",), ("A",)))

"""Proof 4, loops end: every graph of up to three rules over two kinds of record stops within the bounds, and says so.

A rule is one of four triggers with one or two of four actions: they change the deal, move it, turn the task
over, and make a new task that is done at once (which could go on for ever, since the record is always new).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, permutations, product
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, text, update

from soconnective.automation import engine
from soconnective.automation.contracts import Action, RunContext, StepResult
from soconnective.automation.models import Automation
from soconnective.automation.registry import _actions, register_action
from soconnective.core.db import db, write_transaction
from soconnective.deals.models import Deal, Stage
from soconnective.deals.operations import move_deal, update_deal
from soconnective.tasks.models import Task
from soconnective.tasks.operations import complete_task, create_task, reopen_task
from tests.factories.records import make_deal, make_rule, move

NAME = "4 Loops end"
BOUNDS = {"DEPTH": 8, "RUNS": 40, "ACTIONS": 100}
HERE: dict[str, int] = {}  # the deal, the task and the stages of the current test


class ChangeDeal(Action):
    type_id, label, group = "change_deal", "Change the deal", "Test"

    def run(self, context: RunContext) -> StepResult:
        deal = db.session.get_one(Deal, HERE["deal"])
        update_deal(deal, title=f"{deal.title[:20]}{len(deal.title) % 10}")
        return StepResult("changed")


class MoveDeal(Action):
    type_id, label, group = "move_deal", "Move the deal", "Test"

    def run(self, context: RunContext) -> StepResult:
        deal = db.session.get_one(Deal, HERE["deal"])
        goal = HERE["Proposal"] if deal.stage_id == HERE["Lead"] else HERE["Lead"]
        move_deal(deal, db.session.get_one(Stage, goal))
        return StepResult("moved")


class TurnTask(Action):
    type_id, label, group = "turn_task", "Turn the task over", "Test"

    def run(self, context: RunContext) -> StepResult:
        task = db.session.get_one(Task, HERE["task"])
        complete_task(task) if task.is_open else reopen_task(task)
        return StepResult("turned")


class NewDone(Action):
    type_id, label, group = "new_done", "Make a done task", "Test"

    def run(self, context: RunContext) -> StepResult:
        complete_task(create_task("again"))
        return StepResult("made")


ACTIONS = (ChangeDeal, MoveDeal, TurnTask, NewDone)
TRIGGERS = ("deal.updated", "deal.stage_changed", "task.completed", "task.reopened")
LISTS = [(a,) for a in ACTIONS] + list(permutations(ACTIONS, 2))
RULES = [(trigger, [a.type_id for a in actions]) for trigger, actions in product(TRIGGERS, LISTS)]
GRAPHS = [graph for size in (1, 2, 3) for graph in combinations(range(len(RULES)), size)]


class Maze:
    """The rules, of which a graph switches on a few, and a look at what came of one change."""

    def __init__(self, app: Flask, team: Any) -> None:
        self.app = app
        self.reader = create_engine(app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool)
        app.config.update({f"SOCONNECTIVE_RULE_{name}": value for name, value in BOUNDS.items()})
        self.rules = [
            make_rule(t, [(a, {}) for a in actions], name=f"R{n}", is_active=False).id
            for n, (t, actions) in enumerate(RULES)
        ]
        HERE.update(team.stages)
        HERE["deal"] = make_deal(team.stages["Lead"]).id
        with write_transaction():
            task = create_task("The task")
            db.session.flush()
            HERE["task"] = task.id
        db.session.remove()

    def start(self, trigger: str) -> None:
        """One change by a person that sends `trigger`."""
        with write_transaction():
            deal, task = db.session.get_one(Deal, HERE["deal"]), db.session.get_one(Task, HERE["task"])
            if trigger == "deal.updated":
                update_deal(deal, source=f"{int(deal.source or 0) + 1}")
            elif trigger == "deal.stage_changed":
                goal = HERE["Proposal"] if deal.stage_id == HERE["Lead"] else HERE["Lead"]
                move_deal(deal, db.session.get_one(Stage, goal))
            else:
                complete_task(task) if task.is_open else reopen_task(task)
        db.session.remove()

    def run(self, graph: tuple[int, ...], trigger: str) -> list[str]:
        """Switch on the rules of `graph`, make the change; what breaks the promise."""
        ids = [self.rules[place] for place in graph]
        with write_transaction():
            db.session.execute(update(Automation).where(Automation.is_active).values(is_active=False))
            db.session.execute(update(Automation).where(Automation.id.in_(ids)).values(is_active=True))
        with self.reader.connect() as connection:
            last = connection.execute(text("SELECT max(id) FROM events")).scalar() or 0
        self.start(trigger)
        return [f"{[RULES[place] for place in graph]} from {trigger}: {p}" for p in self.wrong(graph, last)]

    def wrong(self, graph: tuple[int, ...], last: int) -> list[str]:
        with self.reader.connect() as connection:
            events = connection.execute(
                text("SELECT id, name, depth, record_type, record_id, root_id FROM events WHERE id > :last"),
                {"last": last},
            ).all()
            query = "SELECT automation_id, event_id, outcome, detail, record_type, record_id FROM automation_runs WHERE event_id > :last"
            runs = connection.execute(text(query), {"last": last}).all()
        problems = [
            f"{run.outcome}: {run.detail}" for run in runs if run.outcome not in ("succeeded", "skipped")
        ]
        if not any(event.depth == 0 for event in events):
            problems.append("the save is not there")
        done = [run for run in runs if run.outcome == "succeeded"]
        steps = {self.rules[place]: len(RULES[place][1]) for place in graph}
        if max(event.depth for event in events) > BOUNDS["DEPTH"]:
            problems.append(f"{max(event.depth for event in events)} deep")
        if len(done) > BOUNDS["RUNS"] or sum(steps[run.automation_id] for run in done) > BOUNDS["ACTIONS"]:
            problems.append(f"{len(done)} runs, {sum(steps[run.automation_id] for run in done)} actions")
        twice = [
            key
            for key, times in Counter((r.automation_id, r.record_type, r.record_id) for r in done).items()
            if times > 1
        ]
        problems += [f"rule {rule} ran twice for {kind} {record}" for rule, kind, record in twice]
        problems += [
            f"stopped without a reason: {run.detail!r}"
            for run in runs
            if run.outcome == "skipped" and not run.detail.startswith("stopped: ")
        ]
        looked = Counter((run.event_id, run.automation_id) for run in runs)
        for event in events:  # nothing happens in silence: each rule of this trigger has a run for it
            for place in graph:
                if RULES[place][0] == event.name and looked[event.id, self.rules[place]] != 1:
                    problems.append(
                        f"{event.name} {event.id}: {looked[event.id, self.rules[place]]} runs of rule {place}"
                    )
        return problems


@pytest.fixture
def maze(app: Flask, inside: Any) -> Iterator[Maze]:
    for piece in ACTIONS:
        register_action(piece)
    made = Maze(app, inside)
    yield made
    made.reader.dispose()
    for piece in ACTIONS:
        _actions.pop(piece.type_id, None)


def starting(number: int, graph: tuple[int, ...]) -> str:
    """A trigger that one of the graph's rules is about, each in its turn."""
    return RULES[graph[number % len(graph)]][0]


@pytest.mark.proof(NAME)
def test_every_graph_of_rules_ends_and_says_why(maze: Maze, proof: Any) -> None:
    assert len(GRAPHS) > 40_000
    number, problems = proof.scale(150, 10_000), []
    stride = len(GRAPHS) / number
    for place in range(number):
        graph = GRAPHS[int(place * stride)]
        problems += maze.run(graph, starting(place, graph))
        proof.cases += 1
    proof.found = len(problems)
    assert not problems, "\n".join(problems[:20])


@pytest.mark.proof(NAME)
def test_a_thousand_rules_at_once_are_bounded_and_each_is_told_of(
    app: Flask, inside: Any, proof: Any
) -> None:
    number = proof.scale(300, 1_000)
    for place in range(number):
        make_rule(steps=[("log_note", {"body": "x"})], name=f"R{place}")
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    with db.engine.connect() as connection:
        rows = connection.execute(text("SELECT outcome, detail FROM automation_runs")).all()
    found = Counter(row.outcome for row in rows)
    bound = app.config["SOCONNECTIVE_RULE_RUNS"]
    proof.cases = number
    assert db.session.get_one(Deal, deal.id).status == "won"
    assert (
        sum(found.values()) == number
        and 0 < found["succeeded"] <= bound
        and found.keys() == {"succeeded", "skipped"}
    )
    assert all(row.detail.startswith("stopped: ") for row in rows if row.outcome == "skipped")


@pytest.mark.control(NAME)
@pytest.mark.parametrize("defect", ["no bound", "in silence"])
def test_an_engine_without_its_bounds_is_found(
    maze: Maze, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    def stopped(chain: Any, _event: Any, _rule: Any) -> str | None:
        return "enough" if chain.runs > 90 else None  # so that this test ends

    if defect == "no bound":
        monkeypatch.setattr(engine.Chain, "stopped", stopped)
    else:
        monkeypatch.setattr(engine.trace, "record", _without_skipped(engine.trace.record))
    done = next(n for n, rule in enumerate(RULES) if rule == ("task.completed", ["new_done"]))
    turned = next(n for n, rule in enumerate(RULES) if rule == ("task.reopened", ["turn_task"]))
    assert maze.run((done,), "task.completed") + maze.run((done, turned), "task.completed")


def _without_skipped(real: Any) -> Any:
    return lambda session, runs: real(session, [run for run in runs if run.outcome != "skipped"])

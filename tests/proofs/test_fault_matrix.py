"""Proof 1: whatever fails inside a rule, the save is whole, or the request fails and nothing is saved.

Every action × {before, in the middle, after} × every fault × raised or swallowed by the action × undo
or keep × alone or between two other rules. What is stored is read over another connection: all rows of all
tables. What a save leaves is compared with what the same save leaves without the victim, without its step, or
without the fault; each was measured in the same workspace.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from soconnective.automation import engine, execution
from soconnective.automation.models import AutomationRun
from soconnective.automation.registry import action_types
from soconnective.core import sqlite
from soconnective.core.db import Session, db
from soconnective.events.pending import pending_of
from tests.factories.records import make_rule
from tests.proofs.faults import SQLITE_TRIGGERS, faults
from tests.proofs.ledger import Ledger, Rows, known_by
from tests.proofs.victims import MINE, VICTIMS, Desk, Hit, Injector, places

NAME = "1 Fault matrix"
TRIGGERS = sorted({victim.trigger for victim in VICTIMS.values()})


@dataclass(frozen=True)
class Case:
    """One way to go wrong."""

    action: str
    place: str
    fault: str
    swallowed: bool
    on_failure: str
    between: bool

    @property
    def trigger(self) -> str:
        return VICTIMS[self.action].trigger

    @property
    def rule(self) -> str:
        return f"Victim {self.action} {self.on_failure}"


def all_cases(kind: str) -> list[Case]:
    struck = [(action, place) for action in VICTIMS for place in places(action)]
    rest = product(faults(kind), (False, True), ("undo", "keep"), (False, True))
    return [Case(*where, *how) for where, how in product(struck, rest)]


def spread(cases: list[Case], number: int) -> list[Case]:
    """About `number` of `cases`, as many of each (action, place), the same each time."""
    if number >= len(cases):
        return cases
    groups: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.action, case.place].append(case)
    drawn = random.Random(7)
    each = max(number // len(groups), 1)
    return [case for group in groups.values() for case in drawn.sample(group, min(each, len(group)))]


@dataclass
class Left:
    """What a save left: the runs of the rule in question, and all that is beside them."""

    runs: list[dict[str, Any]]
    rest: Counter[Any]


class World:
    """A workspace with the rules, which is made again what it was after each case."""

    how = "is_active"  # what is switched on

    def __init__(self, app: Flask, team: Any) -> None:
        self.desk, self.ledger = Desk(team), Ledger(app)
        self.rules: dict[str, int] = {}
        for trigger in TRIGGERS:
            self.rule(f"First {trigger}", trigger, [("log_note", {"body": "of the first"})])
            self.rule(f"Failing {trigger}", trigger, self.desk.failing(trigger))
            for action, on_failure in product(VICTIMS, ("undo", "keep")):
                if VICTIMS[action].trigger == trigger:
                    steps = self.steps_of(action)
                    self.rule(f"Victim {action} {on_failure}", trigger, steps, on_failure)
                    if VICTIMS[action].is_alone:
                        whole = [step[0] for step in steps[1:-1]]  # the first and the last are not struck
                        place = steps.index(MINE) if VICTIMS[action].struck else whole.index(action) + 1
                        steps[place] = (*steps[place], {"off": True})
                        self.rule(f"Spared {action} {on_failure}", trigger, steps, on_failure)
            self.rule(f"Last {trigger}", trigger, [("create_task", {"title": "of the last"})])
        db.session.remove()
        self.base = self.ledger.rows()
        self._measured: dict[tuple[str, str | None, bool], Left] = {}

    def steps_of(self, action: str) -> list[Any]:
        return list(self.desk.steps(action))

    def rule(self, name: str, trigger: str, steps: list[Any], on_failure: str = "undo") -> None:
        self.rules[name] = make_rule(trigger, steps, name, on_failure=on_failure, is_active=False).id

    def save(self, trigger: str, rule: str | None, between: bool, planted: Any = None) -> tuple[Any, Left]:
        """Make the change that `rule` is about, alone or between the two others; then all is as it was."""
        before = self.switched_on([rule or "", *([f"First {trigger}", f"Last {trigger}"] if between else [])])
        raised = None
        try:
            with planted or nullcontext():
                self.desk.save(trigger)
        except Exception as error:
            raised = error
            with suppress(Exception):  # a connection that is gone; the session lets it go below
                db.session.rollback()
        db.session.remove()
        after = self.ledger.rows()
        self.ledger.restore(self.base, after)
        return raised, self.left(rule, before, after)

    def switched_on(self, names: list[str]) -> Rows:
        """Switch rules on, as `how` says, and nothing else; returns the rows as they are then."""
        ids = [self.rules[name] for name in names if name]
        place = self.ledger.columns["automations"].index(self.how)
        on = {
            key: (*row[:place], type(row[place])(True), *row[place + 1 :]) if key[0] in ids else row
            for key, row in self.base["automations"].items()
        }
        rows = {**self.base, "automations": on}
        self.ledger.restore(rows, self.base)
        return rows

    def left(self, rule: str | None, before: Rows, after: Rows) -> Left:
        """What differs, the rule's own name and number aside."""
        if rule is None:
            return Left([], self.ledger.difference(before, after, {}))
        aliases = {("", rule): "the rule", ("automation_id", str(self.rules[rule])): "the rule"}
        rest, runs, name = self.ledger.difference(before, after, aliases), [], AutomationRun.__tablename__
        for key, row in after[name].items():
            run = dict(zip(self.ledger.columns[name], row, strict=True))
            if key not in before[name] and run["automation_id"] == self.rules[rule]:
                runs.append(run)
                rest[name, "new", known_by(run, aliases)] -= 1
        return Left(runs, +rest)

    def usual(self, trigger: str, rule: str | None, between: bool = False) -> Left:
        """What the save leaves with `rule` when nothing goes wrong; without any victim for None."""
        key = (trigger, rule, between)
        if key not in self._measured:
            raised, left = self.save(*key)
            assert raised is None and len(left.runs) == (rule is not None), (key, raised, left)
            self._measured[key] = left
        return self._measured[key]

    def notice(self, trigger: str) -> Counter[Any]:
        """What tells people of a failed rule: all that one which fails in words leaves, beside its run."""
        return self.usual(trigger, f"Failing {trigger}").rest - self.usual(trigger, None).rest

    def wrong(self, case: Case, raised: Exception | None, left: Left) -> list[str]:
        """What of `left` breaks the promise."""
        if raised is not None:
            is_left = left.rest or left.runs
            return [f"the request failed ({raised}), and yet: {left}"] if is_left else []
        if len(left.runs) != 1 or not left.runs[0]["detail"]:
            return [f"the runs of the victim: {left.runs}"]
        (run,) = left.runs
        whole = self.usual(case.trigger, case.rule, case.between)
        outcome, problems = run["outcome"], []
        if outcome == whole.runs[0]["outcome"]:
            wanted = whole.rest
            if not case.swallowed:
                problems.append("the victim succeeded")
        elif outcome == "failed":
            wanted = self.usual(case.trigger, None, case.between).rest + self.notice(case.trigger)
        elif outcome == "partly_succeeded" and case.on_failure == "keep" and VICTIMS[case.action].is_alone:
            spared = f"Spared {case.action} {case.on_failure}"
            wanted = self.usual(case.trigger, spared, case.between).rest + self.notice(case.trigger)
        else:
            return [f"the victim {outcome}: {run['detail']}"]
        if left.rest != wanted:
            too_much, too_little = left.rest - wanted, wanted - left.rest
            problems.append(f"{outcome} ({run['detail']}): too much {too_much}, too little {too_little}")
        return problems

    def attempt(self, case: Case, planted: AbstractContextManager[Any] | None = None) -> list[str]:
        raised, left = self.save(case.trigger, case.rule, case.between, planted)
        return [f"{case}: {problem}" for problem in self.wrong(case, raised, left)]


@pytest.fixture
def world(app: Flask, inside: Any) -> Iterator[World]:
    made = World(app, inside)
    yield made
    made.ledger.close()


class Striker:
    """The injector, set for one case after the other."""

    def __init__(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.faults, self.injector, self.fired = faults(kind), Injector(monkeypatch), 0

    @contextmanager
    def aims(self, case: Case) -> Iterator[Hit]:
        fault = self.faults[case.fault]

        def strike() -> None:
            with suppress(Exception) if case.swallowed else nullcontext():
                fault()

        self.injector.hit = hit = Hit(
            case.rule, VICTIMS[case.action].struck or case.action, case.place, strike
        )
        try:
            yield hit
        finally:
            self.injector.hit = None
            self.fired += hit.times


def strike_all(
    cases: Iterable[Case],
    prepare: Callable[[Case], Any],
    attempt: Callable[[Case], list[str]],
    striker: Striker,
    proof: Any,
) -> None:
    """Each case prepared, struck and attempted; fails with what was wrong, and if a fault did not come to strike."""
    problems: list[str] = []
    for case in cases:
        prepare(case)
        with striker.aims(case) as hit:
            problems += attempt(case)
        if not hit.times:
            problems.append(f"{case}: nothing was struck")
        proof.cases += 1
    proof.faults, proof.found = striker.fired, len(problems)
    assert not problems, f"{len(problems)}:\n" + "\n".join(problems[:30])


def test_every_action_has_its_victim() -> None:
    assert set(VICTIMS) == set(action_types()), "each action needs its line in tests/proofs/victims.py"


@pytest.mark.proof(NAME)
def test_whatever_fails_the_save_is_whole_or_the_request_fails(
    world: World, proof: Any, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strike_all(
        spread(all_cases(database_kind), proof.scale(350, 100_000)),
        lambda case: world.usual(case.trigger, case.rule, case.between),
        world.attempt,
        Striker(database_kind, monkeypatch),
        proof,
    )


@pytest.mark.proof(NAME)
def test_a_trigger_in_the_database_that_raises(world: World, proof: Any, database_kind: str) -> None:
    """Each table that an action writes refuses it, in each of the database's ways."""
    problems, seen = [], set()
    ways = SQLITE_TRIGGERS if database_kind == "sqlite" else ("EXCEPTION",)
    for action, on_failure in product(VICTIMS, ("undo", "keep")):
        if not VICTIMS[action].is_alone or VICTIMS[action].struck:
            continue
        case = Case(action, "in the database", "", False, on_failure, False)
        spared = world.usual(case.trigger, f"Spared {action} {on_failure}").rest
        common = {(table, verb) for table, verb, _what in spared}
        written = {one[:2] for one in world.usual(case.trigger, case.rule).rest - spared if is_own(one)}
        for table, verb in sorted(written):
            asked = refuses(world, table, verb, case.rule)
            if table in ("events", "event_links") or (asked is None and (table, verb) in common):
                continue  # the save itself writes there
            seen.add(table)
            for way in ways if proof.is_long or on_failure == "undo" else ways[:1]:
                refusing = world.ledger.refusing(table, verb, way, asked or "1 = 1")
                problems += world.attempt(replace(case, fault=f"{way} {verb} {table}"), refusing)
                proof.cases += 1
    proof.faults, proof.found = proof.cases, len(problems)
    assert not problems, f"{len(problems)}:\n" + "\n".join(problems[:30])
    assert len(seen) > 10, seen


def is_own(found: Any) -> bool:
    """Whether it is of the rule itself, and not of others that it started."""
    _table, verb, what = found
    said = dict(what) if verb == "new" else {}
    makers = [said[name] for name in ("actor_name", "created_by_name", "automation_id") if name in said]
    return all(maker == "the rule" for maker in makers)


def refuses(world: World, table: str, verb: str, rule: str) -> str | None:
    """What tells a row that the victim's step writes there from those of others; None if nothing does."""
    if table == "deals" and verb == "changed":
        return f"OLD.stage_id = {world.desk.team.stages['Won']}"
    if table == "notifications":
        return "NEW.kind <> 'rule_failed'"
    if "created_by_name" not in world.ledger.columns[table]:
        return None
    words = {"tasks": "title", "notes": "body"}.get(table)
    return f"NEW.created_by_name = '{rule}'" + (f" AND NEW.{words} NOT IN ('head', 'tail')" if words else "")


# Without its guards the engine leaves sessions in a state at which SQLAlchemy itself stumbles when they go.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.control(NAME)
@pytest.mark.parametrize(
    "defect", ["no savepoint", "notes of before are lost", "nobody asks whether it lives"]
)
def test_an_engine_with_a_planted_defect_is_found(
    world: World, database_kind: str, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    fault, swallowed = "python error", False
    cases = [
        Case(action, "after", fault, swallowed, on_failure, between)
        for action in ("create_task", "change_field")
        for on_failure, between in product(("undo", "keep"), (True, False))
    ]
    for case in cases:  # before anything is planted
        world.notice(case.trigger)
        for rule in (None, case.rule, f"Spared {case.action} {case.on_failure}"):
            world.usual(case.trigger, rule, case.between)
    striker = Striker(database_kind, monkeypatch)
    if defect == "notes of before are lost":  # what we had: a failed flush forgot the whole transaction
        event.listen(Session, "after_soft_rollback", _forget_everything)
        fault = "flush error"
    elif defect == "nobody asks whether it lives" and database_kind == "sqlite":
        monkeypatch.setattr(sqlite, "require_transaction", lambda _connection: None)
        monkeypatch.setattr(execution, "is_transaction_alive", lambda _session: True)
        for module in (execution, engine):
            monkeypatch.setattr(module, "require_alive", lambda _session: None)
        fault, swallowed = "or rollback", True
    else:  # PostgreSQL itself refuses to go on, so there it is the savepoint again that is taken away
        monkeypatch.setattr(type(db.session()), "begin_nested", _nothing)
    problems = []
    try:
        for case in cases:
            struck = replace(case, fault=fault, swallowed=swallowed)
            with suppress(Exception), striker.aims(struck):
                problems += world.attempt(struck)
    finally:
        if defect == "notes of before are lost":
            event.remove(Session, "after_soft_rollback", _forget_everything)
    assert problems


def _forget_everything(session: Any, previous: Any) -> None:
    if not previous.nested:
        pending_of(session).notes.clear()


class _nothing:  # noqa: N801  stands in for a savepoint
    is_active = True

    def __init__(self, session: Any) -> None:
        self.session = session

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_error: object) -> None:
        self.session.flush()


def test_the_cases_are_all_there(database_kind: str) -> None:
    cases = all_cases(database_kind)
    assert len(cases) >= 8_000 and len(set(cases)) == len(cases)
    drawn = spread(cases, 500)
    assert {(case.action, case.place) for case in drawn} == {(case.action, case.place) for case in cases}
    assert {case.fault for case in drawn} == set(faults(database_kind))

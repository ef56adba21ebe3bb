"""What a rule costs: the same work with listeners off, with events, with rules; beside the bare driver.

    .venv/bin/python benchmarks/engine.py [--database sqlite|postgresql] [--number 300] [--runs 3] [--only W1]

Each operation is a transaction of its own, with its records loaded inside it; row counts are checked
exactly. A JSON line per case, then a table: median and p95 in milliseconds, the same statements on the
bare driver in the same run (`bare`), and the ratio. SQLite in WAL mode with synchronous=NORMAL;
PostgreSQL local over a socket, fsync and synchronous_commit off, analyzed as a living server is.
Figures hold for one machine and one hour: the ratio is the point.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness import WARM_UP, Databases, median, note_statements, p95, replay, say, table, timed, working_in
from sqlalchemy import event, func, select

from soconnective.accounts import operations as accounts
from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import create_automation
from soconnective.contacts.operations import create_contact
from soconnective.core.db import Session, db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal, Stage
from soconnective.deals.operations import create_deal, move_deal
from soconnective.events import capture
from soconnective.tasks.models import Task
from soconnective.timeline.models import Note
from tests.workspaces import Team

KICKOFF = [
    ("create_task", {"title": "Kick off {{ deal.title }}", "due_in_days": 2}),
    ("log_note", {"body": "{{ deal.title }} is won."}),
]
STATEMENTS = bool(os.environ.get("STATEMENTS"))
COLUMNS = ("case", "median", "p95", "bare", "ratio", "statements", "number")


def asks(*tests: tuple[str, str, Any]) -> dict[str, Any]:
    return {"match": "all", "items": [{"field": f, "operator": o, "value": v} for f, o, v in tests]}


TEN = asks(
    ("title", "contains", "deal"), ("amount", "empty", None), ("status", "is", "won"), ("source", "empty", None),
    ("lost_reason", "empty", None), ("title", "not_contains", "x9"), ("currency", "is", "EUR"),
    ("expected_close_on", "empty", None), ("title", "starts_with", "Deal"), ("actor_kind", "is_not", "automation"),
)  # fmt: skip
FIVE = [
    *(
        part
        for n in range(4)
        for part in (
            ("otherwise_if" if n else "if", {"conditions": asks(("amount", "greater", str(n)))}),
            ("log_note", {"body": f"{n}"}),
        )
    ),
    ("otherwise", {}),
    *KICKOFF,
    ("end_if", {}),
]


def rules(
    number: int, trigger: str = "deal.won", settings: Any = None, steps: Any = None, conditions: Any = None
) -> None:
    with write_transaction():
        for index in range(number):
            definition = build(f"R{index}", trigger, settings or {}, steps or KICKOFF, "undo", conditions)
            create_automation(definition, is_active=True)


def deals(team: Team, number: int) -> list[Any]:
    """Open deals, each with the id of the stage it will move to."""
    with write_transaction():
        made = [
            create_deal(f"Deal {n}", team.stages["Proposal"], owner_id=team.owner.id) for n in range(number)
        ]
        return [(deal.id, team.stages["Won"]) for deal in made]


def win(item: tuple[int, int]) -> None:
    with write_transaction():
        deal = db.session.get_one(Deal, item[0])
        move_deal(deal, db.session.get_one(Stage, item[1]))
    db.session.remove()


def create(number: int) -> None:
    with write_transaction():
        create_contact("Ana", f"Number {number}")
    db.session.remove()


def other_tenants(number: int, each: int) -> None:
    """Tenants with rules of their own."""
    for index in range(number):
        with write_transaction():
            tenant = accounts.create_tenant(f"T{index}")
            tenant_id = tenant.id
        with acting_in(tenant_id):
            rules(each, "deal.won" if index % 2 else "contact.created", None, [("log_note", {"body": "x"})])


@dataclass
class Case:
    name: str
    prepare: Callable[[Team], None]
    expect: dict[Any, int]  # rows that each operation adds
    number: int
    work: Callable[[Any], None] = win
    listens: bool = True


def cases(number: int) -> list[Case]:
    one = {Task: 1, Note: 1, AutomationRun: 1}
    note = [("log_note", {"body": "x"})]

    def beside(count: int, trigger: str, settings: Any = None) -> Callable[[Team], None]:
        def prepare(team: Team) -> None:
            rules(1)
            rules(count, trigger, settings(team) if settings else None, note)

        return prepare

    def crowd(_team: Team) -> None:
        rules(1)
        rules(49, "contact.created", None, note)
        other_tenants(100, 50)

    return [
        Case("W0 stage update, listeners off", lambda team: None, {Task: 0}, number, listens=False),
        Case("W2 events, no rule", lambda team: None, {Task: 0}, number),
        Case("W1 one matching rule", lambda team: rules(1), one, number),
        Case("W1 with 10 conditions and 5 branches", lambda team: rules(1, steps=FIVE, conditions=TEN), one, number),
        Case("W3 beside 1,000 rules on other triggers", beside(1000, "contact.created"), one, number),
        Case("W3 beside 100 that do not match", beside(100, "deal.stage_changed", lambda team: {"from_stage_id": team.stages["Lead"]}),
             {Task: 1, Note: 1, AutomationRun: 101}, number // 3),
        Case("W3 10 matching rules", lambda team: rules(10), {Task: 10, Note: 10, AutomationRun: 10}, number // 3),
        Case("W3 100 matching rules", lambda team: rules(100), {Task: 100, Note: 100, AutomationRun: 100}, max(20, number // 10)),
        Case("W4 contact created, one rule", lambda team: rules(1, "contact.created", None, [("log_note", {"body": "{{ contact.name }}"})]),
             {Note: 1, AutomationRun: 1}, 1000, create),
        Case("W5 W1 beside 100 tenants of 50 rules", crowd,
             one, number),
    ]  # fmt: skip


def measure(databases: Databases, case: Case, runs: int) -> dict[str, Any]:
    """The run in the middle by its median; app and bare driver one after the other in each."""
    found = []
    url = databases.fresh()
    with working_in(url) as team:
        case.prepare(team)
        total = case.number + WARM_UP
        items = list(range(total)) if case.work is create else deals(team, total)
    databases.analyze(url)
    for _ in range(runs):
        mine, bare = databases.copy(url), databases.copy(url)
        with working_in(mine, team):
            if not case.listens:
                event.remove(Session, "after_flush", capture._on_after_flush)
            before = {model: _count(model) for model in case.expect}
            db.session.remove()
            operations = note_statements()
            times = timed(case.work, items, operations)[WARM_UP:]
            recorded = [list(statements) for statements in operations]
            if not case.listens:
                event.listen(Session, "after_flush", capture._on_after_flush)
            for model, each in case.expect.items():
                rows = _count(model) - before[model]
                assert rows == each * len(items), (case.name, model.__name__, rows, each * len(items))
        by_hand = replay(databases.kind, bare, recorded, team.id)[WARM_UP:]
        found.append((median(times), p95(times), median(by_hand), len(recorded[-1])))
        for used in (mine, bare):
            databases.discard(used)
        if STATEMENTS:
            print(
                "\n".join(f"{'*' if many else ' '} {text[:110]!r}" for text, _values, many in operations[-1])
            )
    databases.discard(url)
    found.sort()
    middle = found[len(found) // 2]
    return {
        "case": case.name, "database": databases.kind, "median": middle[0], "p95": middle[1], "bare": middle[2],
        "ratio": middle[0] / middle[2], "statements": middle[3], "number": case.number, "low": found[0][0], "high": found[-1][0],
    }  # fmt: skip


def _count(model: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(model)) or 0


def _side(url: str, team: Team, items: list[Any], ready: Any, answers: Any) -> None:
    with working_in(url, team):
        for item in items[:WARM_UP]:
            win(item)
        ready.wait()
        answers.put(timed(win, items[WARM_UP:], [[]]))


def two_processes(databases: Databases, number: int) -> dict[str, Any]:
    """W6: W1 in two processes at once on one database; SQLite has one writer, so they take turns."""
    url = databases.fresh()
    with working_in(url) as team:
        rules(1)
        items = deals(team, 2 * (number + WARM_UP))
    databases.analyze(url)
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(2), context.Queue()
    half = len(items) // 2
    sides = [
        context.Process(target=_side, args=(url, team, part, ready, answers))
        for part in (items[:half], items[half:])
    ]
    for side in sides:
        side.start()
    times = [value for _ in sides for value in answers.get(timeout=300)]
    for side in sides:
        side.join(30)
    with working_in(url, team):
        assert _count(AutomationRun) == len(items) == _count(Task)
    return {
        "case": "W6 W1 in two processes at once",
        "database": databases.kind,
        "median": median(times),
        "p95": p95(times),
        "number": number,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose name begins with this")
    options = parser.parse_args()
    databases, lines = Databases(options.database), []
    try:
        for case in cases(options.number):
            if case.name.startswith(options.only):
                lines.append(measure(databases, case, options.runs))
                say(lines[-1])
        if "W6".startswith(options.only[:2]):
            lines.append(two_processes(databases, options.number))
            say(lines[-1])
    finally:
        databases.close()
    table(lines, COLUMNS)


if __name__ == "__main__":
    main()

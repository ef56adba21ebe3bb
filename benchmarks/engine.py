"""What a rule costs: the same work with listeners off, with events, with rules; beside the bare driver.

    .venv/bin/python benchmarks/engine.py [--database sqlite|postgresql] [--number 300] [--runs 3]

Prints a JSON line and a table row per case: median, p95 and operations a second of the median run, in
milliseconds per operation, each operation a transaction of its own with its records loaded inside it.
Row counts are checked exactly. Figures hold for one machine; the ratios to the bare driver are the point.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event, func, select, text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from soconnective import create_app
from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import create_automation
from soconnective.contacts.operations import create_contact
from soconnective.core.access import Actor, acting_as
from soconnective.core.db import Session, db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal, Stage
from soconnective.deals.operations import create_deal, move_deal
from soconnective.events import capture
from soconnective.tasks.models import Task
from soconnective.timeline.models import Note
from tests.databases import SECRET_KEY, Run, join
from tests.workspaces import Team, make_team

KICKOFF = [
    ("create_task", {"title": "Kick off {{ deal.title }}", "due_in_days": 2}),
    ("log_note", {"body": "{{ deal.title }} is won."}),
]


class Bench:
    def __init__(self, kind: str, number: int, runs: int) -> None:
        self.run = Run(kind)
        self.databases = join(self.run.place, "bench")
        self.kind, self.number, self.runs = kind, number, runs
        self.team: Team

    @contextmanager
    def fresh(self) -> Any:
        """An app on a new database with one workspace; inside it, as its owner."""
        app = create_app({"DATABASE_URL": self.databases.fresh(), "SECRET_KEY": SECRET_KEY, "TESTING": True})
        app.config["SOCONNECTIVE_RULE_SECONDS"] = 300.0
        self.team = make_team(app, "Bench", "bench.example")
        with app.app_context(), acting_in(self.team.id), acting_as(self.team.owner.actor):
            yield app
            db.session.remove()
            db.engine.dispose()

    def rules(self, number: int, trigger: str = "deal.won", settings: Any = None, steps: Any = None) -> None:
        with write_transaction():
            for index in range(number):
                create_automation(
                    build(f"R{index}", trigger, settings or {}, steps or KICKOFF), is_active=True
                )

    def deals(self, number: int) -> list[int]:
        with write_transaction():
            made = [
                create_deal(f"Deal {n}", self.team.stages["Proposal"], owner_id=self.team.owner.id)
                for n in range(number)
            ]
            return [deal.id for deal in made]

    def win(self, deal_id: int) -> None:
        with write_transaction():
            deal = db.session.get_one(Deal, deal_id)
            move_deal(deal, db.session.get_one(Stage, self.team.stages["Won"]))
        db.session.remove()

    def case(
        self,
        name: str,
        number: int,
        prepare: Callable[[], Any],
        work: Callable[[Any], None],
        expect: dict[Any, int],
    ) -> None:
        medians = []
        for _ in range(self.runs):
            with self.fresh():
                items = prepare()
                before = {model: _count(model) for model in expect}
                db.session.remove()
                for item in items[:5]:
                    work(item)
                times = []
                for item in items[5:]:
                    began = time.perf_counter()
                    work(item)
                    times.append((time.perf_counter() - began) * 1000)
                for model, each in expect.items():
                    found = _count(model) - before[model]
                    assert found == each * len(items), (name, model.__name__, found, each * len(items))
                times.sort()
                medians.append((statistics.median(times), times[int(len(times) * 0.95)]))
        medians.sort()
        median, p95 = medians[len(medians) // 2]
        line = {
            "case": name, "database": self.kind, "number": number, "median_ms": round(median, 2), "p95_ms": round(p95, 2),
            "low": round(medians[0][0], 2), "high": round(medians[-1][0], 2), "per_second": round(1000 / median),
        }  # fmt: skip
        print(json.dumps(line), flush=True)

    def everything(self) -> None:
        n = self.number

        def ready(*setups: Callable[[], None], number: int = n) -> Callable[[], list[int]]:
            def prepare() -> list[int]:
                for setup in setups:
                    setup()
                return self.deals(number + 5)

            return prepare

        self.bare(n)
        listeners_off(True)
        self.case("W0 stage update, listeners off", n, ready(), self.win, {Task: 0})
        listeners_off(False)
        self.case("W2 events, no rule", n, ready(), self.win, {Task: 0})
        one = {Task: 1, Note: 1, AutomationRun: 1}
        self.case("W1 one matching rule", n, ready(lambda: self.rules(1)), self.win, one)
        self.case(
            "W3 beside 1,000 rules on other triggers", n,
            ready(lambda: self.rules(1), lambda: self.rules(1000, "contact.created", None, [("log_note", {"body": "x"})])),
            self.win, one,
        )  # fmt: skip
        self.case(
            "W3 beside 100 that do not match", n // 3,
            ready(lambda: self.rules(1), lambda: self.rules(100, "deal.stage_changed", {"from_stage_id": self.team.stages["Lead"]}), number=n // 3),
            self.win, {Task: 1, AutomationRun: 101},
        )  # fmt: skip
        self.case(
            "W3 10 matching rules",
            n // 3,
            ready(lambda: self.rules(10), number=n // 3),
            self.win,
            {Task: 10, AutomationRun: 10},
        )
        self.case(
            "W3 100 matching rules",
            30,
            ready(lambda: self.rules(100), number=30),
            self.win,
            {Task: 100, AutomationRun: 100},
        )
        self.case(
            "W4 contact created, one rule", 1000,
            lambda: (self.rules(1, "contact.created", None, [("log_note", {"body": "{{ contact.name }}"})]), list(range(1005)))[1],
            self.create, {Note: 1, AutomationRun: 1},
        )  # fmt: skip

    def create(self, number: int) -> None:
        with write_transaction(), acting_as(Actor("person", self.team.owner.id, "Bench")):
            create_contact("Ana", f"Number {number}")
        db.session.remove()

    def bare(self, number: int) -> None:
        """The rows of W1 by hand on the bare driver: how far there is to go."""
        rows: dict[str, list[dict[str, Any]]] = {}
        with self.fresh():
            self.rules(1)
            ids = self.deals(2)
            self.win(ids[0])
            for table in ("events", "event_links", "tasks", "notes", "automation_runs", "search_words"):
                found = db.session.connection().execute(text(f"SELECT * FROM {table} ORDER BY 1 DESC"))
                rows[table] = [dict(row._mapping) for row in found]
            db.session.remove()
        counts = {
            "events": 4,
            "event_links": 6,
            "tasks": 1,
            "notes": 1,
            "automation_runs": 1,
            "search_words": 3,
        }
        medians = []
        for _ in range(self.runs):
            with self.fresh():
                deal_ids = self.deals(number)
                db.session.remove()
                raw = db.engine.raw_connection()
                cursor = raw.cursor()
                mark = "?" if self.kind == "sqlite" else "%s"
                times = []
                for deal_id in deal_ids:
                    began = time.perf_counter()
                    if self.kind == "sqlite":
                        cursor.execute("BEGIN IMMEDIATE")
                    cursor.execute(f"SELECT * FROM deals WHERE id = {mark}", (deal_id,))
                    cursor.fetchone()
                    cursor.execute(
                        f"UPDATE deals SET stage_id = {mark}, status = 'won', version = version + 1 WHERE id = {mark}",
                        (self.team.stages["Won"], deal_id),
                    )
                    for table, each in counts.items():
                        for row in rows[table][:each]:
                            values = {k: v for k, v in row.items() if k not in ("id",)}
                            if table in ("automation_runs", "event_links"):
                                continue  # their keys are unique: counted by the rest
                            values["tenant_id"] = self.team.id
                            for key in ("parent_id", "root_id", "contact_id", "assignee_id", "company_id"):
                                values.pop(key, None)
                            if "deal_id" in values:
                                values["deal_id"] = deal_id
                            if table == "search_words":
                                values["record_id"] = 10_000_000 + deal_id
                            names = ", ".join(values)
                            marks = ", ".join([mark] * len(values))
                            plain = [
                                json.dumps(v) if isinstance(v, dict | list) else v for v in values.values()
                            ]
                            cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", plain)
                    raw.commit()
                    times.append((time.perf_counter() - began) * 1000)
                raw.close()
                medians.append(statistics.median(times))
        medians.sort()
        print(
            json.dumps(
                {
                    "case": "the bare driver, nearly the rows of W1",
                    "database": self.kind,
                    "median_ms": round(medians[len(medians) // 2], 2),
                }
            ),
            flush=True,
        )


def listeners_off(off: bool) -> None:
    change = event.remove if off else event.listen
    change(Session, "after_flush", capture._on_after_flush)


def _count(model: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(model)) or 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    bench = Bench(options.database, options.number, options.runs)
    try:
        bench.everything()
    finally:
        bench.run.close()


if __name__ == "__main__":
    main()

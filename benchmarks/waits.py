"""What waits: how late delays end beside 100,000 others, and what the scheduler's tick reads among 1,000,000 records.

    .venv/bin/python benchmarks/waits.py [--database postgresql] [--waiting 100000] [--records 1000000]

Delays: jobs that fall due evenly over 30 seconds, one real worker; each says how long after its moment it ran, so
that what is late includes the worker's pause between two looks. The tick: 100 rules about a deal's closing date, one
due row for each record; once with nothing due and once with 100 due. The plan of its one question is printed: an index.
"""

from __future__ import annotations

import argparse
import time
from datetime import date, timedelta
from typing import Any

from flask import current_app
from harness import Databases, median, say, table, working_in
from jobs import wait_long
from sqlalchemy import ColumnElement, func, insert, literal, select, text

from soconnective.automation import due_fire
from soconnective.automation.due_models import AutomationDue
from soconnective.core import clock
from soconnective.core.db import db, read_transaction, write_transaction
from soconnective.deals.models import Deal
from soconnective.jobs import JobKind, Worker, enqueue, register_job
from soconnective.jobs.models import Job
from tests.factories.records import make_rule

RULES = 100
COLUMNS = ("case", "database", "number", "median ms", "p99 ms", "longest ms", "plan")
late: list[float] = []


class Delay(JobKind):
    kind, label = "bench_errand", "A delay of the benchmark"

    def run(self, job: Job) -> None:
        moment = clock.datetime.fromisoformat(job.payload["moment"])
        late.append((clock.now() - moment).total_seconds() * 1000)


def measure_delays(
    databases: Databases, waiting: int, number: int = 600, seconds: float = 30.0
) -> dict[str, Any]:
    url = databases.fresh()
    with working_in(url) as team:
        register_job(Delay)
        wait_long(team.id, waiting)
        db.session.remove()
        databases.analyze(url)
        worker = Worker(current_app._get_current_object())  # type: ignore[attr-defined]
        began = clock.now() + timedelta(seconds=3)
        with write_transaction():
            for index in range(number):
                moment = began + timedelta(seconds=seconds * index / number)
                enqueue("bench_errand", {"moment": moment.isoformat()}, at=moment)
        db.session.remove()
        thread = worker.start()
        until = time.monotonic() + seconds * 3
        while len(late) < number and time.monotonic() < until:
            time.sleep(0.1)
        worker.stop()
        thread.join(30)
        assert len(late) == number, f"{len(late)} of {number} ended"
        with read_transaction():
            assert db.session.scalar(select(func.count()).select_from(Job.__table__)) >= waiting + number
    databases.discard(url)
    found = sorted(late)
    return {
        "case": f"delays beside {waiting:,} that wait", "database": databases.kind, "number": number,
        "median ms": round(median(found)), "p99 ms": round(found[int(0.99 * number)]), "longest ms": round(found[-1]),
    }  # fmt: skip


def fill(team: Any, records: int) -> None:
    """`records` deals, each with a due row in a month of one of the 100 rules."""
    rules = [
        make_rule(
            "deal.date_reached", [("log_note", {"body": "x"})], f"Rule {n}",
            settings={"field": "expected_close_on", "at": "09:00"},
        ).id
        for n in range(RULES)
    ]  # fmt: skip
    numbers = select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < records))
    now, n = clock.now(), numbers.c.n
    deals, due = Deal.__table__.c, AutomationDue.__table__.c
    deal: dict[Any, Any] = {
        deals.id: n, deals.tenant_id: team.id, deals.title: "Roll-out", deals.currency: "EUR", deals.status: "open",
        deals.pipeline_id: team.pipeline_id, deals.stage_id: team.stages["Lead"], deals.expected_close_on: date(2027, 3, 1),
        deals.stage_entered_at: now, deals.created_at: now, deals.updated_at: now, deals.version: 1,
        deals.created_by_kind: "system", deals.created_by_name: "",
    }  # fmt: skip
    row: dict[Any, Any] = {
        due.tenant_id: team.id, due.automation_id: rules[0] + n % RULES, due.number: 1, due.record_type: "deal",
        due.record_id: n, due.due_value: "2027-03-01", due.at: now + timedelta(days=30), due.state: "planned",
        due.planned_at: now,
    }  # fmt: skip
    with write_transaction():
        for target, values in ((Deal.__table__, deal), (AutomationDue.__table__, row)):
            told = [v if isinstance(v, ColumnElement) else literal(v, c.type) for c, v in values.items()]
            db.session.connection().execute(
                insert(target).from_select([c.name for c in values], select(*told).select_from(numbers))  # type: ignore[arg-type]
            )


def plan_of(tenant_id: int) -> str:
    """How the database finds what is due."""
    statement = due_fire._due(tenant_id, clock.now()).limit(due_fire.SLICE)
    words = str(statement.compile(db.engine, compile_kwargs={"literal_binds": True}))
    how = "EXPLAIN QUERY PLAN " if db.engine.dialect.name == "sqlite" else "EXPLAIN "
    lines = [str(line[-1]) for line in db.session.connection().exec_driver_sql(how + words)]
    found = next(line.strip() for line in lines if "automation_due" in line)
    assert "ix_automation_due_next" in found, "\n".join(lines)
    return found.split("  (")[0]


def measure_tick(databases: Databases, records: int) -> list[dict[str, Any]]:
    url, lines = databases.fresh(), []
    with working_in(url) as team:
        fill(team, records)
        db.session.remove()
        with write_transaction():
            db.session.execute(text("ANALYZE" if databases.kind == "sqlite" else "SELECT 1"))
        db.session.remove()
        databases.analyze(url)
        plan = plan_of(team.id)
        db.session.remove()
        for is_due in (0, 100):
            spent = []
            for turn in range(7):
                if is_due:
                    with write_transaction():
                        which = AutomationDue.__table__.c.record_id.in_(
                            range(turn * 100 + 1, turn * 100 + 101)
                        )
                        db.session.connection().execute(
                            AutomationDue.__table__.update().where(which).values(at=clock.now())  # type: ignore[attr-defined]
                        )
                db.session.remove()
                began = time.perf_counter()
                taken = due_fire.take_due(clock.now())
                spent.append((time.perf_counter() - began) * 1000)
                assert taken == is_due, f"{taken} taken"
            lines.append({
                "case": f"a tick among {records:,} records, {is_due} due", "database": databases.kind, "number": is_due,
                "median ms": round(median(spent), 1), "longest ms": round(max(spent), 1), "plan": plan,
            })  # fmt: skip
    databases.discard(url)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=1_000_000)
    arguments = parser.parse_args()
    databases = Databases(arguments.database)
    try:
        lines = [measure_delays(databases, arguments.waiting), *measure_tick(databases, arguments.records)]
        for line in lines:
            say(line)
    finally:
        databases.close()
    table(lines, COLUMNS)


if __name__ == "__main__":
    main()

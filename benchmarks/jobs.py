"""The queue: how many jobs a worker does a second, and what a claim costs among many that wait.

    .venv/bin/python benchmarks/jobs.py [--database postgresql] [--number 2000] [--waiting 100000]

Each job writes one note's worth: a company with its event, in the transaction that finishes the job.
"""

from __future__ import annotations

import argparse
import time
from datetime import timedelta

from flask import current_app
from harness import Databases, median, p95, say, table, working_in
from sqlalchemy import insert, text

from soconnective.contacts.operations import create_company
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.jobs import JobKind, Worker, enqueue, queue, register_job
from soconnective.jobs.models import Job


class Errand(JobKind):
    kind, label = "bench_errand", "An errand of the benchmark"

    def run(self, job: Job) -> None:
        create_company(f"Company {job.payload['number']}")


def fill(number: int) -> None:
    with write_transaction():
        for index in range(number):
            enqueue("bench_errand", {"number": index})


def wait_long(tenant_id: int, number: int) -> None:
    """Jobs that are due in a month or later: what delays leave behind."""
    later = clock.now() + timedelta(days=30)
    rows = [
        {
            "tenant_id": tenant_id, "kind": "bench_errand", "key": f"later-{index}", "payload": {}, "state": "ready",
            "next_at": later + timedelta(seconds=index), "attempts": 0, "deaths": 0, "token": 0, "error": "",
            "actor_kind": "system", "actor_name": "", "created_at": clock.now(),
        }
        for index in range(number)
    ]  # fmt: skip
    with write_transaction():
        for start in range(0, number, 5000):
            db.session.connection().execute(insert(Job.__table__), rows[start : start + 5000])


def work(worker: Worker, number: int) -> list[float]:
    """Milliseconds of each turn, until nothing is due."""
    spent, done = [], 0
    while done < number:
        began = time.perf_counter()
        done += worker._work()
        db.session.remove()
        spent.append((time.perf_counter() - began) * 1000)
    return spent


def measure(databases: Databases, kind: str, number: int, waiting: int) -> dict[str, object]:
    url = databases.fresh()
    with working_in(url) as team:
        register_job(Errand)
        tenant_id = team.id
        wait_long(tenant_id, waiting)
        db.session.execute(text("ANALYZE" if kind == "sqlite" else "SELECT 1"))
        fill(number)
        db.session.remove()
        if kind == "postgresql":
            databases.analyze(url)
        worker = Worker(current_app._get_current_object())  # type: ignore[attr-defined]
        began = time.perf_counter()
        work(worker, number)
        seconds = time.perf_counter() - began
        claims = []
        for _ in range(50):
            fill(10)
            db.session.remove()
            began = time.perf_counter()
            found = queue.claim("bench", 10)
            claims.append((time.perf_counter() - began) * 1000)
            queue.give_back(found)
            work(worker, 10)
    databases.discard(url)
    return {
        "case": f"{number} jobs, {waiting:,} waiting", "database": kind, "jobs a second": round(number / seconds),
        "claim of 10, median ms": round(median(claims), 2), "p95": round(p95(claims), 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--waiting", type=int, default=100_000)
    arguments = parser.parse_args()
    databases = Databases(arguments.database)
    lines = []
    try:
        for waiting in (0, arguments.waiting):
            lines.append(measure(databases, arguments.database, arguments.number, waiting))
            say(lines[-1])
    finally:
        databases.close()
    table(lines, ("case", "database", "jobs a second", "claim of 10, median ms", "p95"))


if __name__ == "__main__":
    main()

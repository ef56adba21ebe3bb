"""How long a backtest takes, and how long others wait for it.

    .venv/bin/python benchmarks/backtest.py [--database sqlite|postgresql] [--events 10000]

10,000 deals, then a backtest of their creation: none matching, a tenth, and all, each with the steps of the
kick-off rule; meanwhile another thread saves a company every 50 ms. The promise: 10,000 events under 20 s,
and saves that answer in under 500 ms.
"""

from __future__ import annotations

import argparse
import threading
import time
from typing import Any

from flask import Flask, current_app
from harness import Databases, median, p95, table, working_in

from soconnective.automation import backtest as module
from soconnective.automation.backtest import start_backtest
from soconnective.automation.definition import build
from soconnective.automation.sweep_models import Sweep
from soconnective.contacts.operations import create_company
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.operations import create_deal
from soconnective.jobs import Worker

STEPS = [
    ("create_task", {"title": "Kick off {{ deal.title }}", "due_in_days": 2}),
    ("log_note", {"body": "{{ deal.title }} is here."}),
]
COLUMNS = ("case", "events", "matched", "seconds", "longest slice", "saves", "median", "p95", "longest save")


def life(team: Any, number: int) -> None:
    for start in range(0, number, 500):
        with write_transaction():
            for n in range(start, min(start + 500, number)):
                create_deal(f"Deal {n}", team.stages["Lead"], amount=str(n % 1000))
        db.session.expunge_all()


def save_meanwhile(app: Flask, tenant_id: int, stop: threading.Event, took: list[float]) -> None:
    with app.app_context(), acting_in(tenant_id):
        while not stop.is_set():
            began = time.perf_counter()
            with write_transaction():
                create_company(f"Firm {len(took)}")
            took.append((time.perf_counter() - began) * 1000)
            db.session.remove()
            time.sleep(0.05)


def case(name: str, team: Any, least: int, events: int) -> dict[str, Any]:
    app: Any = current_app._get_current_object()
    tree = {"match": "all", "items": [{"field": "amount", "operator": "at_least", "value": str(least)}]}
    definition = build("Bench", "deal.created", {}, STEPS, conditions=tree)
    with write_transaction():
        sweep_id = start_backtest(definition, None, events=events).id
    db.session.remove()
    slices: list[float] = []
    kept = module._slice

    def timed(*arguments: Any) -> None:
        began = time.perf_counter()
        try:
            kept(*arguments)
        finally:
            slices.append((time.perf_counter() - began) * 1000)

    module._slice = timed
    stop, took = threading.Event(), []  # type: ignore[var-annotated]
    thread = threading.Thread(target=save_meanwhile, args=(app, team.id, stop, took))
    thread.start()
    worker, began = Worker(app, poll=0.01), time.perf_counter()
    try:
        while True:
            worker.turn()
            with acting_in(team.id):
                sweep = db.session.get_one(Sweep, sweep_id)
                state, counts, done = sweep.state, sweep.counts, sweep.done
                db.session.remove()
            if state != "running":
                break
    finally:
        stop.set()
        thread.join()
        module._slice = kept
    seconds = time.perf_counter() - began
    assert (state, done) == ("done", events), (state, done)
    return {
        "case": name, "events": done, "matched": counts.get("succeeded", 0), "seconds": round(seconds, 2),
        "longest slice": round(max(slices), 1), "saves": len(took), "median": round(median(took), 2),
        "p95": round(p95(took), 2), "longest save": round(max(took), 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--events", type=int, default=10_000)
    asked = parser.parse_args()
    databases = Databases(asked.database)
    try:
        url = databases.fresh()
        with working_in(url) as team:
            life(team, asked.events)
            rows = [
                case(name, team, least, asked.events)
                for name, least in (("none", 10_000), ("a tenth", 900), ("all", 0))
            ]
        table(rows, COLUMNS)
    finally:
        databases.close()


if __name__ == "__main__":
    main()

"""A backtest says what the recorded runs say, leaves nothing but its own rows, and nobody waits for it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.automation import backtest
from soconnective.automation.backtest import runs_a_week, start_backtest
from soconnective.automation.definition import build
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.operations import create_automation, definition_of
from soconnective.automation.sweep_models import Sweep, SweepRow
from soconnective.automation.sweeps import cancel_sweep
from soconnective.core import clock
from soconnective.core.conditions import OPERATORS
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.operations import create_deal, delete_deal, update_deal
from soconnective.jobs import Worker
from tests.factories.records import make_deal, move
from tests.proofs.digests import digest_now

TREE = {
    "match": "any",
    "items": [
        {"field": "amount", "operator": "greater", "value": "500"},
        {"match": "all", "items": [
            {"field": "source", "operator": "contains", "value": "fair"},
            {"field": "amount", "operator": "changed"},
            {"field": "expected_close_on", "operator": "next_days", "value": "30"},
        ]},
    ],
}  # fmt: skip
STEPS = [("change_field", {"target": "deal", "field": "title", "value": "{{ deal.title }}!"}),
         ("create_task", {"title": "Call {{ deal.title }}", "due_in_days": 1})]  # fmt: skip
OWN = {"automation_sweeps", "automation_sweep_rows", "jobs", "workers", "ticks"}


def rule_on(trigger: str, conditions: Any = None, steps: Any = STEPS) -> Automation:
    with write_transaction():
        return create_automation(build("Big ones", trigger, {}, steps, conditions=conditions), True)


def begin(rule: Automation, **asked: Any) -> Sweep:
    with write_transaction():
        return start_backtest(definition_of(rule), rule, **asked)


def finish(app: Flask, sweep_id: int, tenant_id: int) -> Sweep:
    """Let a worker work until the sweep has ended."""
    db.session.rollback()
    worker = Worker(app, poll=0.01)
    for _ in range(200):
        with acting_in(tenant_id):
            state = db.session.scalar(select(Sweep.state).where(Sweep.id == sweep_id))
            db.session.rollback()
        if state != "running":
            break
        worker.turn()
    db.session.rollback()
    return db.session.get_one(Sweep, sweep_id, populate_existing=True)


def live_a_life(inside: Any, number: int) -> None:
    """Deals come and change at random, by people."""
    chance = random.Random(20261124)
    deals = []
    for _ in range(number):
        with write_transaction():
            values = {
                "amount": chance.choice([None, "10", "499.99", "500", "500.01", "9000"]),
                "source": chance.choice([None, "Fair", "the fair of May", "Web"]),
                "expected_close_on": clock.now().date() + timedelta(days=chance.randrange(-5, 60)),
            }
            if deals and chance.random() < 0.7:
                update_deal(chance.choice(deals), **dict(chance.sample(sorted(values.items()), 2)))
            else:
                stage = inside.stages[chance.choice(["Lead", "Proposal"])]
                deals.append(create_deal("Deal", stage, **values))


def recorded(rule: Automation) -> dict[int, tuple[str, str]]:
    """What the engine wrote down, by event."""
    runs = db.session.scalars(select(AutomationRun).where(AutomationRun.automation_id == rule.id))
    return {run.event_id: as_verdict(run.outcome, run.detail) for run in runs}


def as_verdict(outcome: str, detail: str) -> tuple[str, str]:
    return (outcome, detail) if outcome in ("not_matched", "skipped") else ("matched", "")


def said(sweep: Sweep) -> dict[int, tuple[str, str]]:
    rows = db.session.scalars(select(SweepRow).where(SweepRow.sweep_id == sweep.id))
    return {row.event_id: as_verdict(row.outcome, row.detail) for row in rows}


def test_it_equals_the_recorded_runs_row_by_row(
    app: Flask, inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtest, "KEPT", 10_000)
    rule = rule_on("deal.updated", TREE)
    live_a_life(inside, 450)
    wanted = recorded(rule)
    assert len(wanted) >= 300 and {v for v, _why in wanted.values()} == {"matched", "not_matched", "skipped"}
    sweep = finish(app, begin(rule, events=10_000).id, inside.id)
    assert (sweep.state, sweep.done, sweep.total) == ("done", len(wanted), len(wanted))
    assert said(sweep) == wanted
    assert sum(sweep.counts.values()) == len(wanted)
    # a wrong operator is found
    greater = OPERATORS["greater"]
    wrong = type(greater)(**{**{f: getattr(greater, f) for f in greater.__dataclass_fields__},
                             "says": lambda a, w, n: a is not None and a >= w[0]})  # fmt: skip
    monkeypatch.setitem(OPERATORS, "greater", wrong)
    other = finish(app, begin(rule, events=10_000).id, inside.id)
    assert said(other) != wanted


def test_nothing_stays_but_its_own_rows(app: Flask, inside: Any) -> None:
    rule = rule_on("deal.created", steps=[*STEPS, ("assign_owner", {"target": "deal"}),
                                          ("wait", {"mode": "time"}), ("log_note", {"body": "x"})])  # fmt: skip
    for n in range(12):
        make_deal(inside.stages["Lead"], f"Deal {n}")
    db.session.rollback()
    before = digest_now(app)
    sweep = finish(app, begin(rule, days=30).id, inside.id)
    assert sweep.counts == {"succeeded": 12}
    after = digest_now(app)
    assert {name for name in after if after[name] != before[name]} <= OWN
    row = db.session.scalars(select(SweepRow)).first()
    assert row is not None and row.title == "Deal 0"
    assert [step["text"] for step in row.trace["steps"]][:2] == ["title set to Deal 0!", "task created"]
    assert "task.created" in row.trace["further"]


def test_a_draft_is_tested_too(app: Flask, inside: Any) -> None:
    for _ in range(3):
        make_deal(inside.stages["Lead"])
    definition = build("Draft", "deal.created", {}, [("assign_owner", {"target": "deal"})])
    with write_transaction():
        sweep_id = start_backtest(definition, None, events=2).id
    sweep = finish(app, sweep_id, inside.id)
    assert (sweep.counts, sweep.done) == ({"succeeded": 2}, 2)
    assert db.session.scalars(select(Automation)).all() == []


def test_counts_are_of_all_and_rows_of_some(app: Flask, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "KEPT", 5)
    monkeypatch.setattr(backtest, "PART", 7)  # several turns
    rule = rule_on("deal.created", TREE)
    for n in range(24):
        make_deal(inside.stages["Lead"], amount=str(n * 50))
    sweep = finish(app, begin(rule, events=1000).id, inside.id)
    assert sweep.counts == {"succeeded": 13, "not_matched": 11} and sweep.done == 24
    kept = Counter(db.session.scalars(select(SweepRow.outcome)))
    assert kept == {"succeeded": 5, "not_matched": 5}


def test_the_last_events_or_days_are_meant(app: Flask, inside: Any) -> None:
    rule = rule_on("deal.created")
    for days in (40, 20, 5, 1):
        with clock.at(clock.now() - timedelta(days=days)):
            make_deal(inside.stages["Lead"])
    found = {}
    for asked in ({"events": 2}, {"days": 30}, {"days": 2}, {"days": 90}):
        sweep = finish(app, begin(rule, **asked).id, inside.id)
        assert sweep.done == sweep.total
        found[str(asked)] = (sweep.done, round(runs_a_week(sweep), 1))
    assert found == {"{'events': 2}": (2, 2.8), "{'days': 30}": (3, 0.7), "{'days': 2}": (1, 3.5),
                     "{'days': 90}": (4, 0.7)}  # fmt: skip
    other = rule_on("company.created", steps=[("log_note", {"body": "x"})])
    with pytest.raises(Refused, match="Nothing of this kind"):
        begin(other, events=10)


def test_together_says_what_alone_says(app: Flask, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [("create_task", {"title": "{{ deal.source }} {{ deal.title }}", "due_in_days": 1}),
             ("log_note", {"body": "{{ deal.source }}"})]  # fmt: skip
    rule = rule_on("deal.created", TREE, steps)
    live_a_life(inside, 90)
    found = []
    for size in (25, 7, 1):
        monkeypatch.setattr(backtest, "TOGETHER", size)
        sweep = finish(app, begin(rule, events=1000).id, inside.id)
        rows = db.session.scalars(
            select(SweepRow).where(SweepRow.sweep_id == sweep.id).order_by(SweepRow.event_id)
        )
        found.append([(row.event_id, row.outcome, row.detail, row.trace) for row in rows])
    assert found[0] == found[1] == found[2]
    assert {outcome for _id, outcome, *_ in found[0]} == {"succeeded", "failed", "not_matched"}


def test_it_waits_for_nobody_and_tries_again(app: Flask, inside: Any, database_kind: str) -> None:
    """Somebody holds the row of a deal for a while (on SQLite the trial waits its turn)."""
    rule = rule_on("deal.created")
    deals = [make_deal(inside.stages["Lead"], f"Deal {n}") for n in range(4)]
    sweep = begin(rule, events=10)
    deal_id, sweep_id = deals[1].id, sweep.id
    db.session.rollback()
    holds = threading.Event()

    def hold() -> None:
        with app.app_context(), acting_in(inside.id), write_transaction():
            update_deal(db.session.get_one(type(deals[0]), deal_id), source="Held")
            db.session.flush()
            holds.set()
            time.sleep(0.7)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(10)
    assert finish(app, sweep_id, inside.id).counts == {"succeeded": 4}
    thread.join(10)
    db.session.expire_all()
    assert db.session.get_one(type(deals[0]), deal_id).source == "Held"


def test_what_is_gone_is_told(app: Flask, inside: Any) -> None:
    rule = rule_on("deal.created")
    deal = make_deal(inside.stages["Lead"])
    with write_transaction():
        delete_deal(deal)
    sweep = finish(app, begin(rule, events=10).id, inside.id)
    assert sweep.counts == {"gone": 1}


def test_it_can_be_cancelled(app: Flask, inside: Any) -> None:
    rule = rule_on("deal.created")
    make_deal(inside.stages["Lead"])
    sweep = begin(rule, events=10)
    with write_transaction():
        cancel_sweep(sweep.id)
    sweep = finish(app, sweep.id, inside.id)
    assert (sweep.state, sweep.done) == ("cancelled", 0)
    db.session.rollback()
    Worker(app, poll=0.01).turn()
    with pytest.raises(Refused, match="has ended"), write_transaction():
        cancel_sweep(sweep.id)


def test_one_that_dies_is_told(app: Flask, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = rule_on("deal.created")
    make_deal(inside.stages["Lead"])
    sweep = begin(rule, events=10)
    with write_transaction():
        backtest.Backtest().gave_up(
            type("J", (), {"payload": {"sweep_id": sweep.id}})(), "the worker was lost"
        )
    assert (sweep.state, sweep.error) == ("failed", "the worker was lost")


def test_saves_during_a_backtest_answer_at_once(
    app: Flask, team: Any, inside: Any, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = rule_on("deal.created")
    with write_transaction():
        for n in range(300):
            create_deal(f"Deal {n}", team.stages["Lead"])
    move(make_deal(team.stages["Lead"]), team.stages["Proposal"])
    sweep = begin(rule, events=10_000)
    sweep_id = sweep.id
    db.session.rollback()
    stop, quiet = threading.Event(), []  # type: ignore[var-annotated]
    for n in range(5):
        began = time.perf_counter()
        owner.post("/dashboard/companies/new", data={"name": f"Before {n}"})
        quiet.append(time.perf_counter() - began)

    def work() -> None:
        worker = Worker(app, poll=0.01)
        while not stop.is_set():
            worker.turn()

    thread = threading.Thread(target=work)
    thread.start()
    took = []
    try:
        while len(took) < 400:
            began = time.perf_counter()
            answer = owner.post("/dashboard/companies/new", data={"name": f"Firm {len(took)}"})
            took.append(time.perf_counter() - began)
            assert answer.status_code == 302
            with app.app_context(), acting_in(team.id):
                state = db.session.scalar(select(Sweep.state).where(Sweep.id == sweep_id))
                db.session.rollback()
            if state != "running":
                break
    finally:
        stop.set()
        thread.join(60)
    assert state == "done" and len(took) >= 2
    took.sort()
    assert took[len(took) * 9 // 10] < 0.5 + 2 * max(quiet), (
        took,
        quiet,
    )  # a busy machine is slow without it, too


def test_slices_are_short(app: Flask, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a transaction of a backtest stays open: the slice, and the trial that has begun."""
    rule = rule_on("deal.created")
    with write_transaction():
        for n in range(300):
            create_deal(f"Deal {n}", inside.stages["Lead"])
    took: list[float] = []
    kept = backtest.discarded_transaction

    class Timed:
        def __enter__(self) -> None:
            self.inner, self.began = kept(), time.perf_counter()
            self.inner.__enter__()

        def __exit__(self, *error: object) -> Any:
            done = self.inner.__exit__(*error)
            took.append(time.perf_counter() - self.began)
            return done

    monkeypatch.setattr(backtest, "discarded_transaction", Timed)
    assert finish(app, begin(rule, events=1000).id, inside.id).counts == {"succeeded": 300}
    took.sort()
    assert len(took) > 1 and took[len(took) // 2] < 0.2, took  # a busy machine may stutter

"""The worker and the scheduler: what they do by themselves, and that it shows when they do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Tick, Worker, enqueue, health, kinds, register_tick, upkeep
from soconnective.jobs import worker as working
from soconnective.jobs.models import Job, TickRow, WorkerRow
from tests.jobs.conftest import MakeCompany
from tests.jobs.test_queue import companies, elsewhere, states


class Bell:
    """A tick that counts, and fails when told to."""

    def __init__(self) -> None:
        self.rang: list[datetime] = []
        self.plant: Any = None

    def ring(self, now: datetime) -> None:
        self.rang.append(now)
        if self.plant is not None:
            self.plant()


@pytest.fixture
def bell() -> Iterator[Bell]:
    kept = dict(kinds._ticks)
    kinds._ticks.clear()
    made = Bell()
    register_tick(Tick("bell", timedelta(seconds=30), made.ring))
    yield made
    kinds._ticks.clear()
    kinds._ticks.update(kept)


def tick(app: Flask, name: str = "me") -> int:
    with app.app_context():
        return working.run_due_ticks(name)


def test_a_tick_comes_at_its_time_and_in_one_worker(app: Flask, bell: Bell) -> None:
    now = clock.now()
    for seconds, worker, expected in ((0, "a", 1), (1, "b", 0), (29, "a", 0), (30, "b", 1), (31, "a", 0), (300, "a", 1), (301, "a", 0)):  # fmt: skip
        with clock.at(now + timedelta(seconds=seconds)):
            assert tick(app, worker) == expected, seconds
    assert bell.rang == [now + timedelta(seconds=seconds) for seconds in (0, 30, 300)]


def test_a_tick_that_fails_is_told_of_and_comes_again(app: Flask, inside: Any, bell: Bell) -> None:
    bell.plant = lambda: 1 / 0
    now = clock.now()
    tick(app)
    assert db.session.get_one(TickRow, "bell").error == "ZeroDivisionError: division by zero"
    (sign,) = [one for one in health.signs(clock.now()) if one.label == "Scheduler"]
    assert not sign.is_good and "division by zero" in sign.text
    db.session.rollback()
    bell.plant = None
    with clock.at(now + timedelta(seconds=40)):
        tick(app)
        db.session.expire_all()
        assert db.session.get_one(TickRow, "bell").error == ""
    db.session.rollback()


def test_two_workers_do_not_ring_together(app: Flask, bell: Bell) -> None:
    gate, failed = threading.Barrier(4), []

    def work() -> None:
        gate.wait()
        try:
            for _ in range(5):
                tick(app)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(bell.rang) == 1 and failed == []


def test_a_tick_that_another_worker_made_since_we_looked_is_its_own(app: Flask, bell: Bell) -> None:
    """Made, and held by it at this moment: on PostgreSQL the row is there, and cannot be had."""
    made = TickRow.__table__

    def other(now: datetime) -> None:
        with write_transaction():
            db.session.add(TickRow(name="new", last_at=now, next_at=now + timedelta(seconds=30)))
        if db.engine.dialect.name == "postgresql":
            hold.enter_context(db.engine.begin()).execute(
                select(made).where(made.c.name == "new").with_for_update()
            )

    bell.plant = lambda: other(clock.now())
    new = Bell()
    register_tick(Tick("new", timedelta(seconds=30), new.ring))
    with ExitStack() as hold:
        assert tick(app) == 1
    assert new.rang == []


def test_ticks_go_on_if_the_clock_is_moved_back(app: Flask, bell: Bell) -> None:
    now = clock.now()
    for days, expected in ((365, 1), (0, 1), (0, 0)):
        with clock.at(now + timedelta(days=days)):
            assert tick(app) == expected, days
    with clock.at(now - timedelta(minutes=4)):  # two workers do not agree about the time
        assert tick(app) == 0


def test_a_worker_shows_itself_if_the_clock_is_moved_back(app: Flask, worker: Worker) -> None:
    now = clock.now()
    for moment in (now + timedelta(days=1), now):
        with clock.at(moment):
            worker.turn()
    with app.app_context():
        assert db.session.get_one(WorkerRow, worker.id).seen_at == now
        db.session.rollback()


def test_the_machinery_is_ready_only_while_a_worker_is_at_work_and_ticks(
    app: Flask, client: Any, worker: Worker, bell: Bell
) -> None:
    def ready() -> Any:
        return client.get("/readyz")

    assert (ready().status_code, ready().get_json()["detail"]) == (503, "no worker is at work")
    now = clock.now()
    with clock.at(now):
        worker.turn()
        assert ready().get_json() == {"status": "ok"}
    with clock.at(now + timedelta(seconds=14)):
        assert ready().status_code == 200
    with clock.at(now + timedelta(seconds=16)):  # it missed two of its signs of life
        assert ready().get_json()["detail"] == "no worker is at work"
    with clock.at(now + timedelta(seconds=60)):
        worker._show()  # alive, but the tick does not come
        assert ready().get_json()["detail"] == "the scheduler's tick bell is late"
        worker.turn()
        assert ready().status_code == 200
        worker._show(stopped=True)
        assert ready().status_code == 503


def test_a_worker_runs_until_it_is_told_to_stop(app: Flask, team: Any, worker: Worker) -> None:
    with app.app_context(), acting_in(team.id), write_transaction():
        for number in range(25):
            enqueue("make_company", {"name": f"C{number}"})
    thread = worker.start()
    for _ in range(600):
        with app.app_context(), acting_in(team.id):
            left = list(db.session.scalars(select(Job.id).where(Job.state != "done")))
            db.session.remove()
        if not left:
            break
        thread.join(0.05)
    worker.stop()
    thread.join(10)
    assert not thread.is_alive() and not left and worker.jobs >= 25
    with app.app_context(), acting_in(team.id):
        assert companies() == [f"C{number}" for number in range(25)]
        row = db.session.get_one(WorkerRow, worker.id)
        assert row.stopped_at is not None and row.jobs == worker.jobs


def test_a_worker_survives_a_database_that_does_not_answer(
    app: Flask, worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def fail() -> int:
        tries.append(1)
        if len(tries) == 3:
            worker.stop()
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(worker, "turn", fail)
    worker.run()
    assert len(tries) == 3 and caplog.text.count("the worker cannot work") == 3


def test_a_job_that_fails_hard_does_not_stop_the_worker(inside: Any, worker: Worker) -> None:
    def fail(_job: Any) -> None:
        MakeCompany.plant = None
        raise MemoryError

    MakeCompany.plant = fail
    with write_transaction():
        for name in ("A", "B"):
            enqueue("make_company", {"name": name})
    assert elsewhere(worker._work) == 2
    assert states(inside) == ["ready", "done"] and companies() == ["B"]


def test_jobs_that_ended_long_ago_are_forgotten(
    app: Flask, inside: Any, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SLICE", 2)
    now = clock.now()
    with write_transaction():
        for state, days in (("done", 8), ("done", 8), ("done", 8), ("done", 6), ("dead", 8), ("dead", 91), ("cancelled", 31), ("ready", 99)):  # fmt: skip
            job = enqueue("make_company", {"name": "x"}, at=now + timedelta(days=1))
            job.state, job.finished_at = state, now - timedelta(days=days)
    [tick] = [tick for tick in kinds.ticks() if tick.name == "prune_jobs"]
    elsewhere(tick.run, now)
    elsewhere(tick.run, now)  # the same day: the same job
    for _ in range(4):
        elsewhere(worker._work)
    left = [found for found in db.session.scalars(select(Job).order_by(Job.id)) if found.kind != "prune_jobs"]
    assert [found.state for found in left] == ["done", "dead", "ready"]
    pruned = list(db.session.scalars(select(Job).where(Job.kind == "prune_jobs")))
    assert [found.state for found in pruned] == ["done"]

"""The worker: claims what is due, performs it inside its workspace, and lets the scheduler tick."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from soconnective.core import clock
from soconnective.core.access import SYSTEM, Actor, acting_as
from soconnective.core.db import begin_again, db, read_transaction, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.core.workspace import enter_workspace
from soconnective.jobs import queue
from soconnective.jobs.kinds import Again, GiveUp, JobKind, OutsideJob, RetryLater, job_kind, ticks
from soconnective.jobs.models import Job, TickRow, WorkerRow

log = logging.getLogger(__name__)
POLL = 0.5  # seconds between looks when there is nothing to do
BATCH = 10
SHOW_EVERY = timedelta(seconds=5)
NOTHING = timedelta(0)
AHEAD = timedelta(minutes=5)  # how far the clocks of two workers may be apart
MOST_WAIT = 10.0  # seconds between tries while the database does not answer


class LeaseLost(Exception):
    """Somebody else has this job by now: nothing of this try may be kept."""


class Worker:
    """One thread that works on the queue of `app`'s database until `stop()`.

    Its id is made anew at each start, so that a worker that was thought dead is never taken for its heir.
    """

    def __init__(self, app: Flask, poll: float = POLL) -> None:
        self.app, self.poll = app, poll
        self.id = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}"
        self.jobs = 0
        self._stop = threading.Event()
        self._shown_at: datetime | None = None

    def start(self) -> threading.Thread:
        """Run beside the web server, in this process."""
        thread = threading.Thread(target=self.run, name="worker", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Finish the job in hand, give the others back, and end."""
        self._stop.set()

    def run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                worked = self.turn()
                failures = 0
            except Exception:
                failures += 1
                worked = 0
                log.exception("the worker cannot work; it tries again")
            if not worked:
                self._stop.wait(min(self.poll * 2**failures, MOST_WAIT))
        try:
            self._show(stopped=True)
        except Exception:
            log.exception("the worker could not say that it stopped")

    def turn(self) -> int:
        """Show itself, tick, and work on what is due; returns how many jobs were tried."""
        with self.app.app_context():
            try:
                if self._shown_at is None or not NOTHING <= clock.now() - self._shown_at < SHOW_EVERY:
                    self._show()
                run_due_ticks(self.id)
                return self._work()
            finally:
                db.session.remove()
                enter_workspace(None)

    def _work(self) -> int:
        wait = queue.due_in()
        if wait is None or wait > 0:
            return 0
        claims = queue.claim(self.id, BATCH)
        for index, one in enumerate(claims):
            is_late = clock.now() > one.until - queue.LEASE / 2
            if index and (self._stop.is_set() or is_late):  # others would take them for lost
                queue.give_back(claims[index:])
                return index
            perform(one)
            self.jobs += 1
        return len(claims)

    def _show(self, stopped: bool = False) -> None:
        with self.app.app_context(), write_transaction():
            row = db.session.get(WorkerRow, self.id)
            if row is None:
                row = WorkerRow(id=self.id)
                db.session.add(row)
            row.seen_at, row.jobs = clock.now(), self.jobs
            row.stopped_at = row.seen_at if stopped else None
        self._shown_at = clock.now()


def perform(claim: queue.Claim) -> str:
    """Try one job inside its workspace; returns the state it is in then. Raises only what ends the worker."""
    with acting_in(claim.tenant_id):
        kind = job_kind(claim.kind)
        try:
            if claim.state == "dead":
                return _bury(claim, kind)
            return _perform(claim, kind)
        except LeaseLost:
            log.warning("job %s was taken over by another worker", claim.id)
            return "lost"
        except Exception as error:
            if not isinstance(error, RetryLater | GiveUp | Refused):
                log.exception("job %s (%s) failed", claim.id, claim.kind)
            return queue.postpone(claim, kind, error, in_words(error))
        finally:
            enter_workspace(None)


def _perform(claim: queue.Claim, kind: JobKind | None) -> str:
    if kind is None:
        raise GiveUp(f"nobody here knows jobs of the kind “{claim.kind}” any more")
    if not isinstance(kind, OutsideJob):
        with write_transaction():
            job = _held(claim)
            with acting_as(actor_of(job)):
                return _finish(job, kind.run(job))
    with write_transaction():
        job = _held(claim)
        prepared, key, actor = kind.prepare(job), job.key, actor_of(job)
    db.session.expunge_all()
    result = kind.send(prepared, key)  # no transaction is open here
    with write_transaction():
        job = _held(claim)
        with acting_as(actor):
            return _finish(job, kind.record(job, result))


def _held(claim: queue.Claim) -> Job:
    job = queue.hold(claim)
    if job is None:
        raise LeaseLost
    return job


def _finish(job: Job, result: Again | None) -> str:
    job.worker = None
    if result is None:
        job.state, job.finished_at, job.error = "done", clock.now(), ""
    else:  # more to do: each part is a success, and a new beginning
        job.state, job.payload = "ready", dict(result.payload)
        job.next_at, job.attempts, job.deaths = result.at or clock.now(), 0, 0
    return job.state


def _bury(claim: queue.Claim, kind: JobKind | None) -> str:
    """It took its workers along too often; whoever waits for it is told."""
    with write_transaction():
        job = db.session.get_one(Job, claim.id)
        if kind is not None:
            kind.gave_up(job, job.error)
    return "dead"


def actor_of(job: Job) -> Actor:
    return Actor(job.actor_kind, job.actor_id, job.actor_name)


def in_words(error: BaseException) -> str:
    """Why it failed, for people: their own words, else the class and its first line."""
    if isinstance(error, RetryLater | GiveUp):
        said = str(error)
    elif isinstance(error, Refused):
        said = error.message
    else:
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return said.replace("\x00", "")[:1000]


# --- ticks -----------------------------------------------------------------------------------------


def run_due_ticks(worker: str) -> int:
    """Run each tick that is due and that no other worker runs; returns how many."""
    now, ran = clock.now(), 0
    with read_transaction():  # one look at all of them: it is between any two batches of jobs
        rows = db.session.execute(select(TickRow.name, TickRow.next_at))
        known: dict[str, datetime] = {row.name: row.next_at for row in rows}
    for tick in ticks():
        next_at = known.get(tick.name)
        if next_at is not None and not _is_due(next_at, tick.every, now):
            continue
        if not _take(tick.name, tick.every, now, worker):
            continue
        error = ""
        try:
            with acting_as(SYSTEM):
                tick.run(now)
        except Exception as problem:
            begin_again()
            log.exception("the tick %s failed; it comes again in %s", tick.name, tick.every)
            error = in_words(problem)
        finally:
            enter_workspace(None)
        with write_transaction():
            db.session.get_one(TickRow, tick.name).error = error
        ran += 1
    return ran


def _is_due(next_at: datetime, every: timedelta, now: datetime) -> bool:
    """Also if it would come later than ever it should: then the clock was moved back since."""
    return next_at <= now or next_at > now + every + AHEAD


def _take(name: str, every: timedelta, now: datetime, worker: str) -> bool:
    """Whether this worker is the one that runs the tick now; the next one is set in the same breath."""
    with write_transaction():
        row = db.session.get(TickRow, name, with_for_update={"skip_locked": True}, populate_existing=True)
        if row is None:  # new, or another worker has it in hand
            return _make(name, every, now, worker)
        if not _is_due(row.next_at, every, now):
            return False
        row.last_at, row.next_at, row.worker = now, now + every, worker
    return True


def _make(name: str, every: timedelta, now: datetime, worker: str) -> bool:
    """Whether this worker is the first that knows the tick."""
    build: Any = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    row = {"name": name, "last_at": now, "next_at": now + every, "worker": worker, "error": ""}
    made = build(TickRow).values(row).on_conflict_do_nothing().returning(TickRow.name)
    return db.session.execute(made).first() is not None

"""Proof 6, jobs: workers killed with -9 at any point; inside each job takes effect exactly once, outside none is lost.

What leaves the house twice has the same key both times. A job that took three workers along is given up,
and counts as done only after somebody told it to run again (here, the test does).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, select, text

from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.jobs import enqueue, kinds, register_job, run_again
from soconnective.jobs.models import Job
from tests.proofs import errands
from tests.proofs.nursery import Birth, Nursery

NAME = "6c Crash of workers"
PARTS = 2


class Office:
    """A workspace with errands, and what came of them, inside and outside."""

    kinds = "%errand"
    jobs_each = 2

    def __init__(self, app: Flask, team: Any, url: str, outside: Path) -> None:
        self.app, self.team, self.url, self.outside = app, team, url, outside
        self.number = 0
        self.nursery = Nursery()
        with app.app_context():
            self.reader = create_engine(
                app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool
            )

    def ask(self, number: int) -> None:
        """`number` errands of each kind, in one transaction."""
        with self.app.app_context(), acting_in(self.team.id):
            with write_transaction():
                for _ in range(number):
                    self.number += 1
                    enqueue("inside_errand", {"number": self.number, "parts": PARTS})
                    enqueue("outside_errand", {"number": self.number, "file": str(self.outside)})
            db.session.remove()

    def count(self, state: str) -> int:
        with self.reader.connect() as connection:
            query = text("SELECT count(*) FROM jobs WHERE state = :state AND kind LIKE :kinds")
            return int(connection.execute(query, {"state": state, "kinds": self.kinds}).scalar_one())

    def deaths(self) -> int:
        """How many jobs lost their worker, over all."""
        with self.reader.connect() as connection:
            return int(connection.execute(text("SELECT sum(deaths) FROM jobs")).scalar_one())

    def finish(self) -> None:
        """Let one worker do all that is left, and run again what was given up."""
        until = time.monotonic() + 120
        with self.nursery.worker(Birth(self.url, 0, is_worker=True)):
            while self.count("done") < self.jobs_each * self.number:
                assert time.monotonic() < until, {
                    state: self.count(state) for state in ("ready", "running", "dead")
                }
                if self.count("dead"):
                    with self.app.app_context(), acting_in(self.team.id), write_transaction():
                        for job in db.session.scalars(select(Job).where(Job.state == "dead")):
                            run_again(job)
                time.sleep(0.02)

    def wrong(self) -> list[str]:
        with self.reader.connect() as connection:
            made = Counter(connection.execute(text("SELECT name FROM companies")).scalars())
            told = Counter(
                connection.execute(
                    text("SELECT record_id FROM events WHERE name = 'company.created'")
                ).scalars()
            )
            keys = dict(
                connection.execute(text("SELECT key, id FROM jobs WHERE kind = 'outside_errand'")).all()  # type: ignore[arg-type]
            )
        numbers = range(1, self.number + 1)
        wanted = {f"inside {n} part {part}" for n in numbers for part in range(1, PARTS + 1)}
        wanted |= {f"outside {n}" for n in numbers}
        problems = [f"{name}: {made[name]} times" for name in wanted if made[name] != 1]
        problems += [f"{name} is nobody's" for name in made.keys() - wanted]
        problems += [f"event told {times} times" for times in told.values() if times != 1]
        sent = (
            [line.split() for line in self.outside.read_text().splitlines()] if self.outside.exists() else []
        )
        lines: dict[str, set[str]] = {}
        for key, number in sent:
            lines.setdefault(number, set()).add(key)
        problems += [f"errand {n} never left" for n in numbers if str(n) not in lines]
        problems += [
            f"errand {n} left under {len(found)} keys" for n, found in lines.items() if len(found) > 1
        ]
        problems += [f"{key} is nobody's" for found in lines.values() for key in found if key not in keys]
        return problems

    def close(self) -> None:
        self.nursery.close()
        self.reader.dispose()


@pytest.fixture
def office(app: Flask, team: Any, database_url: str, tmp_path: Path) -> Iterator[Office]:
    for errand in (errands.InsideErrand, errands.OutsideErrand):
        register_job(errand)
    made = Office(app, team, database_url, tmp_path / "outside")
    yield made
    made.close()
    for errand in (errands.InsideErrand, errands.OutsideErrand):
        kinds._kinds.pop(errand.kind, None)


def killed_at(office: Office, point: int, is_broken: bool = False) -> bool:
    """A worker that kills itself at the `point`-th boundary after its first claim; whether it got there."""
    birth = Birth(office.url, 0, point, is_broken, is_worker=True)
    until = time.monotonic() + 5
    with office.nursery.worker(birth) as pid:
        while time.monotonic() < until:
            if not alive(pid):
                return True
            if not office.count("ready") and not office.count("running"):
                return False
            time.sleep(0.01)
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


@pytest.mark.proof(NAME)
def test_killed_between_any_two_statements_of_a_job(office: Office, proof: Any) -> None:
    points = range(1, 70) if proof.is_long else (4, 9, 14, 19, 25)
    for point in points:
        office.ask(1)
        proof.cases += 1
        proof.faults += killed_at(office, point)
    office.finish()
    problems = office.wrong()
    proof.found = len(problems)
    assert not problems, "\n".join(problems[:20])
    assert proof.faults >= proof.scale(4, 50)


@pytest.mark.proof(NAME)
def test_killed_at_random_moments(office: Office, proof: Any) -> None:
    """Two workers at a time; one of them dies in the middle of its work, again and again."""
    chance, trials = random.Random(17), proof.scale(5, 1_000)
    with office.nursery.worker(Birth(office.url, 0, is_worker=True)):
        second = Nursery()
        try:
            for _ in range(trials):
                if office.count("ready") < 100:
                    office.ask(60)
                with second.worker(Birth(office.url, 0, is_worker=True)):
                    time.sleep(chance.uniform(0.15, 0.6))
                proof.cases += 1
        finally:
            second.close()
    office.finish()
    problems = office.wrong()
    proof.cases += 3 * office.number
    proof.faults = office.deaths()
    proof.found = len(problems)
    assert not problems, "\n".join(problems[:20])


@pytest.mark.control(NAME)
def test_an_effect_that_is_saved_before_its_job_is_found(office: Office) -> None:
    for points in (range(12, 40, 2), range(13, 40, 2)):  # the second half only if the first found nothing
        for point in points:
            office.ask(1)
            killed_at(office, point, is_broken=True)
        office.finish()
        if any("2 times" in problem or "3 times" in problem for problem in office.wrong()):
            return
    pytest.fail("the planted defect was not found")

"""Proof 6, waiting runs: whatever kills the worker that goes on with them, each goes on exactly once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from soconnective.core import clock
from soconnective.core.access import acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.operations import create_deal
from tests.factories.records import make_rule
from tests.proofs.nursery import Birth, Nursery
from tests.proofs.test_jobs_crash import Office, killed_at

NAME = "6f Crash of waiting runs"
STEPS = [
    ("log_note", {"body": "before {{ deal.title }}"}),
    ("wait", {"mode": "time", "amount": 1, "unit": "minutes"}),
    ("if", {"conditions": {"match": "all", "items": [{"field": "title", "operator": "starts_with", "value": "Deal"}]}}),
    ("log_note", {"body": "after {{ deal.title }}"}),
    ("end_if", {}),
    ("create_task", {"title": "task {{ deal.title }}"}),
]  # fmt: skip


class Waits(Office):
    """Runs that began an hour ago and are due to go on."""

    kinds = "automation.go_on"
    jobs_each = 1

    def ask(self, number: int) -> None:
        past = clock.at(datetime.now(UTC) - timedelta(hours=1))
        with self.app.app_context(), acting_in(self.team.id), acting_as(self.team.owner.actor), past:
            if not self.number:
                make_rule("deal.created", STEPS)
            with write_transaction():
                for _ in range(number):
                    self.number += 1
                    create_deal(f"Deal {self.number}", self.team.stages["Lead"])
            db.session.remove()

    def wrong(self) -> list[str]:
        with self.reader.connect() as connection:
            found = Counter(connection.execute(text("SELECT body FROM notes")).scalars())
            found += Counter(connection.execute(text("SELECT title FROM tasks")).scalars())
            outcomes = Counter(connection.execute(text("SELECT outcome FROM automation_runs")).scalars())
            told = Counter(
                connection.execute(text("SELECT record_id FROM events WHERE name = 'task.created'")).scalars()
            )
        wanted = {
            f"{what} Deal {n}" for n in range(1, self.number + 1) for what in ("before", "after", "task")
        }
        problems = [f"{name}: {found[name]} times" for name in sorted(wanted) if found[name] != 1]
        problems += [f"{name} is nobody's" for name in found.keys() - wanted]
        problems += [f"an event was told {times} times" for times in told.values() if times != 1]
        if outcomes != Counter({"succeeded": self.number}):
            problems.append(f"runs: {dict(outcomes)}, wanted {self.number} that succeeded")
        return problems


@pytest.fixture
def waits(app: Flask, team: Any, database_url: str, tmp_path: Path) -> Iterator[Waits]:
    made = Waits(app, team, database_url, tmp_path / "outside")
    yield made
    made.close()


@pytest.mark.proof(NAME)
def test_killed_between_any_two_statements_of_going_on(waits: Waits, proof: Any) -> None:
    for point in range(1, 60) if proof.is_long else (3, 8, 14, 20, 26):
        waits.ask(1)
        proof.cases += 1
        proof.faults += killed_at(waits, point)
    waits.finish()
    problems = waits.wrong()
    proof.found = len(problems)
    assert not problems, "\n".join(problems[:20])
    assert proof.faults >= proof.scale(3, 30)


@pytest.mark.proof(NAME)
def test_killed_at_random_moments_while_runs_go_on(waits: Waits, proof: Any) -> None:
    chance = random.Random(23)
    second = Nursery()
    with waits.nursery.worker(Birth(waits.url, 0, is_worker=True)):
        try:
            for _ in range(proof.scale(4, 300)):
                if waits.count("ready") < 60:
                    waits.ask(40)
                with second.worker(Birth(waits.url, 0, is_worker=True)):
                    time.sleep(chance.uniform(0.15, 0.6))
        finally:
            second.close()
    waits.finish()
    problems = waits.wrong()
    proof.cases, proof.faults, proof.found = waits.number, waits.deaths(), len(problems)
    assert not problems, "\n".join(problems[:20])


@pytest.mark.control(NAME)
def test_a_run_that_is_gone_on_with_before_its_job_is_finished_is_found(waits: Waits) -> None:
    """Planted: the worker saves the effect before the job."""
    for points in (range(16, 90, 6), range(19, 90, 6)):  # the second half only if the first found nothing
        for point in points:
            waits.ask(1)
            killed_at(waits, point, is_broken=True)
        waits.finish()
        if any("times" in problem for problem in waits.wrong()):
            return
    pytest.fail("the planted defect was not found")

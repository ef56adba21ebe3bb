"""Proof 6, crash: a server killed with -9 at any point leaves each save whole or not at all."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, text

from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from tests.factories.records import make_deal, make_rule
from tests.proofs.nursery import Birth, Nursery, free_port, post

NAME = "6 Crash"
COUNTS = {
    "won": "SELECT count(*) FROM deals WHERE id = :deal AND status = 'won'",
    "events": "SELECT count(*) FROM events WHERE name = 'deal.won' AND record_id = :deal",
    "runs": "SELECT count(*) FROM automation_runs WHERE outcome = 'succeeded' AND record_type = 'deal' AND record_id = :deal",
    "tasks": "SELECT count(*) FROM tasks WHERE deal_id = :deal",
    "notes": "SELECT count(*) FROM notes WHERE deal_id = :deal",
    "told": "SELECT count(*) FROM events e JOIN event_links l ON l.event_id = e.id WHERE l.record_type = 'deal' "
            "AND l.record_id = :deal AND e.name IN ('task.created', 'note.logged')",
}  # fmt: skip
WHOLE = {"won": 1, "events": 1, "runs": 1, "tasks": 1, "notes": 1, "told": 2}


class Ward:
    """A workspace with a rule and many open deals, and what is stored of them."""

    def __init__(self, app: Flask, team: Any, url: str, cookie: str) -> None:
        self.app, self.team, self.url, self.cookie = app, team, url, f"soconnective={cookie}"
        self.nursery = Nursery()
        with app.app_context():
            self.reader = create_engine(
                app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool
            )
            with acting_in(team.id):
                make_rule()
                db.session.remove()

    def deals(self, number: int) -> list[int]:
        with self.app.app_context(), acting_in(self.team.id):
            made = [make_deal(self.team.stages["Lead"], f"Deal {n}").id for n in range(number)]
            db.session.remove()
            db.engine.dispose()
        return made

    def win(self, port: int, deal: int) -> int:
        return post(
            port,
            self.cookie,
            f"/dashboard/deals/{deal}/move",
            {"stage_id": self.team.stages["Won"], "version": 1},
        )

    def wrong(self, deals: list[int], acknowledged: set[int]) -> list[str]:
        """What is half done, or was told as saved and is not there."""
        problems = []
        with self.reader.connect() as connection:
            for deal in deals:
                found = {
                    name: connection.execute(text(query), {"deal": deal}).scalar_one()
                    for name, query in COUNTS.items()
                }
                if found != WHOLE and (deal in acknowledged or any(found.values())):
                    problems.append(
                        f"deal {deal}, {'told as saved' if deal in acknowledged else 'not told'}: {found}"
                    )
            if connection.dialect.name == "sqlite":
                problems += [
                    f"integrity: {row}"
                    for row in connection.execute(text("PRAGMA integrity_check"))
                    if row[0] != "ok"
                ]
                problems += [
                    f"foreign key: {row}" for row in connection.execute(text("PRAGMA foreign_key_check"))
                ]
        return problems

    def close(self) -> None:
        self.nursery.close()
        self.reader.dispose()


@pytest.fixture
def ward(app: Flask, team: Any, owner: Any, database_url: str) -> Iterator[Ward]:
    made = Ward(app, team, database_url, owner.get_cookie("soconnective").value)
    yield made
    made.close()


def at_failpoints(ward: Ward, points: list[int], is_broken: bool = False) -> tuple[int, list[str]]:
    """Kill at each of `points` of a save; how many were reached, and what was wrong afterwards."""
    killed, problems = 0, []
    for deal, point in zip(ward.deals(len(points)), points, strict=True):
        birth = Birth(ward.url, free_port(), point, is_broken)
        acknowledged = set()
        with ward.nursery.server(birth):
            try:
                if ward.win(birth.port, deal) == 302:
                    acknowledged.add(deal)
            except (OSError, http.client.HTTPException):
                killed += 1
        problems += [f"failpoint {point}: {problem}" for problem in ward.wrong([deal], acknowledged)]
    return killed, problems


@pytest.mark.proof(NAME)
def test_killed_between_any_two_statements_of_a_save(ward: Ward, proof: Any) -> None:
    points = list(range(1, 60)) if proof.is_long else [8, 14, 20, 26, 30, 34]
    killed, problems = at_failpoints(ward, points)
    proof.cases, proof.faults, proof.found = len(points), killed, len(problems)
    assert not problems, "\n".join(problems)
    assert killed >= proof.scale(4, 30)


@pytest.mark.proof(NAME)
def test_killed_at_random_moments_under_load(ward: Ward, proof: Any) -> None:
    """Three people win deals as fast as they can; the server dies in the middle of it."""
    chance, problems, saved = random.Random(11), [], 0
    trials = proof.scale(5, 1000)
    for trial in range(trials):
        deals = ward.deals(30)
        birth, acknowledged = Birth(ward.url, free_port()), set()

        def work(mine: list[int], birth: Birth = birth, acknowledged: set[int] = acknowledged) -> None:
            for deal in mine:
                try:
                    if ward.win(birth.port, deal) == 302:
                        acknowledged.add(deal)
                except (OSError, http.client.HTTPException):
                    return

        workers = [threading.Thread(target=work, args=(deals[n::3],)) for n in range(3)]
        with ward.nursery.server(birth):
            for worker in workers:
                worker.start()
            until = time.monotonic() + 10
            while not acknowledged and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.12))
        for worker in workers:
            worker.join()
        problems += [f"trial {trial}: {problem}" for problem in ward.wrong(deals, set(acknowledged))]
        saved += len(acknowledged)
    proof.cases, proof.faults, proof.found = saved, trials, len(problems)
    assert not problems, "\n".join(problems)
    assert saved >= trials


@pytest.mark.control(NAME)
def test_a_server_that_commits_in_the_middle_is_found(ward: Ward) -> None:
    _killed, problems = at_failpoints(ward, [20, 24, 28], is_broken=True)
    assert problems

"""Proof 6d, mail: workers killed with -9 at any point; no mail is lost, and what leaves twice has one Message-ID."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, text

from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Job, run_again
from soconnective.mail import enqueue_mail
from tests.mail.conftest import Post, Running, make_account
from tests.proofs.nursery import Birth, Nursery
from tests.proofs.test_jobs_crash import alive

NAME = "6e Crash of workers that send mail"


class PostOffice:
    """A workspace whose mail goes to a server of ours, and workers that die while they send it."""

    def __init__(self, app: Flask, team: Any, url: str, post: Post) -> None:
        self.app, self.team, self.url, self.post = app, team, url, post
        self.asked: dict[str, str] = {}  # address: Message-ID
        self.nursery = Nursery()
        with app.app_context(), acting_in(team.id):
            self.reader = create_engine(
                app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool
            )
            make_account(post.port, hourly_cap=10_000)
            db.session.remove()

    def ask(self) -> None:
        address = f"p{len(self.asked)}@x.example"
        with self.app.app_context(), acting_in(self.team.id):
            with write_transaction():
                self.asked[address] = enqueue_mail(address, "s", "t").message_id
            db.session.remove()

    def count(self, condition: str) -> int:
        with self.reader.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {condition}")).scalar_one())

    def killed_at(self, point: int) -> bool:
        """A worker that kills itself at the `point`-th boundary after its first claim; whether it got there."""
        until = time.monotonic() + 30
        with self.nursery.worker(Birth(self.url, 0, point, is_worker=True)) as pid:
            while time.monotonic() < until:
                if not alive(pid):
                    return True
                if not self.count("jobs WHERE state IN ('ready', 'running') AND kind = 'send_mail'"):
                    return False
                time.sleep(0.01)
        return False

    def finish(self) -> None:
        until = time.monotonic() + 120
        with self.nursery.worker(Birth(self.url, 0, is_worker=True)):
            while self.count("mail_messages WHERE state = 'sent'") < len(self.asked):
                assert time.monotonic() < until
                if self.count("jobs WHERE state = 'dead'"):
                    with self.app.app_context(), acting_in(self.team.id), write_transaction():
                        for job in db.session.query(Job).filter(Job.state == "dead"):
                            run_again(job)
                time.sleep(0.02)

    def wrong(self) -> tuple[list[str], int]:
        """What is not as promised, and how many mails left more than once."""
        got: dict[str, list[str]] = {}
        for letter in self.post.letters:
            got.setdefault(letter.recipients[0], []).append(str(letter.message["Message-ID"]))
        problems = [f"{address} never got its mail" for address in self.asked.keys() - got.keys()]
        problems += [f"{address} is nobody's" for address in got.keys() - self.asked.keys()]
        for address, ids in got.items():
            if set(ids) != {self.asked.get(address)}:
                problems.append(f"{address}: {Counter(ids)}")
        return problems, sum(len(ids) > 1 for ids in got.values())


@pytest.fixture
def office(app: Flask, team: Any, database_url: str, monkeypatch: Any) -> Iterator[PostOffice]:
    monkeypatch.setenv("SOCONNECTIVE_MAIL_INSIDE", "1")
    app.config["SOCONNECTIVE_MAIL_INSIDE"] = True
    running = Running(Post())
    made = PostOffice(app, team, database_url, running.post)
    yield made
    made.nursery.close()
    made.reader.dispose()
    running.stop()


@pytest.mark.proof(NAME)
def test_killed_between_any_two_statements_of_a_sending(office: PostOffice, proof: Any) -> None:
    points = range(1, 60) if proof.is_long else (6, 12, 16, 18, 20, 22, 24, 26)
    for point in points:
        office.ask()
        proof.cases += 1
        proof.faults += office.killed_at(point)
    office.finish()
    problems, twice = office.wrong()
    proof.found = len(problems)
    assert not problems, "\n".join(problems[:20])
    assert proof.faults >= proof.scale(6, 30)
    assert twice >= 1, "no worker died between the server's word and ours: the points miss it"


@pytest.mark.control(NAME)
def test_another_message_id_at_each_try_is_found(office: PostOffice) -> None:
    for point in (16, 18, 20, 22, 24, 26):
        office.ask()
        office.killed_at(point)
    office.finish()
    for number, letter in enumerate(office.post.letters):
        letter.message.replace_header("Message-ID", f"<{number}@x.example>")
    assert office.wrong()[0]

"""Proof 8, guessing: limits hold over processes, nobody is locked out by others, known and unknown look alike."""

from __future__ import annotations

import multiprocessing
import re
import statistics
import time
from typing import Any

import pytest
from flask import Flask

from soconnective import create_app
from soconnective.accounts import limits
from soconnective.core.db import db
from tests.databases import settings_for
from tests.proofs.test_races import finish, in_processes
from tests.workspaces import PASSWORD

NAME = "8 Guessing"


def guesser(url: str, email: str, networks: list[str], number: int, answers: Any) -> None:
    """Guess `number` times, from one network after the other; says how many guesses were looked at."""
    app = create_app(settings_for(url) | {"WTF_CSRF_ENABLED": False})
    client, looked = app.test_client(), 0
    for place in range(number):
        answer = client.post(
            "/login",
            data={"email": email, "password": f"guess {place}"},
            environ_base={"REMOTE_ADDR": networks[place % len(networks)]},
        )
        looked += answer.status_code == 200
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    answers.put(looked)


def guessed(url: str, email: str, sides: list[list[str]], number: int) -> int:
    answers = multiprocessing.get_context("spawn").Queue()
    processes = in_processes(
        guesser, [(url, email, networks, number // len(sides), answers) for networks in sides]
    )
    looked = sum(answers.get(timeout=580) for _ in processes)
    finish(processes)
    return looked


@pytest.mark.proof(NAME)
@pytest.mark.parametrize("kind", ["one network", "many networks"])
def test_guesses_from_two_processes_share_one_limit(
    app: Flask, team: Any, sign_in: Any, database_url: str, proof: Any, kind: str
) -> None:
    sign_in(team.owner)  # from 127.0.0.1: known there
    number = proof.scale(160, 10_000)
    many = [f"10.0.{side}.{place}" for side in (0, 1) for place in range(40)]
    sides = [["10.1.1.1"], ["10.1.1.1"]] if kind == "one network" else [many[:40], many[40:]]
    looked = guessed(database_url, team.owner.email, sides, number)
    most = limits.PER_ACCOUNT_AND_NETWORK.amount if kind == "one network" else limits.PER_ACCOUNT.amount
    proof.cases, proof.faults = number, number
    assert 0 < looked <= most + 2  # a window of time may begin anew in between
    answer = app.test_client().post("/login", data={"email": team.owner.email, "password": PASSWORD})
    assert answer.status_code == 302, "the owner is locked out"


@pytest.mark.control(NAME)
def test_limits_of_each_process_alone_are_found(
    app: Flask, team: Any, sign_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: nothing is kept; then every guess is looked at."""
    monkeypatch.setattr(limits.TableStorage, "incr", lambda *_args, **_more: 1)
    client = app.test_client()
    codes = [
        client.post("/login", data={"email": team.owner.email, "password": "x"}).status_code
        for _ in range(15)
    ]
    assert codes.count(200) > limits.PER_ACCOUNT_AND_NETWORK.amount


def _bare(text: str, email: str) -> str:
    return re.sub(r'nonce="[^"]*"|name="csrf_token" value="[^"]*"', "", text).replace(email, "")


@pytest.mark.proof(NAME)
def test_known_and_unknown_people_get_the_same_answer(
    app: Flask, team: Any, database_url: str, proof: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same page; in the long form also the same time, with the real hash (medians within 5 %, three chances)."""
    monkeypatch.setattr(
        limits, "_limiter", type("Open", (), {"hit": lambda *_a: True, "clear": lambda *_a: None})()
    )
    real = {"SECURITY_PASSWORD_HASH": "argon2", "SECURITY_PASSWORD_SCHEMES": ["argon2", "plaintext"]}
    hashing = create_app(settings_for(database_url) | {"WTF_CSRF_ENABLED": False} | real)
    with hashing.app_context():
        from soconnective.accounts import operations, queries
        from soconnective.core.db import write_transaction

        with write_transaction():
            operations.set_password(queries.get_user_by_email(team.owner.email), "a really good one")  # type: ignore[arg-type]
    client, emails = hashing.test_client(), (team.owner.email, "stranger@x.example")

    def ask(email: str) -> tuple[float, str]:
        began = time.perf_counter()
        answer = client.post("/login", data={"email": email, "password": "wrong password"})
        assert answer.status_code == 200
        return time.perf_counter() - began, _bare(answer.text, email)

    number = proof.scale(3, 150)
    for chance in range(3):
        said = [[ask(email) for email in emails] for _ in range(number)]
        pages = {page for pair in said for _time, page in pair}
        known, unknown = (statistics.median(pair[side][0] for pair in said) for side in (0, 1))
        proof.cases += 2 * number
        assert len(pages) == 1
        if not proof.is_long or abs(known - unknown) / max(known, unknown) < 0.05:
            break
        assert chance < 2, f"known {known * 1000:.1f} ms, unknown {unknown * 1000:.1f} ms"
    with hashing.app_context():
        db.session.remove()
        db.engine.dispose()

"""Proof 3, races: processes of their own change the same rows at the same moment, through the real app."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, text

from soconnective import create_app
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from tests.databases import settings_for
from tests.factories.records import make_contact, make_deal, make_rule
from tests.workspaces import PASSWORD

NAME = "3 Once is once: races"


@contextmanager
def signed_in(url: str, email: str) -> Iterator[Any]:
    """A person's client in this process, on an app of its own."""
    app = create_app(settings_for(url) | {"WTF_CSRF_ENABLED": False, "PROPAGATE_EXCEPTIONS": True})
    client = app.test_client()
    assert client.post("/login", data={"email": email, "password": PASSWORD}).status_code == 302
    yield client
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def racer(url: str, email: str, jobs: list[tuple[str, dict[str, Any]]], ready: Any, answers: Any) -> None:
    """Post each of `jobs` when the other side is ready for it too."""
    with signed_in(url, email) as client:
        for place, (path, data) in enumerate(jobs):
            ready.wait(60)
            try:
                answers.put((place, client.post(path, data=data).status_code))
            except Exception as error:
                answers.put((place, repr(error)))


def writer(url: str, email: str, contact_id: int, number: int, answers: Any) -> None:
    """Add to a counter that stands in a text, `number` times: read the form, save it, again after a clash."""
    page = f"/dashboard/contacts/{contact_id}/edit"
    with signed_in(url, email) as client:
        done, clashes, times, wrong = 0, 0, [], []
        while done < number and clashes < 200 * number and len(wrong) < 5:
            form = client.get(page).text
            data = {
                "first_name": "Count", "last_name": "Er", "version": re.search(r'name="version" value="(\d+)"', form)[1],  # type: ignore[index]
                "job_title": str(int(re.search(r'name="job_title"[^>]*value="(\d+)"', form)[1]) + 1),  # type: ignore[index]
            }  # fmt: skip
            began = time.perf_counter()
            try:
                status = client.post(page, data=data).status_code
            except Exception as error:
                wrong.append(repr(error))
                continue
            times.append((time.perf_counter() - began) * 1000)
            done += status == 302
            clashes += status == 409
            if status not in (302, 409):
                wrong.append(str(status))
        answers.put((done, clashes, times, wrong))


def in_processes(target: Any, sides: list[tuple[Any, ...]]) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=side) for side in sides]
    for process in processes:
        process.start()
    return processes


def finish(processes: list[Any]) -> None:
    for process in processes:
        process.join(30)
        if process.is_alive():
            process.kill()
            process.join()


@pytest.fixture
def reader(app: Flask) -> Iterator[Any]:
    with app.app_context():
        engine = create_engine(app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool)
    yield engine
    engine.dispose()


def race(app: Flask, team: Any, database_url: str, number: int) -> tuple[list[int], Counter[tuple[Any, ...]]]:
    """Two people win the same `number` deals in the same moments; the deals, and the pairs of answers."""
    with app.app_context(), acting_in(team.id):
        make_rule(steps=[("create_task", {"title": "Kick off", "due_in_days": 1})])
        deals = [make_deal(team.stages["Lead"], f"Deal {n}").id for n in range(number)]
        db.session.remove()
    jobs = [
        (f"/dashboard/deals/{deal}/move", {"stage_id": team.stages["Won"], "version": 1}) for deal in deals
    ]
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(2), context.Queue()
    sides = [(database_url, person.email, jobs, ready, answers) for person in (team.owner, team.admin)]
    processes = in_processes(racer, sides)
    said: dict[int, list[Any]] = {}
    for _ in range(2 * number):
        place, status = answers.get(timeout=120)
        said.setdefault(place, []).append(status)
    finish(processes)
    return deals, Counter(tuple(sorted(map(str, pair))) for pair in said.values())


QUERIES = {
    "won": "SELECT record_id FROM events WHERE name = 'deal.won'",
    "runs": "SELECT record_id FROM automation_runs WHERE outcome = 'succeeded'",
    "tasks": "SELECT deal_id FROM tasks",
}


def not_once(reader: Any, deals: list[int]) -> list[str]:
    """What happened more or less than once to one of `deals`."""
    with reader.connect() as connection:
        counts = {
            name: Counter(row[0] for row in connection.execute(text(query)))
            for name, query in QUERIES.items()
        }
    return [
        f"deal {deal}: {counts[name][deal]} {name}"
        for deal in deals
        for name in QUERIES
        if counts[name][deal] != 1
    ]


@pytest.mark.proof(NAME)
def test_a_deal_won_twice_at_once_is_won_once(
    app: Flask, team: Any, database_url: str, reader: Any, proof: Any
) -> None:
    deals, pairs = race(app, team, database_url, proof.scale(40, 2000))
    problems = not_once(reader, deals)
    problems += [f"{times} times answered {pair}" for pair, times in pairs.items() if pair != ("302", "409")]
    proof.cases, proof.found = len(deals), len(problems)
    assert not problems, "\n".join(problems)


@pytest.mark.control(NAME)
def test_a_deal_that_was_won_twice_is_found(app: Flask, team: Any, reader: Any) -> None:
    """Planted: what plain ORM does without versions (engine-facts, F17) is what the look sees."""
    with app.app_context(), acting_in(team.id):
        make_rule(steps=[("create_task", {"title": "Kick off", "due_in_days": 1})])
        deal = make_deal(team.stages["Lead"])
        deal_id = deal.id
        from tests.factories.records import move

        for stage in ("Won", "Lead", "Won"):
            move(deal, team.stages[stage])
        db.session.remove()
    assert len(not_once(reader, [deal_id])) == 3


@pytest.mark.proof(NAME)
def test_no_update_is_lost_between_processes(
    app: Flask, team: Any, database_url: str, reader: Any, proof: Any, capsys: Any
) -> None:
    """Four processes add to one number through the contact's form; who was too late is told (409) and tries again."""
    each, sides = proof.scale(15, 1000), 4
    with app.app_context(), acting_in(team.id):
        contact_id = make_contact("Count", "Er", job_title="0").id
        db.session.remove()
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    people = (team.owner, team.admin, team.member, team.owner)
    processes = in_processes(writer, [(database_url, p.email, contact_id, each, answers) for p in people])
    found = [answers.get(timeout=580) for _ in processes]
    finish(processes)
    with reader.connect() as connection:
        total = int(connection.execute(text("SELECT job_title FROM contacts")).scalar_one())
        updates = connection.execute(
            text("SELECT count(*) FROM events WHERE name = 'contact.updated'")
        ).scalar_one()
    wrong = [problem for side in found for problem in side[3]]
    times = sorted(time for side in found for time in side[2])
    p99 = times[int(len(times) * 0.99)]
    print(f"{total} writes, {sum(side[1] for side in found)} clashes told, p99 {p99:.1f} ms")
    proof.cases = sum(len(side[2]) for side in found)
    proof.found = len(wrong) + abs(total - each * sides)
    assert wrong == [] and total == updates == each * sides

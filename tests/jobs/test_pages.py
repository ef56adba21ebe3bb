"""The pages of Health and of jobs: what they say, who may see them, and the two buttons."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Worker, enqueue, kinds
from soconnective.jobs.models import Job
from tests.factories.records import make_company
from tests.jobs.conftest import MakeCompany, give_up


@pytest.fixture
def dead(app: Flask, team: Any, worker: Worker) -> int:
    """A job that was given up."""
    MakeCompany.plant = give_up
    with app.app_context(), acting_in(team.id):
        company = make_company("Initech")
        with write_transaction():
            enqueue("make_company", {"name": "Acme"}, about=("company", company.id))
    worker.turn()
    MakeCompany.plant = None
    with app.app_context(), acting_in(team.id):
        return db.session.scalars(select(Job.id).where(Job.kind == "make_company")).one()


def test_health_says_what_is_well_and_what_is_not(app: Flask, owner: Any, worker: Worker, dead: int) -> None:
    page = owner.get("/dashboard/settings/health").text
    assert "1 at work" in page and "1 job needs somebody to look" in page
    assert "it will never work" in page and f"/dashboard/settings/jobs/{dead}" in page
    with clock.at(clock.now() + timedelta(minutes=10)):
        page = owner.get("/dashboard/settings/health").text
        assert "none is at work" in page and "prune_jobs is late" not in page


def test_a_job_that_waits_too_long_shows(app: Flask, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id), write_transaction():
        enqueue("make_company", {"name": "Acme"}, at=clock.now() - timedelta(minutes=6))
    assert "nobody gets to it" in owner.get("/dashboard/settings/health").text


def test_a_job_says_everything_and_runs_again(app: Flask, owner: Any, worker: Worker, dead: int) -> None:
    page = owner.get(f"/dashboard/settings/jobs/{dead}").text
    for word in (
        "Make a company",
        "Acme",
        "given up",
        "it will never work",
        "Initech",
        "Run again",
        "Cancel it",
    ):
        assert word in page, word
    answer = owner.post(f"/dashboard/settings/jobs/{dead}/again", follow_redirects=True)
    assert "It runs again." in answer.text and "waiting" in answer.text
    worker.turn()
    assert "done" in owner.get(f"/dashboard/settings/jobs/{dead}").text
    answer = owner.post(f"/dashboard/settings/jobs/{dead}/again", follow_redirects=True)
    assert "Only what was given up can be run again." in answer.text


def test_a_job_is_cancelled_before_it_begins(app: Flask, owner: Any, dead: int) -> None:
    answer = owner.post(f"/dashboard/settings/jobs/{dead}/cancel", follow_redirects=True)
    assert "Cancelled." in answer.text
    answer = owner.post(f"/dashboard/settings/jobs/{dead}/cancel", follow_redirects=True)
    assert "It is running or has ended already." in answer.text


@pytest.mark.parametrize("state", ["", "dead", "done", "nonsense"])
def test_the_list_is_narrowed_by_state(owner: Any, dead: int, state: str) -> None:
    page = owner.get(f"/dashboard/settings/jobs?state={state}").text
    assert ("Make a company" in page) is (state != "done")


def test_a_kind_or_payload_of_another_version_has_a_page_too(
    app: Flask, owner: Any, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MakeCompany, "describe", lambda _self, payload: payload["gone"])
    assert "Make a company" in owner.get(f"/dashboard/settings/jobs/{dead}").text
    kinds._kinds.pop("make_company")
    page = owner.get(f"/dashboard/settings/jobs/{dead}").text
    assert "make_company" in page and "nobody here knows" in page


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_only_admins_look(team: Any, sign_in: Any, dead: int, role: str) -> None:
    client = sign_in(getattr(team, role))
    for path in ("health", "jobs", f"jobs/{dead}"):
        assert client.get(f"/dashboard/settings/{path}").status_code == 403
    assert client.post(f"/dashboard/settings/jobs/{dead}/again").status_code == 403


def test_another_workspace_sees_nothing_of_it(sign_in: Any, rivals: Any, dead: int) -> None:
    client = sign_in(rivals.owner)
    assert client.get(f"/dashboard/settings/jobs/{dead}").status_code == 404
    assert client.post(f"/dashboard/settings/jobs/{dead}/cancel").status_code == 404
    assert "Make a company" not in client.get("/dashboard/settings/jobs").text
    assert "it will never work" not in client.get("/dashboard/settings/health").text

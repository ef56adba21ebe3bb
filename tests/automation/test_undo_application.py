"""Undoing an application: all of it that nobody touched, in slices, once; what was touched stays and is counted."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from soconnective.automation import undo_application as module
from soconnective.automation.sweep_models import Sweep
from soconnective.automation.undo_application import counts_of, undo_application
from soconnective.core.access import acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.deals.operations import update_deal
from soconnective.jobs import Job
from tests.automation.test_apply import apply, deals, rule_on
from tests.automation.test_flow import work
from tests.automation.test_undo_run import sets

NOTES = "SELECT count(*) FROM notes"


def applied(app: Flask, inside: Any, number: int = 8) -> Sweep:
    deals(inside, number)
    rule = rule_on(conditions=None, steps=[sets("source", "Web"), ("log_note", {"body": "x"})])
    sweep: Sweep = apply(app, inside, rule)
    assert counts_of(sweep) == (number, 0)
    return sweep


def undo(app: Flask, sweep: Sweep) -> Job:
    from soconnective.core import clock

    with write_transaction():
        job_id = undo_application(sweep).id
    assert work(app, clock.now())[-1] == "done"
    db.session.expire_all()
    return db.session.get_one(Job, job_id)


def sources() -> list[str | None]:
    return list(db.session.scalars(select(Deal.source).order_by(Deal.id)))


def test_what_nobody_touched_goes_in_slices(app: Flask, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    sweep = applied(app, inside)
    with acting_as(inside.member.actor), write_transaction():
        update_deal(db.session.get_one(Deal, 2), source="Fair")
    job = undo(app, sweep)
    assert (
        sources() == [None, "Fair", *[None] * 6]
        and db.session.connection().exec_driver_sql(NOTES).scalar() == 0
    )
    assert counts_of(sweep) == (8, 8) and job.actor_kind == "person"
    with pytest.raises(Refused, match="nothing left"):
        undo_application(sweep)


def test_a_run_of_which_nothing_can_be_taken_back_is_counted(app: Flask, inside: Any) -> None:
    deals(inside, 2)
    sweep: Sweep = apply(app, inside, rule_on(conditions=None, steps=[sets("source", "Web")]))
    with write_transaction():
        update_deal(db.session.get_one(Deal, 1), source="Fair")
    job = undo(app, sweep)
    assert sources() == ["Fair", None] and counts_of(sweep) == (2, 1) and job.payload["left"] == 1


def test_only_an_application_that_ended_can_be_undone(app: Flask, inside: Any) -> None:
    sweep = applied(app, inside, 1)
    sweep.state = "running"
    with pytest.raises(Refused, match="still runs"):
        undo_application(sweep)
    sweep.what = "backtest"
    with pytest.raises(Refused, match="leaves nothing"):
        undo_application(sweep)


def test_its_page_offers_it(app: Flask, team: Any, owner: FlaskClient, sign_in: Any) -> None:
    with app.app_context(), acting_in(team.id), acting_as(team.owner.actor):
        page = f"/dashboard/automations/sweeps/{applied(app, team, 2).id}"
        db.session.rollback()
    assert "Undo what it did" in owner.get(page).text
    assert sign_in(team.member).post(f"{page}/undo").status_code == 403
    text = owner.post(f"{page}/undo", follow_redirects=True).text
    assert (
        "It is being taken back. What" in text and "Being taken back: 0 of 2." in text and "<progress" in text
    )
    assert "Undo what it did" not in text and 'hx-trigger="every 2s"' in text  # it looks again by itself
    assert "It is being taken back already." in owner.post(f"{page}/undo", follow_redirects=True).text
    with app.app_context():
        from soconnective.core import clock

        assert work(app, clock.now()) == ["done"]
    text = owner.get(page).text
    assert "2 of 2 taken back" in text and "Undo what it did" not in text and "<progress" not in text


def test_its_page_says_what_stays(app: Flask, team: Any, owner: FlaskClient) -> None:
    with app.app_context(), acting_in(team.id), acting_as(team.owner.actor):
        deals(team, 2)
        sweep = apply(app, team, rule_on(conditions=None, steps=[sets("source", "Web")]))
        page = f"/dashboard/automations/sweeps/{sweep.id}"
        with write_transaction():
            update_deal(db.session.get_one(Deal, 1), source="Fair")
        undo(app, sweep)
        db.session.rollback()
    text = owner.get(page).text
    assert "1 of 2 taken back. 1 stays: somebody has touched it since." in text
    assert "Undo what it did" not in text and "<progress" not in text

"""Running a run again: which version, which record, what is not done twice, and whom it is told of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from soconnective.automation.again import MOST_ATTEMPTS, resume, resume_at, run_again
from soconnective.automation.definition import build
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.operations import delete_automation, set_active, update_automation
from soconnective.automation.queries import attempts_of, caused_by
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.deals.operations import delete_deal, update_deal
from tests.automation.test_flow import asks, note, notes, wait, work
from tests.factories.records import make_company, make_deal, make_rule, move

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BAD = ("change_field", {"target": "company", "field": "name", "value": "x"})
OF_COMPANY = ("change_field", {"target": "company", "field": "phone", "value": "+34 600 000 000"})


def runs() -> list[AutomationRun]:
    db.session.expire_all()
    return list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))


def won(inside: Any, **values: Any) -> Deal:
    deal = make_deal(inside.stages["Lead"], **values)
    move(deal, inside.stages["Won"])
    return deal


def again(run: AutomationRun, **options: Any) -> AutomationRun:
    with write_transaction():
        return run_again(run, **options)


def test_a_failed_run_works_once_its_cause_is_mended(inside: Any) -> None:
    make_rule(steps=[note("before"), OF_COMPANY])
    deal = won(inside)
    assert (runs()[0].outcome, notes()) == ("failed", [])
    with write_transaction():
        update_deal(deal, company_id=make_company().id)
    fresh = again(runs()[0])
    assert (fresh.outcome, fresh.attempt, fresh.asked_by) == ("succeeded", 1, inside.owner.name)
    assert notes() == ["before"] and runs()[0].outcome == "failed"
    assert [event.name for event in caused_by(fresh)] == ["note.logged", "company.updated"]
    assert caused_by(runs()[0]) == [] and len(attempts_of(fresh)) == 2


def test_it_runs_at_the_version_of_then_or_of_now(inside: Any) -> None:
    rule = make_rule(steps=[note("old")])
    won(inside)
    with write_transaction():
        update_automation(rule, build("Won kickoff", "deal.won", {}, [note("new")]))
    first = runs()[0]
    assert again(first).automation_number == 1 and again(first, is_current=True).automation_number == 2
    assert notes() == ["old", "old", "new"] and [run.attempt for run in runs()] == [0, 1, 2]


def test_conditions_are_judged_on_the_event_as_it_was(inside: Any) -> None:
    rule = make_rule(steps=[note("{{ deal.amount }}")])
    with write_transaction():
        conditions = asks("amount", "at_least", "1000")["conditions"]
        update_automation(
            rule, build("Won kickoff", "deal.won", {}, [note("{{ deal.amount }}")], "undo", conditions)
        )
    deal = won(inside, amount="5")
    assert runs()[0].outcome == "not_matched"
    with write_transaction():
        update_deal(deal, amount="5000")
    fresh = again(runs()[0])
    assert fresh.outcome == "not_matched" and fresh.detail == "amount is at least 1000, was 5.00"


def test_what_it_changes_starts_other_rules(inside: Any) -> None:
    make_rule(steps=[("change_field", {"target": "deal", "field": "source", "value": "Web"})])
    make_rule("deal.updated", [note("seen")], name="Second")
    deal = won(inside)
    with write_transaction():
        update_deal(deal, source=None)
    assert notes() == ["seen", "seen"]
    again(runs()[0])
    assert notes() == ["seen"] * 3 and deal.source == "Web"


def test_a_failure_is_a_failed_attempt_and_leaves_nothing(inside: Any) -> None:
    make_rule(steps=[note("before"), BAD])
    won(inside)
    fresh = again(runs()[0])
    assert (fresh.outcome, fresh.attempt) == ("failed", 1) and notes() == []


def test_an_attempt_can_wait_beside_nothing_else(app: Any, inside: Any) -> None:
    make_rule(steps=[wait(amount=1, unit="days"), note("after")])
    with clock.at(NOW):
        won(inside)
    with clock.at(NOW), pytest.raises(Refused, match="still waits"):
        again(runs()[0])
    assert work(app, NOW + timedelta(days=1)) == ["done"]
    with clock.at(NOW + timedelta(days=2)):
        assert again(runs()[0]).outcome == "waiting"
    assert work(app, NOW + timedelta(days=4)) == ["done"]
    assert notes() == ["after", "after"] and [run.outcome for run in runs()] == ["succeeded", "succeeded"]


def test_resuming_does_not_do_twice_what_was_kept(app: Any, inside: Any) -> None:
    make_rule(steps=[note("first"), wait(), note("second"), OF_COMPANY, note("third")])
    with clock.at(NOW):
        deal = won(inside)
    work(app, NOW + timedelta(days=1))
    assert runs()[0].outcome == "failed" and notes() == ["first"]
    with write_transaction():
        update_deal(deal, company_id=make_company().id)
    with write_transaction():
        fresh = resume(runs()[0])
    assert fresh.outcome == "succeeded" and notes() == ["first", "second", "third"]
    assert [step["path"] for step in fresh.trace["steps"]] == ["1", "2", "3", "4", "5"]


def test_resuming_a_partly_done_run_does_only_what_failed(inside: Any) -> None:
    make_rule(steps=[note("one"), OF_COMPANY, note("two")], on_failure="keep")
    deal = won(inside)
    assert runs()[0].outcome == "partly_succeeded" and notes() == ["one", "two"]
    with write_transaction():
        update_deal(deal, company_id=make_company().id)
    with write_transaction():
        fresh = resume(runs()[0])
    assert fresh.outcome == "succeeded" and notes() == ["one", "two"]
    assert deal.company is not None and deal.company.phone == "+34 600 000 000"
    with pytest.raises(Refused, match="Only a run that failed"):
        resume(fresh)


def test_a_branch_that_failed_is_asked_from_its_if_on() -> None:
    steps = build("x", "deal.won", {}, [
        note("a"), ("if", asks("source", "is", "x")), ("if", asks("source", "is", "y")), ("end_if", {}),
        ("otherwise_if", asks("source", "is", "z")), ("end_if", {}),
    ]).steps  # fmt: skip
    trace = [
        {"path": "1", "outcome": "succeeded"},
        {"path": "2", "outcome": "succeeded"},
        {"path": "5", "outcome": "failed"},
    ]
    assert resume_at(steps, trace) == (1, frozenset())


def test_what_cannot_run_again_says_why(inside: Any) -> None:
    rule = make_rule(steps=[note("x")])
    deal = won(inside)
    with write_transaction():
        set_active(rule, False)
    assert again(runs()[0]).outcome == "succeeded"  # a person may, also when it is off
    for _more in range(MOST_ATTEMPTS - 1):
        again(runs()[0])
    with pytest.raises(Refused, match="20 times"):
        again(runs()[0])
    with write_transaction():
        delete_automation(rule)
    with pytest.raises(Refused, match="deleted"):
        again(runs()[0])
    other = make_rule(steps=[note("x")], name="Other")
    move(deal, inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    last = runs()[-1]
    with write_transaction():
        delete_deal(deal)
    assert last.automation_id == other.id
    with pytest.raises(Refused, match="record is gone"):
        again(last)


def test_the_pages_run_again_and_resume(app: Flask, team: Any, owner: FlaskClient, sign_in: Any) -> None:
    with app.app_context(), acting_in(team.id):
        make_rule(steps=[note("one"), OF_COMPANY])
        deal_id, page = won(team).id, f"/dashboard/automations/runs/{runs()[0].id}"
    text = owner.get(page).text
    assert "Resume where it failed" in text and "Run again" in text and "changed since" not in text
    with app.app_context(), acting_in(team.id), write_transaction():
        update_deal(db.session.get_one(Deal, deal_id), company_id=make_company().id)
    with app.app_context(), acting_in(team.id), write_transaction():
        rule = db.session.query(Automation).one()
        update_automation(rule, build("Won kickoff", "deal.won", {}, [note("one")]))
    text = owner.get(page).text  # what was mended since is not what is resumed
    assert "Resume where it failed (v1)" in text and "As the rule is now (v2)" in text
    assert "this run is of version 1, and resuming goes on with that one. To use version 2" in text
    answer = owner.post(f"{page}/resume", follow_redirects=True)
    assert answer.status_code == 200 and "Attempt 1" in answer.text
    answer = owner.post(f"{page}/again", data={"at": "now"}, follow_redirects=True)
    assert "Attempt 2" in answer.text
    viewer = sign_in(team.viewer)
    assert viewer.post(f"{page}/again").status_code == 403 and "Run again" not in viewer.get(page).text
    with app.app_context(), acting_in(team.id):
        assert notes() == ["one", "one"]

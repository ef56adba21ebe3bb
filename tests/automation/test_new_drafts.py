"""A new rule that nobody has published: kept as far as it is written, and does nothing at all."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from soconnective.automation import drafts, plan
from soconnective.automation.models import Automation, AutomationDraft, AutomationRun, AutomationVersion
from soconnective.automation.references import replace_reference, rules_naming
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from tests.automation.test_flow import note, notes
from tests.factories.records import make_deal, make_rule, move

URL = "/dashboard/automations"
HALF = {
    "name": "Half done", "trigger": "deal.won", "on_failure": "undo", "is_active": "y",
    "if-0-0-field": "amount", "if-0-0-operator": "between", "if-0-0-value": "", "if-0-0-other": "9",
    "steps-0-kind": "create_task", "steps-0-title": "", "steps-0-due_in_days": "3", "steps-0-assign_to": "owner",
    "steps-1-kind": "if", "steps-1-if-0-0-field": "title", "steps-1-if-0-0-operator": "contains", "steps-1-if-0-0-value": "",
    "steps-2-kind": "log_note", "steps-2-body": "kept as typed", "steps-3-kind": "end_if",
}  # fmt: skip
WHOLE = {**HALF, "if-0-0-value": "1", "steps-0-title": "Call", "steps-1-if-0-0-value": "Roll"}


def begin(owner: FlaskClient, data: dict[str, str] = HALF) -> str:
    """Save a new rule as a draft; the address of its page."""
    answer = owner.post(f"{URL}/new", data={**data, "op": "draft"})
    assert answer.status_code == 302, answer.text
    return str(answer.location)


def count(app: Flask, team: Any, what: Any) -> int:
    with app.app_context(), acting_in(team.id):
        found = db.session.scalar(select(func.count()).select_from(what))
        db.session.rollback()
    return int(found or 0)


def test_half_a_rule_is_kept_as_it_is_and_does_nothing(
    app: Flask, team: Any, owner: FlaskClient, version: Any, sign_in: Any
) -> None:
    url = begin(owner)
    shown, listed, edit = owner.get(url).text, owner.get(URL).text, owner.get(f"{url}/edit").text
    assert (
        "It does nothing until you publish it." in shown
        and "“Create a task” is not complete yet: title" in shown
    )
    assert re.search(r'chip warn">draft</span></td>\s*<td><a[^>]*>Half done', listed)
    assert "Not complete yet." in listed
    assert "kept as typed" in edit and 'value="9"' in edit and 'value="3"' in edit and "Edit draft" in edit
    assert "Half done" in sign_in(team.viewer).get(url).text

    with app.app_context(), acting_in(team.id):
        move(make_deal(team.stages["Lead"]), team.stages["Won"])
        assert notes() == [] and db.session.scalars(select(AutomationRun.id)).all() == []
        assert "Half done" not in plan.export_rules().text
        assert plan.plan("").summary == "There are no rules."
        db.session.rollback()
    for what in ("on", "shadow"):
        answer = owner.post(f"{url}/{what}", data={"version": version(owner, f"{url}/edit")})
        assert answer.status_code == 422 and "This is a draft. Publish it" in answer.text
    for page in ("backtest", "apply", "test"):
        assert owner.get(f"{url}/{page}").status_code == 404
    owner.post(f"{url}/draft/publish", data={"version": version(owner, f"{url}/edit")})
    answer = owner.post(f"{url}/edit", data={**HALF, "op": "publish"})
    assert answer.status_code == 422
    assert count(app, team, AutomationVersion) == 0 and not drafts_are_active(app, team)

    answer = owner.post(
        f"{url}/edit", data={**WHOLE, "op": "draft", "version": version(owner, f"{url}/edit")}
    )
    assert answer.status_code == 302 and "not complete" not in owner.get(url).text
    answer = owner.post(
        f"{url}/edit", data={**WHOLE, "op": "publish", "version": version(owner, f"{url}/edit")}
    )
    assert answer.status_code == 302 and "version 1 works from now on" in owner.get(url).text
    with app.app_context(), acting_in(team.id):
        move(make_deal(team.stages["Lead"], amount="5"), team.stages["Won"])
        assert notes() == ["kept as typed"]
        assert "half-done" in plan.export_rules().text
        db.session.rollback()
    assert count(app, team, AutomationDraft) == 0


def drafts_are_active(app: Flask, team: Any) -> bool:
    with app.app_context(), acting_in(team.id):
        found = [rule.looks or bool(rule.trigger) for rule in db.session.scalars(select(Automation))]
        db.session.rollback()
    return any(found)


def test_a_draft_published_off_says_so(owner: FlaskClient, version: Any) -> None:
    url = begin(owner, WHOLE)
    owner.post(f"{url}/draft/publish", data={"version": version(owner, f"{url}/edit")})
    assert "does nothing until you switch it on" in owner.get(url).text
    assert owner.post(f"{url}/on", data={"version": version(owner, f"{url}/edit")}).status_code == 302


def test_a_draft_can_be_copied_deleted_and_taken_back(
    app: Flask, team: Any, owner: FlaskClient, version: Any
) -> None:
    url = begin(owner)
    copied = owner.post(f"{url}/duplicate", data={"version": version(owner, f"{url}/edit")}).location
    assert "Half done (copy)" in owner.get(copied).text
    assert "It is a draft and has never done anything" in owner.get(f"{url}/delete").text
    owner.post(f"{url}/delete", data={"version": version(owner, f"{url}/edit")})
    assert owner.get(f"{url}/edit").status_code == 404 and "Take the deletion back" in owner.get(url).text
    owner.post(f"{url}/restore")
    assert "The draft is back." in owner.get(url).text and "kept as typed" in owner.get(f"{url}/edit").text
    owner.post(f"{url}/draft/discard", data={"version": version(owner, f"{url}/edit")})
    assert owner.get(f"{url}/edit").status_code == 404 and count(app, team, AutomationDraft) == 2


def test_what_is_written_wrongly_is_refused_in_a_draft_too(app: Flask, team: Any, owner: FlaskClient) -> None:
    for wrong in (
        {"name": ""},
        {"trigger": "deal.exploded"},
        {"steps-0-due_in_days": "soon"},
        {"steps-2-body": "kept as typed\x00"},
        {"if-0-0-other": "much"},
        {"steps-0-kind": "rm_rf"},
    ):
        answer = owner.post(f"{URL}/new", data={**HALF, **wrong, "op": "draft"})
        assert answer.status_code == 422, wrong
        assert 'id="mistakes"' in answer.text and "kept as typed" in answer.text, wrong
    assert count(app, team, Automation) == 0


def test_a_draft_sent_twice_is_one(app: Flask, team: Any, owner: FlaskClient) -> None:
    for _ in range(2):
        begin(owner, {**HALF, "form_key": "the same"})
    assert count(app, team, Automation) == 1


def test_what_a_draft_names_is_replaced_without_publishing_it(app: Flask, team: Any, inside: Any) -> None:
    rule = make_rule("deal.stage_changed", [note("x")], settings={"to_stage_id": team.stages["Lead"]})
    made = drafts.in_the_making(rule)
    with write_transaction():
        fresh = drafts.begin_draft(made)
    assert [naming.places for naming in rules_naming("stage", team.stages["Lead"])][1] == ["in its draft"]
    with write_transaction():
        replace_reference("stage", team.stages["Lead"], team.stages["Won"])
    assert not fresh.is_published and fresh.key is None
    assert drafts.in_the_making(fresh).trigger.settings.to_stage_id == team.stages["Won"]


def test_a_draft_is_tested_and_backtested_before_it_ever_runs(
    app: Flask, team: Any, owner: FlaskClient, version: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        move(make_deal(team.stages["Lead"], amount="5"), team.stages["Won"])
        db.session.rollback()
    url = begin(owner, WHOLE)
    tested = owner.post(f"{url}/edit", data={**WHOLE, "op": "test", "test-record_id": "1"})
    assert tested.status_code == 200 and "It would run." in tested.text, tested.text
    answer = owner.post(f"{url}/edit", data={**WHOLE, "op": "backtest"})
    assert answer.status_code == 302
    assert "a draft" in owner.get(answer.location).text
    back = owner.get(f"{url}/edit?sweep=1")
    assert back.status_code == 200 and "data-unsaved" in back.text
    lacking = owner.post(f"{url}/edit", data={**HALF, "op": "test", "test-record_id": "1"})
    assert "This cannot be tested yet." in lacking.text
    assert count(app, team, AutomationVersion) == 0 and count(app, team, AutomationRun) == 0

"""Somebody leaves: what rules say of them passes to somebody else, in conditions, branches, steps, drafts and waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from soconnective.accounts.models import Membership
from soconnective.accounts.queries import forget_people
from soconnective.automation import attempt
from soconnective.automation.changes import told
from soconnective.automation.definition import build
from soconnective.automation.drafts import in_the_making, save_draft
from soconnective.automation.lint import alone
from soconnective.automation.models import Automation
from soconnective.automation.operations import create_automation, definition_of, update_automation
from soconnective.automation.queries import versions
from soconnective.automation.references import replace_person, replace_reference, rules_with_person
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from tests.automation.timed import note, notes, work
from tests.factories.records import make_deal, make_rule, move

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
WAIT = ("wait", {"mode": "time", "amount": 1, "unit": "days"})


def owned_by(*persons: int) -> dict[str, Any]:
    value: Any = [str(one) for one in persons] if len(persons) > 1 else str(persons[0])
    operator = "one_of" if len(persons) > 1 else "is"
    return {"match": "all", "items": [{"field": "owner_id", "operator": operator, "value": value}]}


def make(steps: Any, conditions: Any = None, trigger: str = "deal.won") -> Automation:
    with write_transaction():
        return create_automation(build("Theirs", trigger, {}, steps, "undo", conditions), is_active=True)


def test_conditions_branches_and_steps_name_the_other_in_a_version_that_says_so(inside: Any) -> None:
    member, admin, owner = inside.member.id, inside.admin.id, inside.owner.id
    branch = ("if", {"conditions": owned_by(member, owner)})
    task = ("create_task", {"title": "x", "assign_to": "person", "person_id": member})
    rule = make([branch, task, ("end_if", {})], owned_by(member))
    other = make([note("x")], owned_by(owner))
    assert rules_with_person(member) == 1
    with write_transaction():
        assert replace_person(member, admin) == 1
    now = definition_of(rule)
    assert now.conditions.stored()["items"][0]["value"] == str(admin)
    assert now.steps[0].stored()["conditions"]["items"][0]["value"] == sorted([str(admin), str(owner)])
    assert now.steps[1].settings.person_id == admin
    assert rules_with_person(member) == 0 and other.definition_number == 1
    first = told(versions(rule.id))[0]
    assert first.version.number == 2 and first.version.saved_by_name == inside.owner.name
    assert "Acme admin" in first.version.sentence and "Acme member" not in first.version.sentence
    said = str(first.changes)
    assert "member" in said and "admin" in said
    deal = make_deal(inside.stages["Lead"], owner_id=admin)
    move(deal, inside.stages["Won"])
    assert db.session.scalars(select(Automation.id)).all() and notes() == []  # the other's condition: no


def test_a_draft_follows(inside: Any) -> None:
    member, admin = inside.member.id, inside.admin.id
    rule = make_rule(is_active=False)
    with write_transaction():
        save_draft(rule, build("Draft", "deal.updated", {}, [note("x")], "undo", owned_by(member)))
    assert rules_with_person(member) == 1
    with write_transaction():
        assert replace_person(member, admin) == 0  # what it does is the same
    assert in_the_making(rule).conditions.stored()["items"][0]["value"] == str(admin)


def waits(inside: Any, person: int) -> Automation:
    branch = ("if", {"conditions": owned_by(person)})
    with clock.at(NOW):
        rule = make([WAIT, branch, note("theirs"), ("end_if", {})], trigger="deal.created")
        make_deal(inside.stages["Lead"], owner_id=inside.admin.id)
    return rule


@pytest.mark.parametrize("is_rewritten", [False, True])
def test_what_waits_at_an_older_version_goes_on_with_the_other(inside: Any, is_rewritten: bool) -> None:
    rule = waits(inside, inside.member.id)
    with clock.at(NOW + timedelta(hours=1)), write_transaction():
        if is_rewritten:
            update_automation(rule, build("Theirs", "deal.created", {}, [note("new")]))
        replace_person(inside.member.id, inside.admin.id)
    work(NOW + timedelta(days=2))
    assert notes() == ["theirs"]


def test_control_without_it_the_older_version_asks_for_who_is_gone(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits(inside, inside.member.id)
    monkeypatch.setattr(attempt, "replaced_since", lambda definition, _moment: definition)
    with clock.at(NOW + timedelta(hours=1)), write_transaction():
        replace_person(inside.member.id, inside.admin.id)
    work(NOW + timedelta(days=2))
    assert notes() == []


def test_what_was_replaced_before_a_version_does_not_touch_it(inside: Any) -> None:
    """They left, came back, and rules name them again."""
    with clock.at(NOW - timedelta(days=1)), write_transaction():
        replace_person(inside.admin.id, inside.member.id)
    waits(inside, inside.admin.id)
    work(NOW + timedelta(days=2))
    assert notes() == ["theirs"]


def test_a_stage_that_goes_is_replaced_for_what_waits_too(inside: Any) -> None:
    with clock.at(NOW):
        step = ("move_stage", {"stage_id": inside.stages["Qualified"]})
        make([WAIT, step], trigger="deal.created")
        deal = make_deal(inside.stages["Lead"]).id
    with clock.at(NOW + timedelta(hours=1)), write_transaction():
        replace_reference("stage", inside.stages["Qualified"], inside.stages["Proposal"])
    work(NOW + timedelta(days=2))
    assert db.session.get_one(Deal, deal).stage_id == inside.stages["Proposal"]


def test_handing_over_to_nobody_leaves_the_condition_and_says_so(inside: Any) -> None:
    task = ("create_task", {"title": "x", "assign_to": "person", "person_id": inside.member.id})
    branch = ("if", {"conditions": owned_by(inside.member.id, inside.owner.id)})
    rule = make([task, branch, note("x"), ("end_if", {})], owned_by(inside.member.id))
    with write_transaction():
        assert replace_person(inside.member.id, None) == 1
        db.session.scalars(
            select(Membership).where(Membership.user_id == inside.member.id)
        ).one().status = "removed"
    forget_people()
    now = definition_of(rule)
    assert now.steps[0].settings.person_id is None
    assert now.conditions.stored()["items"][0]["value"] == str(inside.member.id)
    assert alone(now) == [
        "In its conditions: Acme member is no longer an active member. Choose somebody else, or take that away.",
        "In step 2: Acme member is no longer an active member. Choose somebody else, or take that away.",
    ]


def test_removing_a_member_on_the_page_hands_the_conditions_over(
    app: Flask, team: Any, owner: FlaskClient, version: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        rule_id = make([note("x")], owned_by(team.member.id)).id
        member = db.session.scalars(
            select(Membership.id).where(Membership.tenant_id == team.id, Membership.user_id == team.member.id)
        ).one()
        db.session.rollback()
    url = f"/dashboard/settings/members/{member}/remove"
    page = owner.get(url)
    assert page.status_code == 200 and "rules that name them" in page.text
    gone = owner.post(url, data={"version": version(owner, url), "to_id": str(team.admin.id)})
    assert gone.status_code == 302
    text = owner.get(f"/dashboard/automations/{rule_id}").text
    assert "owner is Acme admin" in text and "Acme member" in text  # the version before, struck through


def test_disabling_a_member_names_the_rules_and_offers_another_person(
    app: Flask, team: Any, owner: FlaskClient, version: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        task = ("create_task", {"title": "x", "assign_to": "person", "person_id": team.member.id})
        rule_id = make([task]).id
        member = db.session.scalars(
            select(Membership.id).where(Membership.tenant_id == team.id, Membership.user_id == team.member.id)
        ).one()
        db.session.rollback()
    home = f"/dashboard/settings/members/{member}"
    url = f"{home}/disable"
    page = owner.get(url).text
    assert "in step 1" in page and f"/dashboard/automations/{rule_id}" in page
    assert "in step 1" in owner.get(f"{home}/remove").text
    for to_id in (str(team.member.id), "4711", "x"):  # nobody who can take their place: nothing is written
        answer = owner.post(url, data={"version": version(owner, url), "to_id": to_id})
        assert answer.status_code == 422 and "in step 1" in answer.text
    assert owner.post(url, data={"version": version(owner, url)}).status_code == 422  # it has to be answered
    assert owner.post(url, data={"version": version(owner, url), "to_id": ""}).status_code == 302
    assert "Acme member is no longer an active member" in owner.get(f"/dashboard/automations/{rule_id}").text
    assert owner.post(f"{home}/enable", data={"version": version(owner, home)}).status_code == 302
    data = {"version": version(owner, url), "to_id": str(team.admin.id)}
    assert owner.post(url, data=data).status_code == 302
    text = owner.get(f"/dashboard/automations/{rule_id}").text
    assert "Acme admin" in text and "no longer an active member" not in text
    assert "No rule names them." in owner.get(url).text

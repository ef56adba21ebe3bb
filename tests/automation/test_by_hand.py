"""Rules that people run: the button on a record, a selection in a list; conditions count, and once is once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.appointments.operations import schedule_appointment
from soconnective.automation import by_hand
from soconnective.automation.definition import build
from soconnective.automation.models import Automation
from soconnective.automation.operations import create_automation, set_active
from soconnective.core import clock
from soconnective.core.access import acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.core.workspace import enter_workspace
from soconnective.deals.models import Deal
from soconnective.deals.operations import delete_deal
from soconnective.events import EventRow
from soconnective.jobs import Job
from soconnective.tasks.operations import create_task
from tests.automation.timed import note, notes, runs, work
from tests.factories.records import make_company, make_contact, make_deal, make_rule

BIG = {"match": "all", "items": [{"field": "amount", "operator": "at_least", "value": "100"}]}


class Inside:
    """Work in the team's workspace between requests: a context that stays open would share its `g` with them."""

    def __init__(self, app: Flask, team: Any) -> None:
        self.app, self.team = app, team

    def __call__(self, function: Any, *args: Any, **more: Any) -> Any:
        with self.app.app_context(), acting_in(self.team.id), acting_as(self.team.owner.actor):
            try:
                return function(*args, **more)
            finally:
                db.session.rollback()
                enter_workspace(None)

    def rule(self, kind: str = "deal", conditions: Any = None, name: str = "Say it") -> int:
        body = "said" if kind != "deal" else "{{ deal.title }}, says {{ actor.name }}"
        definition = (name, f"{kind}.picked_by_hand", {}, [note(body)], "undo", conditions)

        def _make() -> int:
            with write_transaction():
                return create_automation(build(*definition), is_active=True).id

        return int(self(_make))

    def deal(self, title: str = "Roll-out", **values: Any) -> int:
        return int(self(lambda: make_deal(self.team.stages["Lead"], title, **values).id))

    def switch_off(self, rule_id: int) -> None:
        def _off() -> None:
            with write_transaction():
                set_active(db.session.get_one(Automation, rule_id), False)

        self(_off)

    def notes(self) -> list[str]:
        return list(self(notes))

    def outcomes(self) -> list[tuple[int | None, str]]:
        return list(self(lambda: [(run.automation_id, run.outcome) for run in runs()]))

    def work(self) -> None:
        self(lambda: work(clock.now()))

    def jobs(self) -> list[tuple[dict[str, Any], str, str]]:
        def _jobs() -> list[Any]:
            rows = db.session.scalars(select(Job).where(Job.kind == by_hand.SELECTION))
            return [(row.payload, row.state, row.error) for row in rows]

        return list(self(_jobs))


@pytest.fixture
def inside(app: Flask, team: Any) -> Inside:
    return Inside(app, team)


@pytest.fixture
def member(sign_in: Any, team: Any) -> Any:
    return sign_in(team.member)


def press(client: Any, rule_id: int, record_id: Any, **more: Any) -> Any:
    return client.post(f"/dashboard/automations/{rule_id}/press", data={"record_id": record_id, **more})


def test_a_button_runs_its_rule_as_the_person(inside: Inside, member: Any) -> None:
    found, other = inside.rule(), inside.rule(name="Another")
    deal = inside.deal()
    page = member.get(f"/dashboard/deals/{deal}").text
    assert f"/dashboard/automations/{found}/press" in page and f"/dashboard/automations/{other}/press" in page
    answer = press(member, found, deal)
    assert answer.headers["Location"].endswith(f"/dashboard/deals/{deal}")
    page = member.get(answer.headers["Location"]).text
    assert "“Say it”: success: note logged." in page and "Rule run by hand" in page
    assert inside.notes() == ["Roll-out, says Acme member"]
    fact = select(EventRow.actor_kind, EventRow.actor_id).where(EventRow.name == "deal.picked_by_hand")
    assert inside(lambda: tuple(db.session.execute(fact).one())) == ("person", inside.team.member.id)
    assert inside.outcomes() == [(found, "succeeded")]


def test_a_rule_that_did_not_look_says_for_whom_it_was(inside: Inside, owner: Any) -> None:
    found = inside.rule()
    inside.rule(name="Another")
    deal = inside.deal()
    press(owner, found, deal)
    asked = select(EventRow.id).where(EventRow.name == "deal.picked_by_hand")
    event = inside(lambda: db.session.scalars(asked).one())
    assert "This was meant for another rule alone." in owner.get(f"/dashboard/automations/why/{event}").text


@pytest.mark.parametrize("kind", ["contact", "company", "deal", "task", "appointment"])
def test_every_kind_of_record_has_buttons_and_marks(inside: Inside, owner: Any, kind: str) -> None:
    found = inside.rule(kind)
    make: dict[str, Any] = {
        "contact": make_contact,
        "company": make_company,
        "deal": lambda: make_deal(inside.team.stages["Lead"]),
        "task": lambda: create_task("Call", assignee_id=inside.team.owner.id),
        "appointment": lambda: schedule_appointment(
            "Demo", clock.now() + timedelta(hours=1), clock.now() + timedelta(hours=2)
        ),
    }

    def _make() -> int:
        with write_transaction():
            made = make[kind]()
        return int(made.id)

    record_id = inside(_make)
    area = {"company": "companies"}.get(kind, f"{kind}s")
    listed = owner.get(f"/dashboard/{area}").text
    assert f'form="marked" name="ids" value="{record_id}"' in listed and 'id="marked"' in listed
    assert f"/dashboard/automations/{found}/press" in owner.get(f"/dashboard/{area}/{record_id}").text
    press(owner, found, record_id)
    assert inside.outcomes() == [(found, "succeeded")]
    inside.switch_off(found)
    assert "marked" not in owner.get(f"/dashboard/{area}").text.replace("bookmarked", "")
    assert "/press" not in owner.get(f"/dashboard/{area}/{record_id}").text


def test_conditions_count(inside: Inside, owner: Any) -> None:
    found, deal = inside.rule(conditions=BIG), inside.deal(amount="5")
    press(owner, found, deal)
    assert "did not match: amount is at least 100, was 5.00" in owner.get(f"/dashboard/deals/{deal}").text
    assert inside.notes() == []


def test_pressed_twice_with_one_form_is_once(inside: Inside, owner: Any) -> None:
    found, deal = inside.rule(), inside.deal()
    for _ in range(2):
        press(owner, found, deal, form_key="one")
    assert len(inside.notes()) == 1
    press(owner, found, deal, form_key="two")
    assert len(inside.notes()) == 2


def test_who_may_not_edit_has_no_button(inside: Inside, team: Any, sign_in: Any) -> None:
    found, deal = inside.rule(), inside.deal()
    viewer = sign_in(team.viewer)
    assert "/press" not in viewer.get(f"/dashboard/deals/{deal}").text
    assert "marked" not in viewer.get("/dashboard/deals").text
    assert press(viewer, found, deal).status_code == 403 and inside.notes() == []
    assert viewer.get("/dashboard/automations/pick?type=deal&ids=1").status_code == 403


@pytest.mark.parametrize("record", ["", "x", "²", "999", "9" * 400, "-1"])
def test_a_record_that_is_none_is_a_404(inside: Inside, owner: Any, record: str) -> None:
    assert press(owner, inside.rule(), record).status_code == 404


def test_a_rule_that_is_off_or_waits_for_something_else_is_not_run(inside: Inside, owner: Any) -> None:
    found, deal = inside.rule(), inside.deal()
    other = inside(lambda: make_rule("deal.won", [note("x")]).id)
    assert press(owner, other, deal).status_code == 404
    inside.switch_off(found)
    press(owner, found, deal)
    assert "This rule is switched off." in owner.get(f"/dashboard/deals/{deal}").text
    assert inside.notes() == [] and inside.outcomes() == []


def test_another_workspaces_record_or_rule_is_a_404(
    app: Flask, inside: Inside, owner: Any, rivals: Any
) -> None:
    found = inside.rule()
    them = Inside(app, rivals)
    for _ in range(3):
        them.deal("Pad")
    theirs, their_rule = them.deal(), them.rule()
    deal = inside.deal()
    assert press(owner, found, theirs).status_code == 404
    assert press(owner, their_rule, deal).status_code == 404
    for path in (f"ids={theirs}", "ids=x", "type=nonsense&ids=1", ""):
        answer = owner.get(f"/dashboard/automations/pick?type=deal&{path}")
        assert answer.status_code == 200 and "Nothing is marked" in answer.text


def pick(client: Any, rule_id: Any, ids: Any) -> Any:
    return client.post(
        "/dashboard/automations/pick", data={"type": "deal", "ids": ids, "automation_id": rule_id}
    )


def test_a_selection_runs_in_slices_as_the_person(inside: Inside, member: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(by_hand, "SLICE", 2)
    found = inside.rule(conditions=BIG)
    ids = [inside.deal(title, amount="500") for title in "abcd"]
    ids.append(inside.deal("small", amount="5"))
    page = member.get("/dashboard/automations/pick", query_string={"type": "deal", "ids": ids}).text
    refused = pick(member, "None", ids)
    assert refused.status_code == 422 and "Choose which rule is to run." in refused.text
    assert "Run a rule on 5 deals" in page and len(re.findall(r'name="ids"', page)) == 5
    assert f'<option selected value="{found}">' in page  # there is no other one
    answer = pick(member, found, ids)
    assert answer.status_code == 302 and f"automation_id={found}" in answer.headers["Location"]
    assert "It runs on 5 deals now" in member.get(answer.headers["Location"]).text and inside.notes() == []
    [(payload, _state, _error)] = inside.jobs()
    assert inside(lambda: by_hand.RunOnSelection().describe(payload)) == "“Say it”, 0 of 5 records"
    inside.work()
    assert inside.notes() == [f"{title}, says Acme member" for title in "abcd"]
    assert sorted({outcome for _rule, outcome in inside.outcomes()}) == ["not_matched", "succeeded"]
    [(payload, state, _error)] = inside.jobs()
    assert inside(lambda: by_hand.RunOnSelection().describe(payload)) == "“Say it”, 5 of 5 records"
    assert state == "done"


def test_a_selection_stops_when_its_rule_is_switched_off(inside: Inside, owner: Any) -> None:
    found, deal = inside.rule(), inside.deal()
    pick(owner, found, [deal])
    inside.switch_off(found)
    inside.work()
    assert inside.notes() == []
    assert "switched off" in inside.jobs()[0][2]


@pytest.mark.parametrize("chosen", ["", "999", "x", "9" * 300])
def test_a_selection_without_a_rule_is_refused(inside: Inside, owner: Any, chosen: str) -> None:
    inside.rule()
    deal = inside.deal()
    answer = pick(owner, chosen, [deal])
    assert answer.status_code == 422 and "field-error" in answer.text
    assert inside.jobs() == []


def test_records_that_are_gone_are_passed_over(app: Flask, inside: Inside, owner: Any) -> None:
    found = inside.rule()
    ids = [inside.deal(title) for title in "ab"]
    pick(owner, found, ids)

    def _delete() -> None:
        with write_transaction():
            delete_deal(db.session.get_one(Deal, ids[0]))

    inside(_delete)
    inside.work()
    assert inside.notes() == ["b, says Acme owner"]

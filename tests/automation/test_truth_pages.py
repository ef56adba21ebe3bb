"""The pages: Test, Backtest, Apply to existing records, and the three states; without script."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from soconnective.automation.models import Automation
from soconnective.automation.sweep_models import Sweep
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Worker
from tests.factories.records import make_deal, make_rule, move
from tests.proofs.digests import digest_now

RULES = "/dashboard/automations"
DRAFT = {"name": "Draft", "trigger": "deal.won", "on_failure": "undo", "op": "test",
         "steps-0-kind": "create_task", "steps-0-title": "Call {{ deal.title }}", "steps-0-due_in_days": "1"}  # fmt: skip


@pytest.fixture
def ids(app: Flask, team: Any) -> dict[str, int]:
    with app.app_context(), acting_in(team.id):
        rule = make_rule(is_active=False)
        deal = make_deal(team.stages["Lead"], "Wonderful", amount="900")
        move(deal, team.stages["Won"])
        found = {"rule": rule.id, "deal": deal.id}
        db.session.rollback()
    return found


def state_of(app: Flask, team: Any, rule_id: int) -> str:
    with app.app_context(), acting_in(team.id):
        state = db.session.get_one(Automation, rule_id).state
        db.session.rollback()
    return state


def test_a_rule_is_tested_on_an_event_and_on_a_record(
    app: Flask, owner: FlaskClient, ids: dict[str, int]
) -> None:
    page = owner.get(f"{RULES}/{ids['rule']}").text
    event_id = re.search(r'<option[^>]*value="(\d+)">[^<]*Wonderful', page)
    assert event_id is not None
    before = digest_now(app)
    url = f"{RULES}/{ids['rule']}/test"
    answer = owner.post(url, data={"op": "test", "test-event_id": event_id[1]})
    assert answer.status_code == 200 and "It would run." in answer.text
    assert "task created; note logged" in answer.text and "“Kick off Wonderful”" in answer.text
    answer = owner.post(url, data={"op": "test", "test-record_id": ids["deal"]})
    assert answer.status_code == 200 and "As if it happened now" in answer.text
    after = digest_now(app)
    assert {name for name in after if after[name] != before[name]} == set()


def test_what_is_not_there_is_refused_beside_its_field(owner: FlaskClient, ids: dict[str, int]) -> None:
    url = f"{RULES}/{ids['rule']}/test"
    for data in (
        {"test-event_id": ""},
        {"test-event_id": "99999"},
        {"test-record_id": "99999"},
        {"test-record_id": "²"},
        {"test-event_id": "x" * 9999},
    ):
        answer = owner.post(url, data={"op": "test", **data})
        assert answer.status_code == 422 and "field-error" in answer.text, data
    assert owner.post(url, data={}).status_code == 302


def test_a_draft_is_tested_in_the_builder(app: Flask, owner: FlaskClient, ids: dict[str, int]) -> None:
    for url in (f"{RULES}/new", f"{RULES}/{ids['rule']}/edit"):
        page = owner.get(url).text
        assert "Test it before you save" in page
        before = digest_now(app)
        answer = owner.post(url, data={**DRAFT, "test-record_id": ids["deal"]})
        assert answer.status_code == 200 and "It would run." in answer.text
        assert "“Call Wonderful”" in answer.text and 'value="Draft"' in answer.text
        answer = owner.post(url, data={**DRAFT, "steps-0-title": "", "test-record_id": ids["deal"]})
        assert answer.status_code == 422 and "It would run." not in answer.text
        answer = owner.post(url, data={**DRAFT, "test-record_id": "77777"})
        assert "Choose one of the list." in answer.text
        answer = owner.post(url, data={**DRAFT, "trigger": "contact.created", "test-record_id": ids["deal"]})
        assert "Choose one of the list." in answer.text or "There is no field" in answer.text
        assert digest_now(app) == before


def test_a_backtest_from_start_to_end(app: Flask, team: Any, owner: FlaskClient, ids: dict[str, int]) -> None:
    url = f"{RULES}/{ids['rule']}/backtest"
    for number, unit in (
        ("", "events"),
        ("0", "events"),
        ("10001", "events"),
        ("91", "days"),
        ("x", "days"),
        ("5", "years"),
    ):
        answer = owner.post(url, data={"number": number, "unit": unit})
        assert answer.status_code == 422 and "field-error" in answer.text, (number, unit)
    answer = owner.post(url, data={"number": "100", "unit": "events"})
    sweep_url = answer.headers["Location"]
    page = owner.get(sweep_url).text
    assert "<progress" in page and "Cancel it" in page and 'hx-trigger="every 2s"' in page
    Worker(app, poll=0.01).turn()
    Worker(app, poll=0.01).turn()
    page = owner.get(sweep_url).text
    assert "<progress" not in page and "runs a week" in page and "would have run" in page
    assert "Wonderful" in page and "would create task “Kick off Wonderful”" in re.sub(r"\s+", " ", page)
    assert "None of these" in owner.get(f"{sweep_url}?outcome=failed").text
    assert owner.post(f"{sweep_url}/cancel", follow_redirects=True).text.count("It has ended already.") == 1
    assert "The last 100 events" in owner.get(url).text


def test_a_draft_is_backtested_from_the_builder(
    app: Flask, team: Any, owner: FlaskClient, ids: dict[str, int]
) -> None:
    for url in (f"{RULES}/new", f"{RULES}/{ids['rule']}/edit"):
        answer = owner.post(url, data={**DRAFT, "op": "backtest", "steps-0-title": ""})
        assert answer.status_code == 422 and "field-error" in answer.text
        answer = owner.post(
            url, data={**DRAFT, "op": "backtest", "trigger": "task.completed", "steps-0-title": "x"}
        )
        assert answer.status_code == 422 and "Nothing of this kind has happened yet" in answer.text
        answer = owner.post(url, data={**DRAFT, "op": "backtest"})
        assert answer.status_code == 302
        Worker(app, poll=0.01).turn()
        Worker(app, poll=0.01).turn()
        page = owner.get(answer.headers["Location"]).text
        assert "a draft" in page and "“Call Wonderful”" in page
    with app.app_context(), acting_in(team.id):
        assert [rule.name for rule in db.session.scalars(select(Automation))] == ["Won kickoff"]
        db.session.rollback()


def test_a_rule_is_applied_from_start_to_end(
    app: Flask, team: Any, owner: FlaskClient, ids: dict[str, int], version: Any
) -> None:
    url = f"{RULES}/{ids['rule']}/apply"
    page = owner.get(url).text
    assert "It is switched off." in page
    here = f"{RULES}/{ids['rule']}"
    assert owner.post(url, data={"version": version(owner, here)}).status_code == 422
    owner.post(f"{RULES}/{ids['rule']}/on", data={"version": version(owner, f"{RULES}/{ids['rule']}")})
    page = owner.get(url).text
    assert "1 deal matches its conditions now" in page and "Wonderful" in page
    assert owner.post(url, data={"version": "1"}).status_code == 409
    answer = owner.post(url, data={"version": version(owner, url)})
    sweep_url = answer.headers["Location"]
    assert "<progress" in owner.get(sweep_url).text
    Worker(app, poll=0.01).turn()
    page = owner.get(sweep_url).text
    assert "1 of 1 records" in page and "success" in page and "<progress" not in page
    assert "Rule applied" in owner.get(f"/dashboard/deals/{ids['deal']}").text


def test_the_three_states_are_buttons(
    app: Flask, team: Any, owner: FlaskClient, ids: dict[str, int], version: Any
) -> None:
    for state in ("shadow", "on", "shadow", "off"):
        for url in (RULES, f"{RULES}/{ids['rule']}"):
            page = owner.get(url).text
            assert all(f'/{ids["rule"]}/{what}"' in page for what in ("off", "shadow", "on")), url
        owner.post(f"{RULES}/{ids['rule']}/{state}", data={"version": version(owner, RULES)})
        assert state_of(app, team, ids["rule"]) == state
        pressed = re.findall(r'aria-pressed="true"[^>]*>(\w+)<', owner.get(RULES).text)
        assert pressed == [state]
    assert owner.post(f"{RULES}/{ids['rule']}/on", data={"version": "1"}).status_code == 409


def test_who_may_only_look_gets_a_chip_and_no_card(
    app: Flask, team: Any, sign_in: Any, ids: dict[str, int]
) -> None:
    viewer = sign_in(team.viewer)
    page = viewer.get(f"{RULES}/{ids['rule']}").text
    assert "segments" not in page and "test-event_id" not in page and "Backtest" not in page
    for what in ("test", "backtest", "apply"):
        assert viewer.post(f"{RULES}/{ids['rule']}/{what}", data={"op": "test"}).status_code == 403
        assert viewer.get(f"{RULES}/{ids['rule']}/{what}").status_code == 403
    with app.app_context(), acting_in(team.id):
        assert db.session.scalars(select(Sweep)).all() == []
        db.session.rollback()

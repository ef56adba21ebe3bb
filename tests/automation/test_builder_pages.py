"""The builder page: rows by small buttons, everything wrong beside its field, a clash with both sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text

from soconnective.automation.forms import MAX_STEPS
from soconnective.automation.models import Automation, AutomationVersion
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from tests.factories.records import make_rule

NEW = "/dashboard/automations/new"
RULE = {"name": "Kick-off", "trigger": "deal.won", "on_failure": "undo", "is_active": "y"}
TWO = {
    "steps-0-kind": "log_note",
    "steps-0-body": "first",
    "steps-1-kind": "log_note",
    "steps-1-body": "second",
}


@pytest.fixture
def rule_id(app: Flask, team: Any) -> int:
    with app.app_context(), acting_in(team.id):
        return make_rule().id


@pytest.fixture
def saved(app: Flask, team: Any) -> Iterator[Any]:
    """The versions of all rules, oldest first, as their sentences."""

    def read() -> list[str]:
        with app.app_context(), acting_in(team.id):
            found = list(
                db.session.scalars(select(AutomationVersion.sentence).order_by(AutomationVersion.id))
            )
            db.session.rollback()
        return found

    return read


def bodies(page: str) -> list[str]:
    return re.findall(r"<textarea[^>]*>\s*(.*?)</textarea>", page, re.DOTALL)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("add:log_note", ["first", "second", ""]),
        ("remove:0", ["second"]),
        ("up:1", ["second", "first"]),
        ("down:0", ["second", "first"]),
        ("up:0", ["first", "second"]),
        ("down:1", ["first", "second"]),
        ("remove:7", ["first", "second"]),
        ("remove:²", ["first", "second"]),
        ("remove:-1", ["first", "second"]),
        ("up:" + "9" * 5000, ["first", "second"]),
        ("add:rm_rf", ["first", "second"]),
    ],
)
@pytest.mark.parametrize("by_script", [True, False])
def test_a_button_changes_the_rows_and_keeps_the_texts(
    owner: FlaskClient, saved: Any, op: str, expected: list[str], by_script: bool
) -> None:
    headers = {"HX-Request": "true"} if by_script else {}
    answer = owner.post(NEW, data={**RULE, **TWO, "op": op}, headers=headers)
    assert answer.status_code == 200
    assert bodies(answer.text) == expected
    assert ("<html" in answer.text) is not by_script
    assert 'value="Kick-off"' in answer.text
    assert saved() == []


def test_the_sentence_follows_what_is_typed(owner: FlaskClient) -> None:
    answer = owner.post(NEW, data={**RULE, **TWO, "op": "sentence"})
    assert "When a deal is won → log note “first”, log note “second”" in answer.text
    empty = owner.post(NEW, data={**RULE, "steps-0-kind": "create_task", "op": "sentence"})
    assert "When a deal is won → create a task …" in empty.text


def test_a_trigger_brings_its_own_fields(owner: FlaskClient) -> None:
    answer = owner.post(NEW, data={**RULE, **TWO, "trigger": "deal.stage_changed", "op": "trigger"})
    assert 'name="trigger-from_stage_id"' in answer.text and 'name="trigger-to_stage_id"' in answer.text
    assert 'name="trigger-from_stage_id"' not in owner.get(NEW).text


def test_the_rows_are_saved_in_their_order(owner: FlaskClient, saved: Any) -> None:
    rows = {"steps-9-kind": "log_note", "steps-9-body": "last", **TWO}
    assert owner.post(NEW, data={**RULE, **rows}).status_code == 302
    assert saved() == ["When a deal is won → log note “first”, log note “second”, log note “last”"]


def test_too_many_rows_are_refused_not_dropped(owner: FlaskClient, saved: Any) -> None:
    full = {}
    for n in range(MAX_STEPS):
        full |= {f"steps-{n}-kind": "log_note", f"steps-{n}-body": f"b{n}"}
    over = {**full, "steps-9999-kind": "log_note", "steps-9999-body": "one more"}
    answer = owner.post(NEW, data={**RULE, **over})
    assert answer.status_code == 422 and f"at most {MAX_STEPS} steps" in answer.text
    answer = owner.post(NEW, data={**RULE, **full, "op": "add:log_note"})
    assert answer.status_code == 200 and f"at most {MAX_STEPS} steps" in answer.text
    assert saved() == []
    assert owner.post(NEW, data={**RULE, **full}).status_code == 302


def test_everything_wrong_is_said_at_once(owner: FlaskClient, saved: Any) -> None:
    rows = {"steps-0-kind": "log_note", "steps-0-body": "{{ deal.nope }}", "steps-1-kind": "create_task",
            "steps-1-title": "{{ deal.nada }}", "steps-1-due_in_days": "1", "steps-1-assign_to": "person"}  # fmt: skip
    answer = owner.post(NEW, data={**RULE, **rows})
    assert answer.status_code == 422
    for message in ("no field “deal.nope”", "no field “deal.nada”", "Choose who gets the task"):
        assert message in answer.text
    assert "{{ deal.nope }}" in answer.text and saved() == []


def test_mistakes_of_every_kind_come_at_once_and_each_has_a_link(owner: FlaskClient, saved: Any) -> None:
    rows = {
        "steps-0-kind": "create_task", "steps-0-title": "", "steps-0-due_in_days": "soon",
        "steps-1-kind": "log_note", "steps-1-body": "{{ deal.nope }}", "steps-2-kind": "if",
        "steps-2-if-0-0-field": "amount", "steps-2-if-0-0-operator": "at_least", "steps-2-if-0-0-value": "much",
        "if-0-0-field": "title", "if-0-0-operator": "contains", "if-0-0-value": "",
    }  # fmt: skip
    answer = owner.post(NEW, data={**RULE, **rows, "name": ""})
    assert answer.status_code == 422 and saved() == []
    found = re.search(r'id="mistakes".*?<ul[^>]*>(.*?)</ul>', answer.text, re.DOTALL)
    assert found is not None
    links = dict(re.findall(r'<li><a href="#([^"]*)">([^<]*)</a>', found[1]))
    assert links == {
        "name": "Name",
        "if-0-0-value": "Only if",
        "steps-0-title": "Step 1 (Create a task), Title",
        "steps-0-due_in_days": "Step 1 (Create a task), Due in days",
        "steps-1-body": "Step 2 (Log a note), Note",
        "steps-2-if-0-0-value": "Step 3 (If)",
        "step-3": "Step 3 (If)",
    }
    assert all(f'id="{target}"' in answer.text for target in links)
    assert answer.text.count("field-error") == found[1].count("<li>") and "This “if” has no end." in found[1]


def test_a_rule_without_actions_is_refused(owner: FlaskClient, saved: Any) -> None:
    answer = owner.post(NEW, data=RULE)
    assert answer.status_code == 422 and "at least one action" in answer.text and saved() == []


def test_from_a_stage_to_the_same_is_refused_beside_the_field(owner: FlaskClient, team: Any) -> None:
    stage = team.stages["Lead"]
    data = {
        **RULE,
        **TWO,
        "trigger": "deal.stage_changed",
        "trigger-from_stage_id": stage,
        "trigger-to_stage_id": stage,
    }
    answer = owner.post(NEW, data=data)
    assert answer.status_code == 422 and 'id="trigger-to_stage_id-error"' in answer.text


def test_another_workspaces_stage_and_person_are_no_choice(
    owner: FlaskClient, rivals: Any, saved: Any
) -> None:
    data = {**RULE, **TWO, "trigger": "deal.stage_changed", "trigger-to_stage_id": rivals.stages["Won"]}
    assert owner.post(NEW, data=data).status_code == 422
    task = {"steps-0-kind": "create_task", "steps-0-title": "T", "steps-0-due_in_days": "1",
            "steps-0-assign_to": "person", "steps-0-person_id": rivals.member.id}  # fmt: skip
    assert owner.post(NEW, data={**RULE, **task}).status_code == 422
    assert saved() == []


def test_a_clash_shows_both_sentences_and_loses_neither(
    owner: FlaskClient, rule_id: int, saved: Any, version: Any
) -> None:
    url = f"/dashboard/automations/{rule_id}/edit"
    old = version(owner, url)
    assert owner.post(url, data={**RULE, **TWO, "version": old}).status_code == 302
    mine = {**RULE, "steps-0-kind": "log_note", "steps-0-body": "mine"}
    answer = owner.post(url, data={**mine, "version": old})
    assert answer.status_code == 409
    table = re.search(r'role="alert">(.*?)</table>', answer.text, re.DOTALL)
    assert table and "log note “mine”" in table[1] and "log note “first”, log note “second”" in table[1]
    assert "a deal is won" not in re.findall(r"<td>(.*?)</td>", table[1])  # the trigger is the same: no clash
    assert bodies(answer.text) == ["mine"]
    assert len(saved()) == 2
    assert owner.post(url, data={**mine, "version": version(owner, url)}).status_code == 302
    assert saved()[-1] == "When a deal is won → log note “mine”"


def test_a_clash_of_the_switch_alone_is_shown(owner: FlaskClient, rule_id: int, version: Any) -> None:
    url = f"/dashboard/automations/{rule_id}"
    old = version(owner, f"{url}/edit")
    assert owner.post(f"{url}/off", data={"version": old}).status_code == 302
    answer = owner.post(f"{url}/edit", data={**RULE, **TWO, "version": old})
    assert answer.status_code == 409
    assert re.search(r"<td>Switched on</td><td>yes</td><td>no</td>", answer.text)


BREAK = {
    "trigger gone": "UPDATE automations SET trigger = 'deal.exploded'",
    "trigger unreadable": """UPDATE automations SET trigger_settings = '{"x": 1}'""",
    "action gone": "UPDATE automation_steps SET kind = 'rm_rf' WHERE position = 0",
    "unreadable": """UPDATE automation_steps SET settings = '{"title": {"a": [1]}, "person_id": [1], "due_in_days": "x"}'""",
    "nothing": "UPDATE automation_steps SET settings = '{}'",
}


@pytest.mark.parametrize("how", BREAK)
def test_a_broken_rule_says_so_everywhere_and_can_be_mended(
    app: Flask, team: Any, owner: FlaskClient, rule_id: int, how: str
) -> None:
    with app.app_context(), acting_in(team.id):
        connection = db.session.connection()
        connection.execute(text(BREAK[how]))
        rule = db.session.get_one(Automation, rule_id)
        version = rule.version
        db.session.commit()
    url = f"/dashboard/automations/{rule_id}"
    assert owner.get(url).status_code == 200
    page = owner.get(f"{url}/edit")
    assert page.status_code == 200 and "field-error" in page.text
    assert owner.post(f"{url}/on", data={"version": version}).status_code in (302, 422)
    assert owner.post(f"{url}/edit", data={**RULE, **TWO, "version": version}).status_code == 302
    assert owner.get(url).text.count("notice danger") == 0


def test_a_gone_trigger_is_not_replaced_unasked(
    app: Flask, team: Any, owner: FlaskClient, rule_id: int
) -> None:
    with app.app_context(), acting_in(team.id):
        db.session.connection().execute(text("UPDATE automations SET trigger = 'deal.exploded'"))
        db.session.commit()
    page = owner.get(f"/dashboard/automations/{rule_id}/edit").text
    assert re.search(r'<option[^>]*value="">choose …', page)
    answer = owner.post(
        f"/dashboard/automations/{rule_id}/edit", data={**RULE, **TWO, "trigger": "", "version": 1}
    )
    assert answer.status_code == 422 and "Choose when the rule looks" in answer.text

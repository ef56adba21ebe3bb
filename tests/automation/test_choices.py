"""Lists to choose from in the builder: under plain headings, and no two choices that read the same."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from soconnective.automation.registry import action_types, trigger_types
from soconnective.core import clock
from soconnective.core.conditions import fields_of
from soconnective.core.db import db
from soconnective.core.registry import registry
from soconnective.core.tenancy import acting_in
from tests.factories.records import make_company, make_deal, make_rule

NEW = "/dashboard/automations/new"


def choices(page: str) -> dict[str, list[str]]:
    """Each list of the page: its choices, each with its heading."""
    found = {}
    for name, inside in re.findall(r'<select[^>]*?name="([^"]*)"[^>]*>(.*?)</select>', page, re.DOTALL):
        heading, said = "", []
        for group, text in re.findall(r'<optgroup label="([^"]*)"|<option[^>]*>([^<]*)</option>', inside):
            heading = group or heading
            said += [f"{heading} > {text.strip()}" if heading else text.strip()] if text else []
        found[name] = said
    return found


@pytest.fixture
def twins(app: Flask, team: Any) -> None:
    """Records that share their names, and rules, too."""
    with app.app_context(), acting_in(team.id):
        first, second = make_company("Initech"), make_company("Initech", domain="initech.example")
        make_company("Umbrella")
        make_rule("deal.rule_started", name="Twin")
        make_rule("deal.rule_started", name="Twin")
        for company in (first, second):
            make_deal(team.stages["Lead"], "Roll-out", company_id=company.id)
        for _ in range(2):
            make_deal(team.stages["Won"], "Licence")
        db.session.rollback()


def test_no_two_choices_of_a_list_read_the_same(owner: FlaskClient, twins: None) -> None:
    kinds = [kind for kind in action_types() if kind not in ("otherwise", "otherwise_if", "end_if")]
    steps = {f"steps-{number}-kind": kind for number, kind in enumerate(kinds)}
    seen = 0
    for trigger in (
        "deal.won",
        "contact.created",
        "company.created",
        "task.completed",
        "appointment.scheduled",
    ):
        for field in fields_of(trigger_types()[trigger].record_type):
            data = {"name": "x", "trigger": trigger, "op": "if", "if-0-0-field": field, **(steps if field in ("title", "name") else {})}  # fmt: skip
            for name, said in choices(owner.post(NEW, data=data).text).items():
                same = [
                    text for text, count in Counter(text.casefold() for text in said).items() if count > 1
                ]
                assert not same, (trigger, field, name, same)
                seen += len(said)
    assert seen > 3000


def test_the_fields_stand_under_headings(owner: FlaskClient, team: Any) -> None:
    found = choices(owner.post(NEW, data={"name": "x", "trigger": "deal.won", "op": "if:add"}).text)
    said = found["if-0-0-field"]
    assert said[0] == "The deal > Title" and "The deal > Company" in said
    assert "Its company > Company&#39;s domain" in said and "Its contact > Contact&#39;s e-mail" in said
    assert said[-2:] == ["Tags > Tags", "The change itself > Done by"]
    assert found["if-0-0-operator"][0] == "As it is now > is"
    assert found["if-0-0-operator"][-1] == "What has just changed > was changed to"
    data = {"name": "x", "trigger": "deal.won", "op": "if", "if-0-0-field": "actor_kind"}
    assert choices(owner.post(NEW, data=data).text)["if-0-0-operator"][0] == "is"


def test_a_related_field_is_named_after_its_record(app: Flask) -> None:
    related = [
        field.name for kind in registry.record_types for field in fields_of(kind).values() if field.is_related
    ]
    assert len(related) >= 9 and {name.partition("_")[0] for name in related} <= set(registry.record_types)


def test_records_to_test_on_are_told_apart(app: Flask, team: Any, owner: FlaskClient, twins: None) -> None:
    found = choices(owner.get(NEW).text)
    today = clock.today("Europe/Madrid").strftime("%a %-d %b %Y")
    assert [text for text in found["test-record_id"] if text.startswith("Roll-out")][
        1
    ] == f"Roll-out · Initech · Lead · {today} · no. 2"
    events = [text for text in found["test-event_id"] if "Licence" in text]
    assert len(events) == 2 and all(f": Licence · Won · {today} · no. " in text for text in events)

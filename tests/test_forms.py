"""What bad input gets, on every form: a message, 422, what was typed kept, nothing written."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text

from soconnective.core.db import db
from soconnective.core.model import Base
from soconnective.core.tenancy import acting_in
from tests.factories.records import make_contact, make_deal

GOOD: dict[str, dict[str, Any]] = {
    "contacts": {"first_name": "Ana", "last_name": "Ruiz", "email": "ana@x.example", "phone": "+34600123456"},
    "companies": {"name": "Alder", "domain": "alder.example"},
    "deals": {"title": "Pilot", "amount": "1250.50"},
    "tasks": {"title": "Call", "due_on": "2026-12-01"},
    "appointments": {"title": "Demo", "starts_at": "2026-12-01T10:00", "ends_at": "2026-12-01T11:00"},
    "automations": {"name": "Rule", "trigger": "deal.won", "on_failure": "undo", "steps-0-kind": "log_note", "steps-0-body": "Hi"},
}  # fmt: skip
BAD = [
    ("contacts", {"first_name": "", "last_name": ""}),
    ("contacts", {"email": "not an address"}),
    ("contacts", {"phone": "call me"}),
    ("contacts", {"first_name": "x" * 101}),
    ("contacts", {"last_name": "nul\x00"}),
    ("contacts", {"company_id": "999999"}),
    ("contacts", {"owner_id": "abc"}),
    ("contacts", {"owner_id": "9" * 5000}),
    ("companies", {"name": ""}),
    ("companies", {"domain": "no domain"}),
    ("deals", {"title": " "}),
    ("deals", {"amount": "NaN"}),
    ("deals", {"amount": "-1"}),
    ("deals", {"amount": "1e30"}),
    ("deals", {"amount": "Infinity"}),
    ("deals", {"currency": "XXXX"}),
    ("deals", {"stage_id": "²"}),
    ("deals", {"stage_id": "999"}),
    ("deals", {"contact_ids": ["1", "x"]}),
    ("deals", {"expected_close_on": "0001-01-01"}),
    ("deals", {"expected_close_on": "tomorrow"}),
    ("tasks", {"title": ""}),
    ("tasks", {"priority": "urgent"}),
    ("tasks", {"deal_id": "77"}),
    ("tasks", {"due_on": "2026-02-30"}),
    ("appointments", {"ends_at": "2026-12-01T09:00"}),
    ("appointments", {"starts_at": ""}),
    ("appointments", {"starts_at": "9999-12-31T23:59", "ends_at": "9999-12-31T23:59"}),
    ("automations", {"name": ""}),
    ("automations", {"trigger": "deal.exploded"}),
    ("automations", {"steps-0-kind": "rm_rf"}),
    ("automations", {"steps-0-body": ""}),
    ("automations", {"steps-0-body": "{{ deal.nothing }}"}),
    ("automations", {"steps-0-body": "{% for x in y %}{% endfor %}"}),
    ("automations", {"steps-0-body": "x\x00"}),
    ("automations", {"steps-1-kind": "create_task", "steps-1-title": "T", "steps-1-due_in_days": "366"}),
    ("automations", {"steps-1-kind": "create_task", "steps-1-title": "T", "steps-1-due_in_days": "many"}),
    (
        "automations",
        {
            "steps-1-kind": "create_task",
            "steps-1-title": "T",
            "steps-1-due_in_days": "1",
            "steps-1-assign_to": "person",
        },
    ),
    (
        "automations",
        {
            "steps-1-kind": "create_task",
            "steps-1-title": "T",
            "steps-1-due_in_days": "1",
            "steps-1-person_id": "9999",
        },
    ),
    ("automations", {"trigger": "deal.stage_changed", "trigger-to_stage_id": "4711"}),
    ("automations", {f"steps-{n}-kind": "log_note" for n in range(2000)}),
]


def rows(app: Flask, team: Any) -> dict[str, int]:
    with app.app_context(), acting_in(team.id):
        counts = {}
        for name in Base.metadata.tables:
            counts[name] = (
                db.session.connection().execute(select(func.count()).select_from(text(name))).scalar() or 0
            )
        db.session.rollback()
    return counts


@pytest.mark.parametrize("area", GOOD)
def test_good_input_is_saved(owner: Any, area: str) -> None:
    answer = owner.post(f"/dashboard/{area}/new", data=GOOD[area])
    assert answer.status_code == 302, answer.text


@pytest.mark.parametrize(("area", "change"), BAD, ids=lambda value: str(value)[:60])
def test_bad_input_is_refused(app: Flask, team: Any, owner: Any, area: str, change: dict[str, Any]) -> None:
    before = rows(app, team)
    answer = owner.post(f"/dashboard/{area}/new", data={**GOOD[area], **change})
    assert answer.status_code == 422, answer.status_code
    assert "field-error" in answer.text or "notice danger" in answer.text
    kept = next(value for name, value in GOOD[area].items() if name not in change or len(change) > 100)
    assert str(kept) in answer.text or area == "deals"
    assert rows(app, team) == before


@pytest.mark.parametrize(
    "name", ["steps-²-kind", "steps-" + "9" * 5000 + "-kind", "steps--1-kind", "steps-0", "steps-x-kind"]
)
def test_a_crafted_index_changes_nothing(owner: Any, name: str) -> None:
    answer = owner.post("/dashboard/automations/new", data={**GOOD["automations"], name: "log_note"})
    assert answer.status_code == 302


@pytest.mark.parametrize(
    "op",
    [
        "add:log_note",
        "remove:0",
        "up:0",
        "down:9",
        "remove:²",
        "add:nothing",
        "trigger",
        "sentence",
        "x" * 999,
    ],
)
def test_a_builder_button_saves_nothing(app: Flask, team: Any, owner: Any, op: str) -> None:
    before = rows(app, team)
    answer = owner.post("/dashboard/automations/new", data={**GOOD["automations"], "op": op})
    assert answer.status_code == 200 and "Rule" in answer.text
    assert rows(app, team) == before


def test_an_address_that_is_taken_names_and_links_the_other(app: Flask, team: Any, owner: Any) -> None:
    owner.post("/dashboard/contacts/new", data=GOOD["contacts"])
    answer = owner.post(
        "/dashboard/contacts/new", data={**GOOD["contacts"], "first_name": "Other", "email": "ANA@x.example"}
    )
    assert answer.status_code == 422
    assert "already belongs to Ana Ruiz" in answer.text and "Open Ana Ruiz" in answer.text


def test_saving_over_a_newer_save_shows_both(app: Flask, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        contact_id = make_contact("Ana", "Ruiz").id
    url = f"/dashboard/contacts/{contact_id}/edit"
    assert owner.post(url, data={"last_name": "Theirs", "version": 1}).status_code == 302
    answer = owner.post(url, data={"last_name": "Mine", "version": 1})
    assert answer.status_code == 409 and "Mine" in answer.text and "Theirs" in answer.text
    assert 'name="version" value="2"' in answer.text
    assert owner.post(url, data={"last_name": "Mine", "version": 2}).status_code == 302


def test_a_field_that_no_form_has_changes_nothing(app: Flask, team: Any, owner: Any) -> None:
    extra = {"id": "99", "tenant_id": "77", "created_by_name": "Mallory", "status": "won", "version": "9"}
    owner.post("/dashboard/deals/new", data={**GOOD["deals"], **extra})
    with app.app_context(), acting_in(team.id):
        deal = db.session.execute(
            text("SELECT id, tenant_id, created_by_name, status, version FROM deals")
        ).one()
        db.session.rollback()
    assert tuple(deal) == (1, team.id, "Acme owner", "open", 1)


def test_losing_a_deal_asks_why(app: Flask, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        deal_id = make_deal(team.stages["Lead"]).id
    url = f"/dashboard/deals/{deal_id}/move"
    assert owner.post(url, data={"stage_id": team.stages["Lost"], "version": 1}).status_code == 422
    assert (
        owner.post(
            url, data={"stage_id": team.stages["Lost"], "version": 1, "lost_reason": "price"}
        ).status_code
        == 302
    )

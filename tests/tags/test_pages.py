"""The pages of tags: settings, the part of the records' forms, lists and their filter, the timeline; what each role may."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.contacts.models import Company, Contact
from soconnective.contacts.operations import update_contact
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.tags.models import Tag
from soconnective.tags.operations import delete_tag
from tests.factories.records import make_company, make_contact, make_deal, make_rule, make_tag

SETTINGS = "/dashboard/settings/tags"
AREAS: list[tuple[str, Any, dict[str, str]]] = [
    ("contacts", Contact, {"first_name": "Ana", "last_name": "Ruiz"}),
    ("companies", Company, {"name": "Alder"}),
    ("deals", Deal, {"title": "Pilot"}),
]


def tags_of(app: Flask, team: Any, model: Any) -> list[str]:
    with app.app_context(), acting_in(team.id):
        record = db.session.scalars(select(model).order_by(model.id.desc())).first()
        found = [tag.name for tag in record.tags] if record is not None else []
        db.session.rollback()
    return found


@pytest.fixture
def made(app: Flask, team: Any) -> dict[str, int]:
    """Two tags, VIP on one of two deals."""
    with app.app_context(), acting_in(team.id):
        ids = {"VIP": make_tag("VIP", "red").id, "Gold": make_tag("Gold", "yellow").id}
        make_deal(team.stages["Lead"], "With it", tag_ids=[ids["VIP"]])
        make_deal(team.stages["Won"], "Without it")
        db.session.rollback()
    return ids


# --- the records' forms -----------------------------------------------------------------------------


@pytest.mark.parametrize(("area", "model", "good"), AREAS)
def test_tags_are_marked_and_written_in_the_form(
    app: Flask, team: Any, owner: Any, made: dict[str, int], area: str, model: Any, good: dict[str, str]
) -> None:
    new = f"/dashboard/{area}/new"
    assert owner.get(new).text.count('name="tag_ids"') == 2
    answer = owner.post(new, data={**good, "tag_ids": [made["VIP"]], "new_tags": "Fair, gold"})
    assert answer.status_code == 302
    assert tags_of(app, team, model) == ["Fair", "Gold", "VIP"]
    page = owner.get(answer.headers["Location"]).text
    assert all(f">{name}</a>" in page for name in ("Fair", "Gold", "VIP"))
    edit = f"{answer.headers['Location']}/edit"
    form = owner.get(edit).text
    assert len(re.findall(r'<input[^>]*name="tag_ids"[^>]*checked|checked[^>]*name="tag_ids"', form)) == 3
    assert owner.post(edit, data={**good, "tag_ids": [made["VIP"]], "version": 1}).status_code == 302
    assert tags_of(app, team, model) == ["VIP"]


BAD = [
    ({"new_tags": "x" * 41}, "40 characters at most"), ({"new_tags": "a\u202eb"}, "plain text"), ({"new_tags": "x\x00"}, "cannot be stored"),
    ({"new_tags": ",".join(f"t{n}" for n in range(51))}, "50 tags at most"), ({"new_tags": "x" * 401}, "400 characters"),
    ({"tag_ids": ["999"]}, "Choose from the list"), ({"tag_ids": ["x"]}, ""), ({"tag_ids": ["9" * 5000]}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize(("area", "model", "good"), AREAS)
def test_what_makes_no_sense_is_said_beside_the_field_and_nothing_is_saved(
    app: Flask,
    team: Any,
    owner: Any,
    area: str,
    model: Any,
    good: dict[str, str],
    change: dict[str, Any],
    message: str,
) -> None:
    answer = owner.post(f"/dashboard/{area}/new", data={**good, "new_tags": "Fair", **change})
    assert answer.status_code == 422
    assert re.search(
        rf'class="field-error" id="(tag_ids|new_tags)-error">[^<]*{re.escape(message)}', answer.text
    )
    assert next(iter(good.values())) in answer.text
    with app.app_context(), acting_in(team.id):
        assert db.session.scalars(select(Tag)).all() == db.session.scalars(select(model)).all() == []
        db.session.rollback()


def test_another_workspaces_tag_is_refused_like_a_missing_one(
    app: Flask, rivals: Any, team: Any, owner: Any
) -> None:
    with app.app_context(), acting_in(rivals.id):
        make_tag("Pad")
        theirs = make_tag("Theirs").id
        db.session.rollback()
    data = {"title": "Pilot", "tag_ids": [theirs]}
    answer, missing = (
        owner.post("/dashboard/deals/new", data={**data, "tag_ids": [i]}) for i in (theirs, 2**40)
    )
    assert answer.status_code == missing.status_code == 422 and "Theirs" not in answer.text
    for path in (f"{SETTINGS}/{theirs}", f"{SETTINGS}/{theirs}/delete"):
        assert owner.get(path).status_code == owner.post(path, data={"name": "Mine"}).status_code == 404
    assert "Theirs" not in owner.get(SETTINGS).text
    assert owner.post(f"{SETTINGS}/{theirs}/delete").status_code == 404


def test_a_clash_shows_both_sets_of_tags(app: Flask, team: Any, owner: Any, made: dict[str, int]) -> None:
    with app.app_context(), acting_in(team.id):
        url = f"/dashboard/contacts/{make_contact().id}/edit"
        db.session.rollback()
    data = {"first_name": "Ana", "version": 1}
    assert owner.post(url, data={**data, "last_name": "Theirs", "tag_ids": [made["VIP"]]}).status_code == 302
    answer = owner.post(url, data={**data, "last_name": "Mine", "tag_ids": [made["Gold"]]})
    assert answer.status_code == 409
    assert "<td>Tags</td><td>Gold</td><td>VIP</td>" in answer.text


# --- lists and the timeline -------------------------------------------------------------------------


def test_lists_show_tags_and_are_filtered_by_one(
    app: Flask, team: Any, owner: Any, made: dict[str, int]
) -> None:
    with app.app_context(), acting_in(team.id):
        make_contact("With", "It", tag_ids=[made["VIP"]])
        make_contact("Without", "It")
        make_company("Firm with it", tag_ids=[made["VIP"]])
        make_company("Firm without it")
        db.session.rollback()
    for path in ("contacts", "companies", "deals"):
        url = f"/dashboard/{path}"
        both = owner.get(url, query_string={"status": "all"}).text
        assert "ith" in both and both.count("ithout") >= 1 and 'class="dot c-red"></span>VIP' in both
        one = owner.get(url, query_string={"status": "all", "tag_id": made["VIP"]}).text
        assert "ith" in one and "ithout" not in one and f'value="{made["VIP"]}" selected' in one
        none = owner.get(url, query_string={"status": "all", "tag_id": made["Gold"]}).text
        assert "matches" in none and "primary-link" not in none
        assert owner.get(url, query_string={"tag_id": "x"}).status_code == 200


def test_the_timeline_says_which_tag_even_when_it_is_gone(
    app: Flask, team: Any, owner: Any, made: dict[str, int]
) -> None:
    with app.app_context(), acting_in(team.id):
        contact = make_contact(tag_ids=[made["VIP"]])
        contact_id = contact.id
        with write_transaction():
            update_contact(contact, tag_ids=[made["Gold"]], new_tags="Éclair", job_title="Buyer")
        with write_transaction():
            delete_tag(db.session.get_one(Tag, made["VIP"]))
    page = owner.get(f"/dashboard/contacts/{contact_id}").text
    assert "<strong>Added the tag VIP</strong>" in page and "<strong>Removed the tag VIP</strong>" in page
    assert "<strong>Added the tags Gold, Éclair</strong>" in page
    assert page.count("<li>Job title:") == 1 and "<li>Tags:" not in page and "<li>Tag ids" not in page


# --- settings ---------------------------------------------------------------------------------------


def test_a_tag_is_made_renamed_and_recoloured(app: Flask, team: Any, owner: Any) -> None:
    assert "No tags yet" in owner.get(SETTINGS).text
    assert owner.post(SETTINGS, data={"name": " VIP ", "color": "red"}).status_code == 302
    page = owner.get(SETTINGS).text
    assert "The tag VIP is there." in page and "c-red" in page and "nothing yet" in page
    url = re.findall(rf'href="({SETTINGS}/\d+)"', page)[0]
    assert owner.post(url, data={"name": "Gold", "color": "yellow", "version": 1}).status_code == 302
    assert "Gold" in owner.get(SETTINGS).text
    assert owner.post(url, data={"name": "Late", "color": "red", "version": 1}).status_code == 409


@pytest.mark.parametrize(
    ("data", "message"),
    [({"name": ""}, "Give the tag a name"), ({"name": "vip"}, "There is a tag VIP already"), ({"name": "a,b"}, "without commas"),
     ({"name": "x" * 41}, "40 characters"), ({"name": "New", "color": "mauve"}, "Not a valid choice")],
)  # fmt: skip
def test_a_bad_tag_is_refused_on_both_pages(
    owner: Any, made: dict[str, int], data: dict[str, str], message: str
) -> None:
    for url in (SETTINGS, f"{SETTINGS}/{made['Gold']}"):
        answer = owner.post(url, data={"color": "red", "version": 1, **data})
        assert answer.status_code == 422 and message in answer.text and "field-error" in answer.text
    if data["name"] == "vip":
        assert (
            f"{SETTINGS}/{made['Gold']}/delete" in answer.text
            and "Delete Gold and use VIP instead" in answer.text
        )


def test_deleting_says_what_has_it_and_which_rules_name_it(
    app: Flask, team: Any, owner: Any, made: dict[str, int]
) -> None:
    with app.app_context(), acting_in(team.id):
        step = ("add_tag", {"target": "deal", "tag_id": made["VIP"]})
        rule_id = make_rule(steps=[step], name="Mark the won").id
        db.session.rollback()
    url = f"{SETTINGS}/{made['VIP']}/delete"
    page = owner.get(url).text
    assert ">1 deal</a>" in page and "Mark the won" in page and "One rule names it" in page
    assert f'<option value="{made["Gold"]}"' in page and f'<option value="{made["VIP"]}"' not in page
    assert owner.post(url, data={"replacement_id": made["VIP"], "version": 1}).status_code == 422
    assert owner.post(url, data={"replacement_id": 2**40, "version": 1}).status_code == 422
    assert owner.post(url, data={"replacement_id": made["Gold"], "version": 1}).status_code == 302
    assert owner.get(url).status_code == 404
    assert "add the tag “Gold” to the deal" in owner.get(f"/dashboard/automations/{rule_id}").text
    with app.app_context(), acting_in(team.id):
        deal = db.session.scalars(select(Deal).order_by(Deal.id)).first()
        assert deal is not None and deal.tag_ids == [made["Gold"]]
        db.session.rollback()


def test_who_may_do_what(app: Flask, team: Any, sign_in: Any, made: dict[str, int]) -> None:
    for role, settings, form in (("admin", 200, 200), ("member", 403, 200), ("viewer", 403, 403)):
        client = sign_in(getattr(team, role))
        assert (
            client.get(SETTINGS).status_code
            == client.get(f"{SETTINGS}/{made['VIP']}/delete").status_code
            == settings
        )
        assert client.get("/dashboard/deals/new").status_code == form
    member = sign_in(team.member)
    assert member.post("/dashboard/deals/new", data={"title": "Pilot", "new_tags": "Mine"}).status_code == 302
    assert member.post(f"{SETTINGS}/{made['VIP']}/delete", data={"version": 1}).status_code == 403


# --- the builder ------------------------------------------------------------------------------------


def test_a_rule_about_tags_is_built_in_the_form(
    app: Flask, team: Any, owner: Any, made: dict[str, int]
) -> None:
    data = {
        "name": "Gold", "trigger": "deal.tag_added", "trigger-tag_id": made["VIP"], "on_failure": "undo", "is_active": "y",
        "if-0-0-field": "tag_ids", "if-0-0-operator": "include_none", "if-0-0-value": [made["Gold"]],
        "steps-0-kind": "add_tag", "steps-0-target": "deal", "steps-0-tag_id": made["Gold"],
    }  # fmt: skip
    for op in ("trigger", "if:", "redraw:0"):
        page = owner.post("/dashboard/automations/new", data={**data, "op": op})
        assert page.status_code == 200 and "gets the tag “VIP”" in page.text
    answer = owner.post("/dashboard/automations/new", data=data)
    assert answer.status_code == 302, answer.text
    assert (
        "When a deal gets the tag “VIP”, if tags include none of Gold → add the tag “Gold” to the deal"
        in (owner.get(answer.headers["Location"]).text)
    )
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            delete_tag(db.session.get_one(Tag, made["Gold"]))
        db.session.rollback()
    edit = owner.get("/dashboard/automations/1/edit").text
    assert "⚠ a tag that is gone" in edit and "⚠ something that is gone" in edit
    assert edit.count("does not exist any more") >= 2

"""Conditions of rules: asked of each event, told in the trace, edited in forms, and never a 500."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.automation.definition import build, parse
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.operations import (
    create_automation,
    current_version,
    definition_of,
    duplicate_automation,
    set_active,
)
from soconnective.core.access import Actor, acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.timeline.models import Note
from tests.factories.records import make_company, make_deal, move

NOTE = [("log_note", {"body": "x"})]


def rule(conditions: Any, trigger: str = "deal.won", is_active: bool = True, steps: Any = NOTE) -> Automation:
    with write_transaction():
        return create_automation(build("Rule", trigger, {}, steps, "undo", conditions), is_active)


def asks(field: str, operator: str, value: Any = None) -> dict[str, Any]:
    return {"match": "all", "items": [{"field": field, "operator": operator, "value": value}]}


def win(inside: Any, **values: Any) -> None:
    move(make_deal(inside.stages["Lead"], **values), inside.stages["Won"])


def runs() -> list[AutomationRun]:
    db.session.expire_all()
    return list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))


def test_a_rule_runs_only_if_its_conditions_hold_and_says_why_not(inside: Any) -> None:
    rule(asks("amount", "at_least", "1000"))
    win(inside, amount="500")
    win(inside, amount="1500")
    first, second = runs()
    assert (first.outcome, first.detail) == ("not_matched", "amount is at least 1000, was 500.00")
    assert second.outcome == "succeeded"
    assert first.trace["checks"] == [
        {"path": "if-0", "label": "amount", "wanted": "is at least 1000", "actual": "500.00", "passed": False}
    ]
    assert second.trace["checks"][0]["passed"] is True
    assert len(list(db.session.scalars(select(Note)))) == 1


def test_the_values_are_those_of_the_event_not_of_later(inside: Any) -> None:
    """The snapshot of the moment: what another rule changes afterwards does not count."""
    rule(asks("stage_id", "is", str(inside.stages["Won"])), "deal.stage_changed")
    win(inside)
    assert [run.outcome for run in runs()] == ["succeeded"]


def test_who_did_it_can_be_asked(inside: Any) -> None:
    rule(asks("actor_kind", "is_not", "import"), "deal.created")
    with acting_as(Actor("import", 1, "contacts.csv")):
        make_deal(inside.stages["Lead"])
    make_deal(inside.stages["Lead"])
    assert [run.outcome for run in runs()] == ["not_matched", "succeeded"]
    assert runs()[0].detail == "done by is not an import, was an import"


def test_changes_can_be_asked(inside: Any) -> None:
    rule(asks("stage_id", "changed_from", str(inside.stages["Lead"])), "deal.won")
    win(inside)
    move(make_deal(inside.stages["Proposal"]), inside.stages["Won"])
    assert [run.outcome for run in runs()] == ["succeeded", "not_matched"]
    assert runs()[1].detail == "stage was changed from Lead, was changed from Proposal to Won"


def test_a_definition_without_conditions_reads_as_before(inside: Any) -> None:
    """Texts of versions that were stored earlier stay what they are."""
    made = build("R", "deal.won", {}, NOTE)
    assert "conditions" not in made.to_text()
    assert parse(made.to_text()).conditions.tree.items == []


def test_conditions_are_kept_in_the_version_the_copy_and_the_sentence(inside: Any) -> None:
    made = rule(asks("source", "is", "Web"))
    version = current_version(made)
    assert version is not None
    assert version.sentence == "When a deal is won, if source is “Web” → log note “x”"
    assert parse(version.definition).to_text() == version.definition == definition_of(made).to_text()
    with write_transaction():
        copy = duplicate_automation(made)
    assert definition_of(copy).conditions.describe() == "source is “Web”"


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (asks("gone", "is", "x"), "A condition asks for “gone”, which does not exist any more"),
        ({"match": "most", "items": []}, "The conditions cannot be read"),
        ({"match": "all", "items": [{"field": "title"}]}, "The conditions cannot be read"),
    ],
)
def test_conditions_that_cannot_be_asked_any_more_show_and_fail(
    app: Flask, inside: Any, owner: Any, conditions: Any, message: str
) -> None:
    """Never an exception on the page, never silence, never a match."""
    made = rule(None)
    with write_transaction():
        made.conditions = conditions
        version = current_version(made)
        assert version is not None
        version.definition = build("Rule", "deal.won", {}, NOTE, "undo", conditions).to_text()
    win(inside)
    (run,) = runs()
    assert run.outcome == "failed" and message[2:] in run.detail
    assert list(db.session.scalars(select(Note))) == []
    made_id = made.id
    db.session.rollback()
    for path in ("", f"/{made_id}", f"/{made_id}/edit"):
        page = owner.get(f"/dashboard/automations{path}")
        assert page.status_code == 200
    with acting_in(inside.id), pytest.raises(Refused):
        set_active(db.session.get_one(Automation, made_id), True)
    db.session.rollback()


# --- the builder ---------------------------------------------------------------------------------------

BASE = {"name": "R", "trigger": "deal.won", "is_active": "1", "on_failure": "undo", "steps-0-kind": "log_note", "steps-0-body": "x"}  # fmt: skip


def post(client: Any, **more: Any) -> Any:
    data = {
        **BASE,
        **{name.replace("_", "-") if name.startswith("if_") else name: value for name, value in more.items()},
    }
    return client.post("/dashboard/automations/new", data=data)


def stored(app: Flask, team: Any) -> Any:
    with app.app_context(), acting_in(team.id):
        return [one.conditions for one in db.session.scalars(select(Automation).order_by(Automation.id))]


def test_conditions_are_built_in_the_form(app: Flask, team: Any, owner: Any) -> None:
    page = post(owner, op="if:add").text
    assert (
        'name="if-0-0-field"' in page and 'name="if-0-0-operator"' in page and 'name="if-0-0-value"' in page
    )
    page = post(owner, op="if", if_0_0_field="stage_id", if_0_0_operator="one_of").text
    assert re.search(r'<select[^>]*multiple[^>]*name="if-0-0-value"', page) and "Negotiation" in page
    data = {
        "if_0_match": "all", "if_0_0_field": "amount", "if_0_0_operator": "between", "if_0_0_value": "1,000", "if_0_0_other": "5000",
        "if_0_1_field": "source", "if_0_1_operator": "one_of", "if_0_1_value": "Web, Fair",
        "if_1_match": "none", "if_1_0_field": "stage_id", "if_1_0_operator": "one_of",
        "if_1_0_value": [str(team.stages["Lead"]), str(team.stages["Lost"])],
    }  # fmt: skip
    page = html.unescape(post(owner, op="sentence", **data).text)
    assert (
        "if (amount is between 1000 and 5000 and source is one of “Web” or “Fair”) and not (stage is one of Lead or Lost)"
        in page
    )
    assert post(owner, **data).status_code == 302
    (found,) = stored(app, team)
    assert found == {
        "match": "all",
        "items": [
            {"match": "all", "items": [
                {"field": "amount", "operator": "between", "value": ["1000", "5000"]},
                {"field": "source", "operator": "one_of", "value": ["Web", "Fair"]}]},
            {"match": "none", "items": [
                {"field": "stage_id", "operator": "one_of", "value": [str(team.stages["Lead"]), str(team.stages["Lost"])]}]},
        ],
    }  # fmt: skip


def test_what_was_saved_comes_back_in_the_form_and_saves_the_same(app: Flask, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        company = make_company("Initech")
        tree = {
            "match": "any",
            "items": [
                asks("amount", "between", ["1", "2.5"]),
                asks("company_id", "is", str(company.id)),
                asks("expected_close_on", "next_days", "7"),
                asks("owner_id", "one_of", [str(team.owner.id), str(team.member.id)]),
                asks("source", "empty"),
            ],
        }
        rule_id = rule(tree).id
        db.session.rollback()
    page = owner.get(f"/dashboard/automations/{rule_id}/edit").text
    form = fields_of_page(page)
    assert form["if-0-match"] == ["any"] and "Initech" in page  # groups of one are one group
    answer = owner.post(f"/dashboard/automations/{rule_id}/edit", data=form)
    assert answer.status_code == 302, answer.text[:3000]
    with app.app_context(), acting_in(team.id):
        kept = db.session.get_one(Automation, rule_id)
        assert kept.definition_number == 1, "nothing changed, so there is no new version"


def fields_of_page(page: str) -> dict[str, list[str]]:
    """What a browser would post of the builder's form."""
    form = page[page.index('id="builder"') : page.index("</form>", page.index('id="builder"'))]
    found: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name, value, kind = (re.search(rf'{a}="([^"]*)"', tag) for a in (r"\bname", "value", "type"))
        if name and (kind is None or kind[1] not in ("checkbox", "radio") or "checked" in tag):
            found.setdefault(name[1], []).append(html.unescape(value[1]) if value else "")
    for name, body in re.findall(r'<textarea[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        found[name] = [html.unescape(body.strip("\r\n"))]
    for tag, body in re.findall(r"<select([^>]*)>(.*?)</select>", form, re.DOTALL):
        chosen = re.findall(
            r'<option[^>]*selected[^>]*value="([^"]*)"|<option[^>]*value="([^"]*)"[^>]*selected', body
        )
        values = [a or b for a, b in chosen]
        if not values and "multiple" not in tag:
            values = re.findall(r'value="([^"]*)"', body)[:1]
        if (name := re.search(r'name="([^"]*)"', tag)) is not None and values:
            found[name[1]] = [html.unescape(value) for value in values]
    return found


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"if_0_0_field": "amount", "if_0_0_operator": "is", "if_0_0_value": ""},
            "Write what to compare with",
        ),
        ({"if_0_0_field": "amount", "if_0_0_operator": "is", "if_0_0_value": "much"}, "Write a number"),
        (
            {"if_0_0_field": "stage_id", "if_0_0_operator": "is", "if_0_0_value": "99999"},
            "Choose from the list",
        ),
        (
            {"if_0_0_field": "expected_close_on", "if_0_0_operator": "on", "if_0_0_value": "soon"},
            "Write a date",
        ),
        (
            {"if_0_0_field": "nonsense", "if_0_0_operator": "is", "if_0_0_value": "x"},
            "This field does not exist here",
        ),
        ({"if_0_0_field": "title", "if_0_0_operator": "is", "if_0_0_value": "a\x00b"}, "cannot be stored"),
        (
            {"if_0_0_field": "title", "if_0_0_operator": "one_of", "if_0_0_value": " , "},
            "Choose one at least",
        ),
        (
            {
                "if_0_0_field": "amount",
                "if_0_0_operator": "between",
                "if_0_0_value": "5",
                "if_0_0_other": "1",
            },
            "must not be more",
        ),
        ({f"if_{g}_0_field": "source" for g in range(11)}, "at most 10 groups"),
        ({f"if_0_{n}_field": "source" for n in range(21)}, "at most 10 groups"),
    ],
)
def test_bad_conditions_are_refused_beside_their_row(
    app: Flask, team: Any, owner: Any, data: Any, message: str
) -> None:
    answer = post(owner, **data)
    assert answer.status_code == 422 and message in html.unescape(answer.text)
    assert stored(app, team) == []
    kept = next(
        (v for k, v in data.items() if k.endswith("value") and v.isprintable() and v.strip(" ,")), None
    )
    assert kept is None or html.escape(kept) in answer.text, "what was typed stays"


@pytest.mark.parametrize(
    "name",
    ["if-²-0-field", "if-0-٣-field", "if-0-0", "if--", "if-0-0-field-x", "if-" + "9" * 5000 + "-0-field", "if-0-match", "if-0-0-match"],
)  # fmt: skip
def test_crafted_names_change_nothing(app: Flask, team: Any, owner: Any, name: str) -> None:
    answer = owner.post("/dashboard/automations/new", data={**BASE, name: "amount"})
    assert answer.status_code == 302
    assert stored(app, team) == [None]


@pytest.mark.parametrize("op", ["if:add:99", "if:remove:0:9", "if:remove:9:0", "if:add:²", "if:remove:0", "if:jump:0", "if:add:0:0", "if:" + ":" * 50])  # fmt: skip
def test_crafted_buttons_keep_the_rows(owner: Any, op: str) -> None:
    answer = post(owner, op=op, if_0_0_field="source", if_0_0_operator="is", if_0_0_value="Web")
    assert answer.status_code == 200 and 'value="Web"' in answer.text


def test_rows_are_added_and_removed(owner: Any) -> None:
    one = {"if_0_0_field": "source", "if_0_0_operator": "is", "if_0_0_value": "Web"}
    page = post(owner, op="if:add:0", **one).text
    assert 'name="if-0-1-field"' in page and 'value="Web"' in page
    page = post(owner, op="if:remove:0:0", **one).text
    assert "it runs every time" in page and 'name="if-0-0-field"' not in page


def test_another_tenants_record_is_no_choice(app: Flask, team: Any, rivals: Any, owner: Any) -> None:
    with app.app_context(), acting_in(rivals.id):
        for _ in range(3):
            theirs = make_company("Theirs").id
        db.session.rollback()
    answer = post(owner, if_0_0_field="company_id", if_0_0_operator="is", if_0_0_value=str(theirs))
    assert answer.status_code == 422 and "Choose from the list" in answer.text
    assert "Theirs" not in answer.text


def test_a_trigger_about_something_else_marks_what_it_cannot_be_asked(owner: Any) -> None:
    answer = post(
        owner, trigger="contact.created", if_0_0_field="amount", if_0_0_operator="is", if_0_0_value="5"
    )
    assert answer.status_code == 422 and "This field does not exist here" in answer.text

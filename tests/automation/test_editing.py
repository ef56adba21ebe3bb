"""The builder's buttons beyond add and remove: blocks, doubles, off, notes, copies to another rule, undo and redo."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.datastructures import MultiDict

from soconnective.automation import edits
from soconnective.automation.definition import parse
from soconnective.automation.forms import MAX_STEPS
from soconnective.automation.models import AutomationDraft, AutomationVersion
from soconnective.automation.undo import MOST_LETTERS, History
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from tests.automation.test_builder_pages import NEW, RULE, TWO, bodies
from tests.automation.test_flow import note
from tests.factories.records import make_rule
from tests.proofs.pages import form_to

URL = "/dashboard/automations"


def rows(kinds: str) -> list[edits.Row]:
    """One row a letter: i(f), o(therwise), e(nd), and any other as itself."""
    names = {"i": "if", "o": "otherwise", "e": "end_if"}
    return [(names.get(k, k), MultiDict()) for k in kinds]


def letters(found: list[edits.Row]) -> str:
    names = {"if": "i", "otherwise": "o", "end_if": "e"}
    return "".join(names.get(kind, kind) for kind, _posted in found)


@pytest.mark.parametrize(
    ("before", "index", "step", "after", "at"),
    [
        ("abc", 2, -1, "acb", 1), ("abc", 0, -1, "abc", 0), ("abc", 2, 1, "abc", 2),
        ("aixeb", 1, -1, "ixeab", 0), ("aixeb", 1, 1, "abixe", 2), ("aixeb", 0, 1, "iaxeb", 1),
        ("aixeb", 4, -1, "aixbe", 3), ("aixe", 1, 1, "aixe", 1), ("ixiyee", 2, -1, "iiyexe", 1),
        ("ixoye", 2, -1, "ioxye", 1), ("ab", 1, 1, "ab", 1),
    ],
)  # fmt: skip
def test_moving(before: str, index: int, step: int, after: str, at: int) -> None:
    found, place = edits.moved(rows(before), index, step)
    assert (letters(found), place) == (after, at)


def test_a_double_of_an_if_is_the_whole_of_it() -> None:
    assert [letters(edits.doubled(rows("aixeb"), n)[0]) for n in (0, 1)] == ["aaixeb", "aixeixeb"]
    found, at = edits.doubled(rows("a"), 0)
    found[1][1]["body"] = "x"
    assert at == 1 and "body" not in found[0][1]


def post(client: FlaskClient, op: str, data: dict[str, Any], url: str = NEW) -> tuple[str, dict[str, Any]]:
    """The page after a button, and what its form would send."""
    answer = client.post(url, data={**data, "op": op})
    assert answer.status_code == 200
    sent = form_to(answer.text, url).data()
    return answer.text, sent


@pytest.fixture
def saved(app: Flask, team: Any) -> Any:
    def read(model: Any = AutomationVersion) -> list[Any]:
        with app.app_context(), acting_in(team.id):
            found = [parse(row.definition) for row in db.session.scalars(select(model).order_by(model.id))]
            db.session.rollback()
        return found

    return read


def test_a_step_is_switched_off_and_noted_and_saved_so(owner: FlaskClient, saved: Any) -> None:
    _page, sent = post(owner, "off:0", {**RULE, **TWO})
    page, sent = post(owner, "note:1", sent)
    assert sent["steps-0-is_off"] == ["y"] and "switched off: log note “first”, log note “second”" in page
    assert owner.post(NEW, data={**sent, "steps-1-step_note": "Ask Ana"}).status_code == 302
    steps = saved()[0].steps
    assert [(s.is_off, s.note) for s in steps] == [(True, ""), (False, "Ask Ana")]
    edit = owner.get(f"{URL}/1/edit").text
    assert "Ask Ana</textarea>" in edit and 'name="steps-0-is_off" value="y"' in edit
    assert "note: Ask Ana" in edit and "Switch on again" in edit
    _page, sent = post(owner, "off:0", form_to(edit, f"{URL}/1/edit").data(), f"{URL}/1/edit")
    assert "steps-0-is_off" not in sent


@pytest.mark.parametrize("bad", ["x" * 501, "nul\x00"])
def test_a_bad_note_is_refused_beside_it(owner: FlaskClient, saved: Any, bad: str) -> None:
    answer = owner.post(NEW, data={**RULE, **TWO, "steps-1-step_note": bad})
    assert answer.status_code == 422 and 'id="steps-1-step_note-error"' in answer.text and saved() == []


def test_doubling_keeps_what_was_typed(owner: FlaskClient) -> None:
    page, _sent = post(owner, "double:0", {**RULE, **TWO})
    assert bodies(page) == ["first", "first", "second"]
    full = {f"steps-{n}-kind": "log_note" for n in range(MAX_STEPS)}
    page, _sent = post(owner, "double:0", {**RULE, **full})
    assert len(bodies(page)) == MAX_STEPS and f"at most {MAX_STEPS} steps" in page


def test_undo_and_redo(owner: FlaskClient) -> None:
    page, sent = post(owner, "remove:0", {**RULE, **TWO})
    assert bodies(page) == ["second"]
    page, sent = post(owner, "add:log_note", sent)
    sent["steps-1-body"] = "typed"
    page, sent = post(owner, "undo", sent)
    assert bodies(page) == ["second"]
    page, sent = post(owner, "undo", sent)
    assert bodies(page) == ["first", "second"]
    page, sent = post(owner, "undo", sent)
    assert bodies(page) == ["first", "second"]
    page, sent = post(owner, "redo", sent)
    page, sent = post(owner, "redo", sent)
    assert bodies(page) == ["second", "typed"]
    page, sent = post(owner, "undo", sent)
    page, sent = post(owner, "off:0", sent)  # a new change: there is nothing to redo any more
    page, sent = post(owner, "redo", sent)
    assert bodies(page) == ["second"] and "steps-0-is_off" in sent


def test_undo_takes_a_trigger_and_a_name_along_but_not_the_version(
    app: Flask, team: Any, owner: FlaskClient, version: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        make_rule(steps=[note("a")])
    url = f"{URL}/1/edit"
    sent = form_to(owner.get(url).text, url).data()
    _page, sent = post(owner, "add:log_note", {**sent, "name": "Renamed", "is_active": ""}, url)
    sent |= {"name": "Again", "version": ["1"]}
    page, sent = post(owner, "undo", sent, url)
    assert 'value="Renamed"' in page and sent["version"] == ["1"]
    assert owner.post(url, data=sent).status_code == 409


@pytest.mark.parametrize("token", ["x", "W1tdLFtdXQ.aaaa", "²", "\ud800", "." * 5000])
def test_a_forged_history_is_no_history(owner: FlaskClient, token: str) -> None:
    sendable = token.encode("utf-8", "surrogatepass")
    page, _sent = post(owner, "undo", {**RULE, **TWO, "history": sendable})
    assert bodies(page) == ["first", "second"]


def test_history_is_bounded_and_belongs_to_a_workspace(app: Flask, team: Any, rivals: Any) -> None:
    import random

    with app.test_request_context(), acting_in(team.id):
        history = History()
        for _n in range(80):
            history.remember(MultiDict({"name": random.Random(_n).randbytes(4000).hex()}))
        token = history.token()
        assert 1000 < len(token) <= MOST_LETTERS and History(token).done
        assert len(History(token).done) <= 30
    with app.test_request_context(), acting_in(rivals.id):
        assert not History(token).done


# --- copy to another rule --------------------------------------------------------------------------


@pytest.fixture
def other(app: Flask, team: Any) -> int:
    with app.app_context(), acting_in(team.id):
        return make_rule(steps=[note("theirs")], name="Other").id


def test_a_step_is_copied_to_another_rules_draft(owner: FlaskClient, saved: Any, other: int) -> None:
    page, sent = post(owner, "copy:1", {**RULE, **TWO})
    assert 'name="steps-1-copy_to_id"' in page and ">Other</option>" in page
    page, sent = post(owner, "copy:1", sent)
    assert "Choose a rule." in page and saved(AutomationDraft) == []
    page, _sent = post(owner, "copy:1", {**sent, "steps-1-copy_to_id": other})
    assert "Copied to the end of “Other”, as a draft." in page and f"{URL}/{other}/edit" in page
    assert bodies(page) == ["first", "second"] and "copy_to_id" not in page
    draft = saved(AutomationDraft)[0]
    assert draft.sentence() == "When a deal is won → log note “theirs”, log note “second”"
    assert saved()[0].sentence() == "When a deal is won → log note “theirs”"
    post(owner, "copy:0", {**RULE, **TWO, "steps-0-copy_to_id": other})
    assert saved(AutomationDraft)[0].sentence().endswith("“second”, log note “first”")


def test_an_if_is_copied_whole_with_its_marks(owner: FlaskClient, saved: Any, other: int) -> None:
    data = {
        **RULE, "steps-0-kind": "if", "steps-0-if-0-0-field": "amount", "steps-0-if-0-0-operator": "empty",
        "steps-0-is_off": "y", "steps-1-kind": "log_note", "steps-1-body": "x", "steps-2-kind": "end_if",
    }  # fmt: skip
    post(owner, "copy:0", {**data, "steps-0-copy_to_id": other})
    assert (
        saved(AutomationDraft)[0]
        .sentence()
        .endswith("log note “theirs”, switched off: if amount is empty (log note “x”)")
    )


def test_a_copy_that_cannot_be_is_refused_beside_it(
    app: Flask, owner: FlaskClient, rivals: Any, saved: Any, other: int
) -> None:
    with app.app_context(), acting_in(rivals.id):
        foreign = make_rule(name="Secret").id
    for wrong in (foreign, 999_999, "²", "x"):
        page, _sent = post(owner, "copy:0", {**RULE, **TWO, "steps-0-copy_to_id": wrong})
        assert re.search(r'id="steps-0-copy_to_id-error"', page) and "Secret" not in page
    empty = {**RULE, "steps-0-kind": "log_note", "steps-0-body": "", "steps-0-copy_to_id": other}
    page, _sent = post(owner, "copy:0", empty)
    assert "Complete the step first." in page and saved(AutomationDraft) == []


def test_a_copy_into_a_full_rule_is_refused(app: Flask, team: Any, owner: FlaskClient, saved: Any) -> None:
    with app.app_context(), acting_in(team.id):
        full = make_rule(steps=[note("x")] * MAX_STEPS, name="Full").id
    page, _sent = post(owner, "copy:0", {**RULE, **TWO, "steps-0-copy_to_id": full})
    assert "has no room left" in page and saved(AutomationDraft) == []

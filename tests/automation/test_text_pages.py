"""Export and import through the pages: a download, a preview, and errors beside the text."""

from __future__ import annotations

import html
import io
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from soconnective.automation.models import Automation
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from tests.factories.records import make_rule
from tests.proofs.pages import form_to

IMPORT = "/dashboard/automations/import"
EXPORT = "/dashboard/automations/export"


@pytest.fixture
def names(app: Flask, team: Any) -> Any:
    def read() -> list[str]:
        with app.app_context(), acting_in(team.id):
            found = list(db.session.scalars(select(Automation.name).order_by(Automation.position)))
            db.session.rollback()
        return found

    return read


@pytest.fixture
def text(app: Flask, team: Any, owner: FlaskClient) -> str:
    with app.app_context(), acting_in(team.id):
        make_rule(name="One")
        make_rule(name="Two", steps=[("log_note", {"body": "two\nlines <b> {{ deal.title }}"})])
    answer = owner.get(EXPORT)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="rules.toml"'
    assert answer.mimetype == "application/toml"
    return answer.text


def said(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def test_what_is_exported_changes_nothing(owner: FlaskClient, text: str, names: Any) -> None:
    page = owner.post(IMPORT, data={"text": text, "op": "plan"})
    assert (
        page.status_code == 200 and "Nothing would change" in page.text and 'value="apply"' not in page.text
    )
    assert owner.post(IMPORT, data={"text": text, "op": "apply"}).status_code == 302
    assert owner.get(EXPORT).text == text and names() == ["One", "Two"]


def test_a_change_is_shown_and_then_applied(owner: FlaskClient, text: str, names: Any) -> None:
    changed = text.replace('name = "Two"', 'name = "Second"').replace("two\nlines", "2\nlines")
    page = owner.post(IMPORT, data={"text": changed, "op": "plan"})
    assert page.status_code == 200 and names() == ["One", "Two"]
    assert "renamed from “Two” to “Second”" in said(page.text) and "1 change, 1 as it is." in said(page.text)
    assert "<del>When a deal is won → log note “two ⏎ lines &lt;b&gt;" in page.text
    sent = form_to(page.text, IMPORT).data(op="apply")
    assert owner.post(IMPORT, data=sent).status_code == 302
    assert names() == ["One", "Second"] and "Applied: 1 change, 1 as it is." in owner.get("/dashboard").text


@pytest.mark.parametrize("raw", ["utf-8", "utf-8-sig"])
def test_a_file_is_read_into_the_form(owner: FlaskClient, text: str, names: Any, raw: str) -> None:
    data = {
        "upload": (io.BytesIO(text.replace('"One"', '"First"').encode(raw)), "rules.toml"),
        "op": "plan",
        "text": "x",
    }
    page = owner.post(IMPORT, data=data, content_type="multipart/form-data")
    assert page.status_code == 200 and "name = &#34;First&#34;" in page.text
    sent = form_to(page.text, IMPORT).data(op="apply")
    assert owner.post(IMPORT, data=sent).status_code == 302 and names() == ["First", "Two"]


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"text": ""}, 422, "Paste rules as text"),
    ({}, 422, "Paste rules as text"),
    ({"text": "[[rule]]\nname = 'Q'"}, 422, "line 1, rule “Q”, when: there is no trigger"),
    ({"text": "= ="}, 422, "This is not TOML"),
    ({"text": "x\x00"}, 422, "This is not TOML"),
    ({"text": "# " + "x" * 1_000_000}, 422, "1,000,000 characters at most"),
    ({"upload": (b"\xff\xfe\x00", "x.toml")}, 422, "not written in UTF-8"),
    ({"upload": (b"\x00", "x.toml")}, 422, "cannot be stored"),
    ({"text": "x" * 3_000_000}, 413, ""),
]  # fmt: skip


@pytest.mark.parametrize("op", ["plan", "apply"])
@pytest.mark.parametrize(("sent", "status", "message"), BAD, ids=lambda value: str(value)[:30])
def test_a_bad_text_is_refused_beside_it_and_kept(
    owner: FlaskClient, text: str, names: Any, sent: dict[str, Any], status: int, message: str, op: str
) -> None:
    data = {k: (io.BytesIO(v[0]), v[1]) if k == "upload" else v for k, v in sent.items()}
    page = owner.post(IMPORT, data={**data, "op": op})
    assert page.status_code == status, page.status_code
    if status == 422:
        assert message in said(page.text) and "field-error" in page.text
        assert html.escape(sent.get("text", ""))[:20] in page.text.replace("&#39;", "&#x27;")
    assert names() == ["One", "Two"]


def test_a_failing_example_is_shown_and_needs_a_yes(owner: FlaskClient, text: str, names: Any) -> None:
    failing = text + '\n[[rule.examples]]\nname = "never"\nruns = false\n'
    page = owner.post(IMPORT, data={"text": failing, "op": "plan"})
    assert page.status_code == 200 and "example 1 “never”: it runs, and should not" in said(page.text)
    refused = owner.post(IMPORT, data={"text": failing, "op": "apply"})
    assert refused.status_code == 422 and "it runs, and should not" in said(refused.text)
    assert owner.post(IMPORT, data={"text": failing, "op": "apply", "force": "y"}).status_code == 302
    assert "never" in owner.get(EXPORT).text


def test_pruning_is_asked_for(app: Flask, team: Any, owner: FlaskClient, text: str) -> None:
    one = text[: text.index('[[rule]]\nkey = "two"')]
    assert "1 left alone" in said(owner.post(IMPORT, data={"text": one, "op": "plan"}).text)
    page = owner.post(IMPORT, data={"text": one, "op": "plan", "prune": "y"}).text
    assert "1 delete" in said(page) and 'name="prune" type="checkbox" value="y"' in page.replace(
        "checked ", ""
    )
    owner.post(IMPORT, data={"text": one, "op": "apply", "prune": "y"})
    with app.app_context(), acting_in(team.id):
        alive = db.session.scalar(select(func.count()).where(Automation.deleted_at.is_(None)))
        db.session.rollback()
    assert alive == 1


def test_only_those_who_may_edit_import(team: Any, sign_in: Any) -> None:
    viewer = sign_in(team.viewer)
    assert viewer.get(EXPORT).status_code == 200
    assert viewer.get(IMPORT).status_code == viewer.post(IMPORT, data={"text": "x"}).status_code == 403

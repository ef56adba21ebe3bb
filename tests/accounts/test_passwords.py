"""One set of rules for passwords wherever one is chosen, and one spelling of each."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from flask import Flask

from soconnective.accounts import operations, queries
from soconnective.core.db import db, write_transaction
from soconnective.core.sqlite import reads_only
from tests.workspaces import PASSWORD

CHANGE = "/dashboard/settings/password"


def change(client: Any, new: str, old: str = PASSWORD) -> Any:
    return client.post(CHANGE, data={"password": old, "new_password": new, "new_password_confirm": new})


def can_sign_in(app: Flask, email: str, password: str) -> bool:
    return app.test_client().post("/login", data={"email": email, "password": password}).status_code == 302  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "bad", ["short", "password", "demo-password", "owner@acme.example", "x" * 129, "        "]
)
def test_a_bad_new_password_is_refused_beside_the_field(app: Flask, team: Any, owner: Any, bad: str) -> None:
    answer = change(owner, bad)
    assert answer.status_code == 200 and "field-error" in answer.text
    assert can_sign_in(app, team.owner.email, PASSWORD)


def test_a_changed_password_counts_and_ends_other_sessions(
    app: Flask, team: Any, owner: Any, sign_in: Any
) -> None:
    other = sign_in(team.owner)
    assert change(owner, "a much better one").headers["Location"] == "/dashboard/settings/account"
    assert "Your password is changed" in owner.get("/dashboard/settings/account").text
    assert other.get("/dashboard").status_code == 302
    assert can_sign_in(app, team.owner.email, "a much better one")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_that_keyboards_write_differently_are_one_password(app: Flask, team: Any, form: Any) -> None:
    typed = unicodedata.normalize(form, "contraseñas únicas ﬁn")
    with app.app_context(), write_transaction():
        operations.set_password(queries.get_user_by_email(team.member.email), typed)  # type: ignore[arg-type]
    for spelling in ("NFC", "NFD", "NFKC"):
        assert can_sign_in(app, team.member.email, unicodedata.normalize(spelling, typed))  # type: ignore[arg-type]


def test_spaces_at_the_ends_belong_to_a_password(app: Flask, owner: Any) -> None:
    page = owner.post("/dashboard/settings/members", data={"email": "new@x.example", "role": "member"}).text
    link = page.split('value="http://localhost')[1].split('"')[0]
    data = {
        "person_name": "New",
        "password": "  spaces count  ",
        "password_again": "  spaces count  ",
    }
    assert app.test_client().post(link, data=data).status_code == 302
    assert can_sign_in(app, "new@x.example", "  spaces count  ")
    assert not can_sign_in(app, "new@x.example", "spaces count")


@pytest.fixture
def hashing(app: Flask, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Says for each hash made or compared whether a transaction that may write was open meanwhile."""
    said: list[bool] = []
    context = app.extensions["security"].pwd_context
    for name in ("hash", "verify", "verify_and_update"):

        def spy(*args: Any, _real: Any = getattr(context, name), **kwargs: Any) -> Any:
            said.append(db.session().in_transaction() and not reads_only.get())
            return _real(*args, **kwargs)

        monkeypatch.setattr(context, name, spy)
    return said


def test_no_password_is_hashed_while_a_write_transaction_is_open(
    app: Flask, team: Any, owner: Any, hashing: list[bool]
) -> None:
    change(owner, "a much better one")
    assert len(hashing) >= 2 and not any(hashing)
    page = owner.post("/dashboard/settings/members", data={"email": "new@x.example", "role": "member"}).text
    link = page.split('value="http://localhost')[1].split('"')[0]
    secret = "a much better one"
    new = {"person_name": "New", "password": secret, "password_again": secret}
    done = len(hashing)
    assert app.test_client().post(link, data=new).status_code == 302
    assert len(hashing) > done and not any(hashing)
    assert can_sign_in(app, "new@x.example", secret) and not any(hashing)


def test_the_spy_sees_a_hash_inside_a_write_transaction(
    app: Flask, team: Any, owner: Any, hashing: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soconnective.accounts.security.begin_again", lambda: None)
    monkeypatch.setattr("soconnective.core.web._READ_FIRST", set())
    change(owner, "a much better one")
    assert any(hashing)

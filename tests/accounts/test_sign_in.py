"""Signing in and out, where it leads, what ends a session."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from soconnective.accounts import operations, queries
from soconnective.accounts.models import User
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from tests.workspaces import PASSWORD


def try_to(app: Flask, email: str, password: str, **more: str) -> Any:
    return app.test_client().post("/login", data={"email": email, "password": password, **more})


def test_the_right_password_leads_in(team: Any, owner: Any) -> None:
    answer = owner.get("/dashboard")
    assert answer.status_code == 200 and "Acme" in answer.text


def test_wrong_and_unknown_get_the_same_answer(app: Flask, team: Any) -> None:
    wrong = try_to(app, team.owner.email, "wrong password")
    unknown = try_to(app, "stranger@x.example", "wrong password")
    assert wrong.status_code == unknown.status_code == 200
    assert "do not belong together" in wrong.text

    def bare(text: str, email: str) -> str:
        return re.sub(r'nonce="[^"]*"|name="csrf_token" value="[^"]*"', "", text).replace(email, "")

    assert bare(wrong.text, team.owner.email) == bare(unknown.text, "stranger@x.example")


def test_too_many_tries_are_429_and_another_person_still_gets_in(app: Flask, team: Any) -> None:
    codes = [try_to(app, team.owner.email, "wrong").status_code for _ in range(12)]
    assert codes[:10] == [200] * 10 and codes[10:] == [429] * 2
    assert try_to(app, team.owner.email, PASSWORD).status_code == 429
    assert try_to(app, team.member.email, PASSWORD).status_code == 302


def test_getting_in_makes_one_start_afresh_but_only_at_this_network(app: Flask, team: Any) -> None:
    def guess(network: str) -> int:
        data = {"email": team.owner.email, "password": "wrong"}
        return app.test_client().post("/login", data=data, environ_base={"REMOTE_ADDR": network}).status_code

    assert [guess("127.0.0.9") for _ in range(11)] == [200] * 10 + [429]
    for _ in range(3):
        assert [guess("127.0.0.1") for _ in range(9)] == [200] * 9
        assert try_to(app, team.owner.email, PASSWORD).status_code == 302
    assert guess("127.0.0.9") == 429


TARGETS = [
    "//evil.example", "///evil.example", "https://evil.example", "http:evil.example", "/\\evil.example", "\\\\evil.example",
    "/\t/evil.example", "////evil", " //evil", "javascript:alert(1)", "https:evil", "//evil@127.0.0.1", "/%09/evil",
    "http://localhost.evil.example/", "\x00//evil", "https://localhost@evil.example", "//localhost:80@evil", "data:text/html,x",
    "/dashboard/../..//evil", "?next=//evil",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_signing_in_never_leads_elsewhere(app: Flask, team: Any, target: str) -> None:
    answer = app.test_client().post(
        "/login",
        query_string={"next": target},
        data={"email": team.owner.email, "password": PASSWORD, "next": target},
    )
    location = answer.headers.get("Location", "/")
    assert (
        location.startswith("/")
        and not location.startswith("//")
        and "\\" not in location
        and "\t" not in location
    )


def test_a_wanted_page_is_reached_after_signing_in(app: Flask, team: Any) -> None:
    client = app.test_client()
    sent = client.get("/dashboard/deals?status=won")
    assert sent.headers["Location"].startswith("/login?next=")
    answer = client.post(sent.headers["Location"], data={"email": team.owner.email, "password": PASSWORD})
    assert answer.headers["Location"] == "/dashboard/deals?status=won"


def test_signing_out_needs_a_post_and_ends_it(owner: Any) -> None:
    assert owner.get("/logout").status_code == 405
    assert owner.post("/logout").status_code == 302
    assert owner.get("/dashboard").status_code == 302


def test_a_changed_password_ends_other_sessions(app: Flask, team: Any, sign_in: Any) -> None:
    client = sign_in(team.member)
    with app.app_context(), write_transaction():
        operations.set_password(queries.get_user_by_email(team.member.email), "another good one")
    assert client.get("/dashboard").status_code == 302


@pytest.mark.parametrize("status", ["disabled", "removed"])
def test_a_member_who_is_gone_is_out_with_the_next_request(
    app: Flask, team: Any, sign_in: Any, status: str
) -> None:
    client = sign_in(team.member)
    assert client.get("/dashboard").status_code == 200
    with app.app_context(), acting_in(team.id), write_transaction():
        operations.set_member_status(queries.membership_in(team.id, team.member.id), status, "owner")
    assert client.get("/dashboard").status_code != 200


def test_a_form_posted_after_a_switch_writes_nothing(
    app: Flask, team: Any, rivals: Any, sign_in: Any
) -> None:
    with app.app_context(), acting_in(rivals.id), write_transaction():
        operations.add_member(rivals.id, queries.get_user_by_email(team.owner.email), "owner")
    client = sign_in(team.owner)
    client.post("/dashboard/workspaces/switch", data={"tenant_id": team.id})
    page = client.get("/dashboard/companies/new").text
    token = re.search(r'name="workspace" value="([^"]+)"', page)[1]  # type: ignore[index]
    client.post("/dashboard/workspaces/switch", data={"tenant_id": rivals.id})
    answer = client.post("/dashboard/companies/new", data={"name": "Half typed", "workspace": token})
    assert answer.status_code == 409 and "Half typed" in answer.text and "Switch back to Acme" in answer.text
    assert "Half typed" not in client.get("/dashboard/companies").text


def test_headers_and_cookies(app: Flask, team: Any) -> None:
    answer = try_to(app, team.owner.email, PASSWORD)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"


LATE = {"name": "Kept <b>", "about": "\r\ntwo\nlines", "csrf_token": "old", "workspace": "x"}


@pytest.mark.parametrize(
    ("path", "origin", "data", "is_offered"),
    [
        ("/dashboard/companies/new?x=1", "http://localhost", LATE, True),
        ("/dashboard/companies/new", "http://evil.example", LATE, False),
        ("/dashboard/companies/new", "null", LATE, False),
        ("/dashboard/companies/new", "", LATE, False),
        ("//evil.example/companies", "http://localhost", LATE, False),
        ("/dashboard/companies/new", "https://localhost", LATE, False),
        ("/dashboard/companies/new", "http://localhost:81", LATE, False),
        ("/dashboard/companies/new", "http://[localhost", LATE, False),
        ("/dashboard/companies/new", "http://localhost", LATE | {"password": "secret"}, False),
        ("/login/recovery", "http://localhost", {"csrf_token": "old", "code": "secret"}, False),
        ("/dashboard/companies/new", "http://localhost", {f"a{number}": "" for number in range(5001)}, False),
        ("/dashboard/companies/new", "http://localhost", {"csrf_token": "old", "workspace": "x"}, False),
    ],
)
def test_a_form_of_an_ended_session_is_offered_again_to_our_own_pages(
    app: Flask, team: Any, owner: Any, path: str, origin: str, data: dict[str, str], is_offered: bool
) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    answer = owner.post(path, data=data, headers={"Origin": origin} if origin else {})
    app.config["WTF_CSRF_ENABLED"] = False
    assert answer.status_code == 400
    assert ("Send what I typed" in answer.text) == is_offered
    if is_offered:
        assert 'action="/dashboard/companies/new?x=1"' in answer.text and "Kept &lt;b&gt;" in answer.text
        assert "old" not in answer.text and ">\n\r\ntwo" in answer.text.replace("&#13;", "\r")
    assert "secret" not in answer.text
    assert "Kept" not in owner.get("/dashboard/companies").text


def test_a_form_is_offered_to_the_pages_of_the_address_that_is_set(app: Flask, team: Any, owner: Any) -> None:
    """Behind a proxy that encrypts, a page of http:// at the same host may be anybody's."""
    app.config.update(WTF_CSRF_ENABLED=True, SOCONNECTIVE_BASE_URL="https://localhost")
    for origin, is_offered in (("https://localhost", True), ("http://localhost", False)):
        answer = owner.post("/dashboard/companies/new", data=LATE, headers={"Origin": origin})
        assert ("Send what I typed" in answer.text) == is_offered, origin


def test_what_is_offered_is_kept_until_somebody_is_signed_in(app: Flask, team: Any, client: Any) -> None:
    """The button works before they sign in too: then it is offered once more, and nothing is written."""
    app.config["WTF_CSRF_ENABLED"] = True
    data = dict(LATE)
    for status in (400, 401, 401):
        answer = client.post("/dashboard/companies/new", data=data, headers={"Origin": "http://localhost"})
        assert (
            answer.status_code == status
            and "Kept &lt;b&gt;" in answer.text
            and 'href="/login"' in answer.text
        )
        data["csrf_token"] = re.findall(r'name="csrf_token" value="([^"]+)"', answer.text)[0]
    assert client.post("/dashboard/companies/new", data=data).status_code == 302  # not from a page of ours


def test_a_form_without_a_referrer_is_not_offered_for_ever(app: Flask, team: Any, client: Any) -> None:
    """Over https the library asks for one: the token fits, and a new one changes nothing."""
    app.config["WTF_CSRF_ENABLED"] = True
    more: Any = {"base_url": "https://localhost", "headers": {"Origin": "https://localhost"}}
    answer = client.post("/dashboard/companies/new", data=LATE, **more)
    token = re.findall(r'name="csrf_token" value="([^"]+)"', answer.text)[0]
    answer = client.post("/dashboard/companies/new", data=LATE | {"csrf_token": token}, **more)
    assert answer.status_code == 400 and "referrer header is missing" in answer.text
    assert "Send what I typed" not in answer.text


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_query_that_is_no_text_is_refused(app: Flask, client: Any, team: Any, method: str) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    answer = getattr(client, method)(
        "/dashboard/companies/new", data=LATE, headers={"Origin": "http://localhost"}, environ_overrides={"QUERY_STRING": "x=\xff"}
    )  # fmt: skip
    assert answer.status_code == 400


def test_a_change_without_the_token_is_refused(app: Flask, team: Any, owner: Any) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    answer = owner.post("/dashboard/companies/new", data={"name": "No token"})
    assert answer.status_code == 400
    app.config["WTF_CSRF_ENABLED"] = False
    assert "No token" not in owner.get("/dashboard/companies").text


def test_no_token_signs_in(app: Flask, team: Any, client: Any) -> None:
    """The library knows tokens in the address, a header and JSON; nobody is given one here, so none is taken."""
    with app.app_context():
        user = db.session.get_one(User, team.owner.id)
        token = user.get_auth_token()
        db.session.rollback()
    for args in ({"query_string": {"auth_token": token}}, {"headers": {"Authentication-Token": token}}):
        assert client.get("/dashboard/companies", **args).status_code == 302

"""What stands around every request: cookies, proxies, content that is not a form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, request

from soconnective import create_app
from soconnective.core.db import db
from tests.workspaces import PASSWORD


@pytest.fixture
def another(app: Flask) -> Iterator[Callable[..., Flask]]:
    """A second app on the same database, with other settings."""
    made = []

    def make(**more: Any) -> Flask:
        same = {name: app.config[name] for name in ("SECRET_KEY", "DATABASE_URL", "TESTING")}
        made.append(create_app({**same, **more}))
        return made[-1]

    yield make
    for other in made:
        with other.app_context():
            db.session.remove()
            db.engine.dispose()


def test_cookies_are_secure_behind_https(another: Any, team: Any) -> None:
    other = another(SOCONNECTIVE_BASE_URL="https://crm.example", WTF_CSRF_ENABLED=False)
    data = {"email": team.owner.email, "password": PASSWORD, "remember": "y"}
    answer = other.test_client().post("/login", data=data, base_url="https://crm.example")
    cookies = answer.headers.getlist("Set-Cookie")
    assert len(cookies) == 2 and answer.headers["Strict-Transport-Security"]
    for cookie in cookies:
        assert "Secure" in cookie and "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert any(cookie.startswith("__Host-soconnective=") for cookie in cookies)


def test_a_remembered_person_comes_back_until_the_password_changes(app: Flask, team: Any) -> None:
    client = app.test_client()
    client.post("/login", data={"email": team.owner.email, "password": PASSWORD, "remember": "y"})
    client.delete_cookie("soconnective")
    assert client.get("/dashboard").status_code == 200
    other = app.test_client()
    other.post("/login", data={"email": team.owner.email, "password": PASSWORD})
    other.post(
        "/dashboard/settings/password",
        data={"password": PASSWORD, "new_password": "quite another", "new_password_confirm": "quite another"},
    )
    client.delete_cookie("soconnective")
    assert client.get("/dashboard").status_code == 302


FORWARDED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "crm.example",
}


def seen_by(app: Flask) -> tuple[str | None, str, str]:
    found = []
    app.before_request_funcs.setdefault(None, []).insert(
        0, lambda: found.append((request.remote_addr, request.scheme, request.host))
    )
    app.test_client().get("/healthz", headers=FORWARDED)
    return found[0]


def test_forwarded_headers_count_only_behind_a_trusted_proxy(app: Flask, another: Any) -> None:
    assert seen_by(app) == ("127.0.0.1", "http", "localhost")
    other = another(SOCONNECTIVE_TRUSTED_PROXIES=1)
    assert seen_by(other) == ("203.0.113.9", "https", "crm.example")


def test_json_is_not_taken_where_forms_are(app: Flask, team: Any, owner: Any) -> None:
    body = {"email": team.owner.email, "password": PASSWORD}
    assert app.test_client().post("/login", json=body).status_code == 415
    assert owner.post("/dashboard/companies/new", json={"name": "x"}).status_code == 415

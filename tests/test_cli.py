"""The command: what it says and what it does, run as an operator runs it."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from soconnective.accounts import queries
from soconnective.config import BadSettings
from soconnective.core.tenancy import acting_in
from soconnective.events import event_types
from tests.workspaces import PASSWORD


@pytest.fixture
def run(app: Flask) -> Any:
    def invoke(*words: str, fails: bool = False) -> str:
        result = app.test_cli_runner().invoke(args=list(words))
        assert (result.exit_code != 0) is fails, result.output
        return str(result.output)

    return invoke


def can_sign_in(app: Flask, email: str, password: str) -> bool:
    return app.test_client().post("/login", data={"email": email, "password": password}).status_code == 302  # type: ignore[no-any-return]


def test_doctor_finds_a_healthy_instance(run: Any, database_kind: str) -> None:
    said = run("doctor")
    assert "BAD" not in said and "can be written" in said and "schema is the newest" in said
    assert ("SQLite" in said) is (database_kind == "sqlite")


def test_doctor_finds_an_old_schema(app: Flask, databases: Any, run: Any) -> None:
    from soconnective import create_app
    from soconnective.core.db import db

    url = databases.empty()
    old = create_app({"DATABASE_URL": url, "SECRET_KEY": "x" * 40, "TESTING": True})
    result = old.test_cli_runner().invoke(args=["doctor"])
    assert result.exit_code == 1 and "BAD" in result.output
    with old.app_context():
        db.session.remove()
        db.engine.dispose()
    databases.discard(url)


def test_a_workspace_and_people_are_added(app: Flask, run: Any) -> None:
    run("tenant", "add", "Initech", "--currency", "CHF", "--timezone", "Europe/Zurich")
    words = ("user", "add", "ana@x.example", "--name", "Ana", "--tenant", "Initech", "--role", "owner")
    run(*words, "--password", PASSWORD)
    assert can_sign_in(app, "ana@x.example", PASSWORD)
    with app.app_context():
        tenant = queries.tenant_named("Initech")
        assert tenant is not None and tenant.currency == "CHF"
        with acting_in(tenant.id):
            assert [person.role for person in queries.load_people().values()] == ["owner"]
    assert "member already" in run(*words, "--password", PASSWORD, fails=True)


@pytest.mark.parametrize(
    "words",
    [
        ("tenant", "add", "X", "--timezone", "Mars/Olympus"),
        ("tenant", "add", "X", "--currency", "XYZ"),
        ("user", "add", "a@x.example", "--name", "A", "--tenant", "Nowhere", "--password", PASSWORD),
        ("user", "add", "no address", "--name", "A", "--tenant", "Acme", "--password", PASSWORD),
        ("user", "add", "a@x.example", "--name", "A", "--tenant", "Acme", "--password", "short"),
        ("user", "reset-password", "nobody@x.example", "--password", PASSWORD),
        ("demo",),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_what_cannot_be_is_said_without_a_traceback(team: Any, run: Any, words: tuple[str, ...]) -> None:
    said = run(*words, fails=True)
    assert "Traceback" not in said and "Error" in said


def test_a_password_is_reset_and_sessions_end(app: Flask, team: Any, sign_in: Any, run: Any) -> None:
    client = sign_in(team.member)
    run("user", "reset-password", team.member.email, "--password", "quite another one")
    assert client.get("/dashboard").status_code == 302
    assert can_sign_in(app, team.member.email, "quite another one")


def test_events_prints_the_catalogue(run: Any) -> None:
    said = run("events")
    assert all(name in said for name in event_types())


def test_demo_comes_and_goes(app: Flask, run: Any) -> None:
    assert "owner@acme.example" in run("demo")
    assert "2 demo workspaces removed" in run("demo", "--remove")
    assert "no demo data" in run("demo", "--remove")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "99999"), ("DATABASE_URL", "mysql://x"), ("SOCONNECTIVE_RULE_DEPTH", "0"), ("SOCONNECTIVE_TRUSTED_PROXIES", "no")],
)  # fmt: skip
def test_a_bad_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, name: str, value: str
) -> None:
    from soconnective import create_app

    monkeypatch.setenv("SOCONNECTIVE_INSTANCE", str(tmp_path))
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings, match=name):
        create_app()


def test_a_demo_workspace_with_real_people_is_kept_and_named(app: Flask, run: Any) -> None:
    run("demo")
    run("user", "add", "ana@x.example", "--name", "Ana", "--tenant", "Acme", "--password", PASSWORD)
    said = run("demo", "--remove")
    assert "1 demo workspaces removed" in said and "Kept, since real people work there: Acme." in said

"""Posts that write nothing: they store no key of theirs and wait for nobody who writes, whatever is put into them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from soconnective.core import sqlite, web
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from tests.factories.records import make_rule

CRAFTED = {"form_key": "crafted"}


@contextmanager
def somebody_writes(app: Flask) -> Iterator[Any]:
    """Another connection holds the database's write lock, in the middle of its work."""
    with app.app_context():
        token = sqlite.reads_only.set(False)
        try:
            with db.engine.begin() as connection:
                yield connection
        finally:
            sqlite.reads_only.reset(token)


def stored(app: Flask) -> int:
    with app.app_context(), db.engine.begin() as connection:
        return int(connection.execute(text("SELECT count(*) FROM form_posts")).scalar() or 0)


def posts(app: Flask, team: Any) -> dict[str, dict[str, str]]:
    with app.app_context(), acting_in(team.id):
        rule_id = make_rule().id
        db.session.rollback()
    return {
        f"/dashboard/automations/{rule_id}/test": {},
        "/dashboard/deals/new": {"op": "draw it again"},
        "/logout": {},
    }


@pytest.mark.parametrize("what", ["test", "new", "logout"])
def test_it_stores_nothing_and_waits_for_nobody(
    app: Flask, team: Any, owner: FlaskClient, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    [(url, data)] = [found for found in posts(app, team).items() if found[0].endswith(what)]
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.2)
    with somebody_writes(app):
        answer = owner.post(url, data={**data, **CRAFTED})
    assert answer.status_code < 500, answer.text[:300]
    assert stored(app) == 0
    if what == "logout":
        assert owner.get("/dashboard").status_code == 302


def test_control_a_sign_out_that_counts_as_writing_waits_and_fails(
    app: Flask, team: Any, owner: FlaskClient, monkeypatch: pytest.MonkeyPatch, database_kind: str
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.2)
    monkeypatch.setattr(web, "_WRITES_NOTHING", set())
    with somebody_writes(app):
        answer = owner.post("/logout", data=CRAFTED)
    assert answer.status_code == (503 if database_kind == "sqlite" else 302)  # SQLite has one writer

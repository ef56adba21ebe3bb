"""Secrets: sealed in the database, opened only with the key they were sealed with, never another workspace's."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, current_app
from sqlalchemy import text

from soconnective.core.db import db, write_transaction
from soconnective.core.secrets import SecretLost, has_secret, keep_secret, open_secret
from soconnective.core.tenancy import acting_in

CANARY = "hunter2-canary-ünïcode"


def test_a_secret_is_kept_replaced_and_forgotten(inside: Any) -> None:
    assert open_secret("smtp") is None and not has_secret("smtp")
    for value in (CANARY, "another"):
        with write_transaction():
            keep_secret("smtp", value)
        assert open_secret("smtp") == value and has_secret("smtp")
    with write_transaction():
        keep_secret("smtp", None)
        keep_secret("never there", None)
    assert open_secret("smtp") is None


def test_its_row_does_not_tell_it(inside: Any) -> None:
    with write_transaction():
        keep_secret("smtp", CANARY)
    rows = db.session.execute(text("SELECT * FROM secrets WHERE tenant_id = :t"), {"t": inside.id}).all()
    assert len(rows) == 1 and CANARY not in repr(rows)


def test_another_key_cannot_open_it(inside: Any) -> None:
    with write_transaction():
        keep_secret("smtp", CANARY)
    current_app.config["SECRET_KEY"] += "x"
    with pytest.raises(SecretLost):
        open_secret("smtp")


def test_it_is_one_workspaces(app: Flask, inside: Any, rivals: Any) -> None:
    with write_transaction():
        keep_secret("smtp", CANARY)
    with acting_in(rivals.id):
        assert open_secret("smtp") is None

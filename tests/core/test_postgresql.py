"""A connection whose server went away while it lay idle is replaced unnoticed."""

from __future__ import annotations

import psycopg
import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from soconnective.core import postgresql
from soconnective.core.db import db


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_an_idle_connection_is_asked_first(
    app: Flask, database_kind: str, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    if database_kind != "postgresql":
        return
    monkeypatch.setattr(postgresql, "IDLE_SECONDS", seconds)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
        with db.engine.connect() as first:
            first.execute(text("SELECT 1"))
        server = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with db.engine.connect() as victim:
            pid = victim.execute(text("SELECT pg_backend_pid()")).scalar()
        with psycopg.connect(server) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
        if seconds:  # the control: without asking, the next one fails
            with pytest.raises(OperationalError), db.engine.connect() as broken:
                broken.execute(text("SELECT 1"))
        else:
            with db.engine.connect() as fine:
                assert fine.execute(text("SELECT 1")).scalar() == 1

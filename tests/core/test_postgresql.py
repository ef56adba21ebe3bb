"""A connection whose server went away while it lay idle is replaced unnoticed; one that goes midway is told as such."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from soconnective.contacts.models import Company
from soconnective.contacts.operations import create_company
from soconnective.core import postgresql
from soconnective.core.db import db, discarded_transaction, write_transaction
from soconnective.core.errors import TransactionLost


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


def test_a_server_that_goes_away_inside_a_savepoint_is_told_as_such(app: Flask, database_kind: str) -> None:
    """What the hooks remember of a connection is gone with it: they must not fail in its place."""
    if database_kind != "postgresql":
        return
    with app.app_context():
        server = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with db.engine.connect() as victim:
            pid = victim.execute(text("SELECT pg_backend_pid()")).scalar()
            nested = victim.begin_nested()
            with psycopg.connect(server) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
            with pytest.raises(OperationalError) as told:
                victim.execute(text("SELECT 1"))
            assert told.value.connection_invalidated
            nested.rollback()
            assert victim.invalidated
        with db.engine.connect() as fine:
            assert fine.execute(text("SELECT 1")).scalar() == 1


def test_an_error_that_somebody_hid_is_no_quiet_success(inside: Any, database_kind: str) -> None:
    """The server answers COMMIT with ROLLBACK then, and the driver says nothing of it."""
    if database_kind != "postgresql":
        return

    def write() -> None:
        with write_transaction():
            db.session.execute(
                text("INSERT INTO rate_windows (key, count, expires_at) VALUES ('lost', 1, 1)")
            )
            with suppress(ProgrammingError):
                db.session.connection().exec_driver_sql("SELECT nonsense FROM nowhere")

    with pytest.raises(TransactionLost):
        write()
    assert db.session.execute(text("SELECT count(*) FROM rate_windows")).scalar() == 0


def test_what_is_only_tried_waits_for_nobody_for_long(app: Flask, inside: Any, database_kind: str) -> None:
    """On PostgreSQL a lock that somebody holds is given up at once; nothing of what was tried stays."""
    with write_transaction():
        company = create_company("Held")
    statement = select(Company).where(Company.id == company.id).with_for_update()
    with discarded_transaction():
        create_company("Tried")
        db.session.flush()
    assert db.session.scalars(select(Company.name)).all() == ["Held"]
    if database_kind != "postgresql":
        return
    table: Any = Company.__table__
    db.session.rollback()
    with db.engine.connect() as other:
        locked = select(table.c.id).where(table.c.tenant_id == inside.id).with_for_update()
        assert len(other.execute(locked).all()) == 1
        with pytest.raises(OperationalError, match="lock timeout"), discarded_transaction():
            db.session.scalars(statement).one()
        other.rollback()
    assert db.session.scalars(statement).one().name == "Held"

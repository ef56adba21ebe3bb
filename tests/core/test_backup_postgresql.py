"""Dumps at their edges: who may make one, what is compared, and what a restore refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask

from soconnective.core import backup_postgresql, restore_postgresql
from soconnective.core.backup import BackupFailed
from soconnective.core.backup_postgresql import Server
from soconnective.core.db import db


@pytest.fixture(autouse=True)
def only_postgresql(request: pytest.FixtureRequest, database_kind: str) -> None:
    """On SQLite the tests of this file are about nothing, and end at once."""
    if database_kind != "postgresql":
        request.node.obj = lambda *_args, **_kwargs: None


@pytest.fixture
def server(app: Flask) -> Server | None:
    if not app.config["SOCONNECTIVE_OWNER_URL"]:
        return None
    with app.app_context():
        return Server.of(db.engine, app.config["SOCONNECTIVE_OWNER_URL"])


def test_only_the_owner_makes_one(app: Flask) -> None:
    with app.app_context(), pytest.raises(BackupFailed, match="Set SOCONNECTIVE_OWNER_URL"):
        Server.of(db.engine, "")


def test_the_programs_are_looked_for_on_the_path_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_postgresql, "DEBIAN", tmp_path / "none")
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(BackupFailed, match="apt-get install postgresql-client"):
        backup_postgresql.find_programs(15)
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / name))
    with pytest.raises(BackupFailed, match="are not there"):
        backup_postgresql.find_programs(15)
    for name in ("pg_dump", "pg_restore", "psql"):
        (tmp_path / name).touch()
    assert backup_postgresql.find_programs(15) == tmp_path


def test_an_owner_without_the_right_to_make_databases_is_told_what_was_not_compared(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_server: Server) -> Any:
        raise psycopg.errors.InsufficientPrivilege("permission denied to create database")

    monkeypatch.setattr(backup_postgresql, "_scratch", refuse)
    assert "may not create databases" in backup_postgresql.make(server, tmp_path / "saved").verified


def test_a_dump_with_other_rows_is_no_backup(
    server: Server, team: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = backup_postgresql.rows_of, []

    def rows_of(connection: Any) -> Any:
        calls.append(1)
        return {**real(connection), **({"tenants": (0, "0")} if len(calls) > 1 else {})}

    monkeypatch.setattr(backup_postgresql, "rows_of", rows_of)
    with pytest.raises(BackupFailed, match="does not hold the same rows"):
        backup_postgresql.make(server, tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_a_dump_of_something_else_is_refused(server: Server, tmp_path: Path) -> None:
    words = ["--format=custom", f"--file={tmp_path / 'other'}"]
    server.run("pg_dump", *words, "--table=tenants")
    with pytest.raises(BackupFailed, match=r"no backup of SoConnective\.$"):
        restore_postgresql.examine(server, tmp_path / "other", {"0001"})
    with server.connect() as connection:
        held = connection.execute("DELETE FROM alembic_version RETURNING version_num").fetchall()
    server.run("pg_dump", *words)
    with server.connect() as connection:  # the worker's next test has this database too
        connection.execute("INSERT INTO alembic_version VALUES (%s)", held[0])
    with pytest.raises(BackupFailed, match="no schema revision"):
        restore_postgresql.examine(server, tmp_path / "other", {"0001"})


def test_a_restore_that_fails_midway_changes_nothing(
    server: Server, team: Any, tmp_path: Path, app: Flask
) -> None:
    """pg_restore reads to the end before COMMIT is said; a truncated file never gets there."""
    backup_postgresql.make(server, tmp_path / "saved")
    with server.connect() as connection:
        before = backup_postgresql.rows_of(connection)
    held = (tmp_path / "saved").read_bytes()
    (tmp_path / "saved").write_bytes(held[: len(held) // 2])
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    with pytest.raises(BackupFailed, match="nothing was changed"):
        restore_postgresql.put_in_place(server, tmp_path / "saved", db.metadata.tables)
    with server.connect() as connection:
        assert backup_postgresql.rows_of(connection) == before

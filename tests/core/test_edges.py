"""More edges of the core: what a failed savepoint leaves in the session, rows of no tenant, damaged backups."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, StatementError

from soconnective.accounts.models import Membership, RateWindow
from soconnective.contacts.models import Company
from soconnective.contacts.operations import create_company
from soconnective.core import backup_sqlite, restore_sqlite
from soconnective.core import db as database
from soconnective.core.backup import BackupFailed, Copy
from soconnective.core.backup_sqlite import MARK, connect
from soconnective.core.db import db, savepoint, write_transaction
from soconnective.core.errors import TransactionLost
from soconnective.core.forms import workspace_of_token, workspace_token
from soconnective.core.sqlite import require_transaction
from soconnective.core.tenancy import acting_in
from soconnective.tasks.models import Task
from soconnective.tasks.operations import create_task
from tests.core.test_backup_files import KNOWN, make_database, put

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


# --- the session ----------------------------------------------------------------------------------------


def _fail_unseen() -> None:
    """A flush that fails, and nobody looks: the savepoint is over."""
    with suppress(IntegrityError):
        db.session.add(Task(title="x", status="nonsense", priority="normal"))
        db.session.flush()


def test_what_is_done_behind_a_hidden_failure_is_forgotten_of_each_kind(inside: Any) -> None:
    with write_transaction():
        changed, deleted = create_company("Kept"), create_task("Stays")
    with write_transaction():
        assert (changed.name, deleted.title) == ("Kept", "Stays")  # loaded
        with suppress(RuntimeError), savepoint(db.session()):
            _fail_unseen()
            with db.session.no_autoflush:
                changed.__dict__.setdefault("name", "Kept")
                changed.name = "left over"
                db.session.delete(deleted)
                db.session.add(Company(name="left over, too"))
                assert db.session.dirty and db.session.deleted and db.session.new
            raise RuntimeError("planted")
        assert not (db.session.dirty or db.session.deleted or db.session.new)
    db.session.expire_all()
    assert list(db.session.scalars(select(Company.name))) == ["Kept"]
    assert list(db.session.scalars(select(Task.title))) == ["Stays"]


def test_control_without_forgetting_it_would_go_out_with_the_next_work(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_forget_unsaved", lambda _session: None)
    with write_transaction(), suppress(RuntimeError), savepoint(db.session()):
        _fail_unseen()
        db.session.add(Company(name="left over"))
        raise RuntimeError("planted")
    assert list(db.session.scalars(select(Company.name))) == ["left over"]


def test_a_savepoint_that_fails_with_nothing_hidden_is_rolled_back_as_ever(inside: Any) -> None:
    with write_transaction():
        create_company("Kept")
        with suppress(RuntimeError), savepoint(db.session()):
            create_company("Never")
            db.session.flush()
            raise RuntimeError("planted")
    assert list(db.session.scalars(select(Company.name))) == ["Kept"]


def test_what_is_registered_twice_runs_once(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_before_outermost_commit", [])
    seen: list[Any] = []
    for _ in range(2):
        database.before_outermost_commit(seen.append)
    with write_transaction():
        with db.session.begin_nested():
            create_company("One")
        assert seen == []  # a savepoint is no commit
    assert seen == [db.session()]


def test_rows_of_the_instance_are_deleted_beside_those_of_a_tenant(inside: Any) -> None:
    """The guard looks at tenants' rows, and lets the others go."""
    with write_transaction():
        company = create_company("Gone")
        db.session.add(RateWindow(key="x", expires_at=1.0, count=1))
    with write_transaction():
        for row in (company, db.session.scalars(select(RateWindow)).one()):
            db.session.delete(row)
        member = select(Membership).where(Membership.user_id == inside.viewer.id)
        db.session.delete(db.session.scalars(member).one())
    assert db.session.scalars(select(RateWindow)).all() == [] and db.session.query(Company).count() == 0


def test_a_moment_without_a_zone_is_refused(inside: Any) -> None:
    with pytest.raises(StatementError, match="needs a time zone"), write_transaction():
        create_task("Call").completed_at = datetime(2026, 1, 1)


def test_a_statement_outside_of_a_transaction_is_refused() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        with pytest.raises(TransactionLost):
            require_transaction(connection)
        connection.execute("BEGIN")
        require_transaction(connection)


def test_a_connection_comes_back_without_its_transaction(app: Flask, database_kind: str) -> None:
    """So what is counted after many changes is counted in nobody's transaction, and the next one may write."""
    if database_kind != "sqlite":
        return
    with app.app_context():
        for _ in range(2):
            with db.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
                raw: Any = connection.connection.dbapi_connection
                raw.statistics.changes = 10_000
                assert raw.in_transaction
            assert not raw.in_transaction and raw.statistics.changes == 0
        with write_transaction():
            db.session.execute(text("DELETE FROM rate_windows"))


# --- who and where --------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "1", "x.y", "1.forged", "\x00", "é.ü"])
def test_a_token_that_is_not_ours_names_no_workspace(app: Flask, team: Any, token: str) -> None:
    with app.app_context():
        assert workspace_of_token(token) is None and workspace_token() == ""
        with acting_in(team.id):
            assert workspace_of_token(workspace_token()) == team.id


# --- backups --------------------------------------------------------------------------------------------


def marked(path: Path, digest: str | None = None) -> Path:
    """A backup with its mark: the right digest, unless another is given."""
    make_database(path, "INSERT INTO tenants VALUES (1, 'Acme');")
    with closing(connect(path)) as live:
        found = backup_sqlite.digest_of(live)[0] if digest is None else digest
        live.execute(f"CREATE TABLE {MARK} (digest TEXT NOT NULL)")
        live.execute(f"INSERT INTO {MARK} VALUES (?)", (found,))
    return path


def test_a_backup_that_carries_its_digest_is_compared_with_it(tmp_path: Path) -> None:
    said = restore_sqlite.take_apart(marked(tmp_path / "good"), tmp_path / "scratch", KNOWN)
    assert "the digest of all rows" in said
    with closing(connect(tmp_path / "scratch")) as plain:
        assert not backup_sqlite.has_table(plain, MARK)
    with pytest.raises(BackupFailed, match="its rows are not those that were saved"):
        restore_sqlite.take_apart(marked(tmp_path / "bad", "0" * 64), tmp_path / "scratch2", KNOWN)


def test_a_file_of_another_kind_and_one_that_is_cut_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("PGDMP or so")
    with pytest.raises(BackupFailed, match="no backup of the embedded database"):
        restore_sqlite.take_apart(tmp_path / "text", tmp_path / "scratch", KNOWN)
    whole = marked(tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackupFailed, match="damaged"):
        restore_sqlite.take_apart(tmp_path / "cut", tmp_path / "scratch", KNOWN)


def test_people_are_replaced_only_when_told_and_kept_beside(tmp_path: Path) -> None:
    scratch = make_database(tmp_path / "scratch.db", "INSERT INTO tenants VALUES (1, 'New');")
    make_database(
        tmp_path / "live.db", "INSERT INTO tenants VALUES (1, 'Old'); INSERT INTO users VALUES (1);"
    )
    with pytest.raises(BackupFailed, match="There are people in the database already"):
        put(scratch)
    rows, kept = put(scratch, replace=True)
    assert rows["users"] == 0 and kept == tmp_path / "kept.db"
    for path, name in ((kept, "Old"), (tmp_path / "live.db", "New")):
        with closing(sqlite3.connect(path)) as found:
            assert found.execute("SELECT name FROM tenants").fetchall() == [(name,)]


def test_a_made_backup_is_counted_and_checked(tmp_path: Path) -> None:
    live = make_database(
        tmp_path / "live.db",
        "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO counted VALUES (5);",
    )
    made = backup_sqlite.make(live, tmp_path / "saved")
    assert made.rows["counted"] == 1 and made.total == sum(made.rows.values()) and "digest" in made.verified
    assert isinstance(made, Copy)
    with closing(connect(tmp_path / "other.db", create=True)) as other:
        other.execute("CREATE TABLE x (y)")
    with pytest.raises(BackupFailed, match="holds no SoConnective data yet"):
        backup_sqlite.make(tmp_path / "other.db", tmp_path / "saved2")
    assert not (tmp_path / "saved2").exists()


def test_who_is_asked_for_long_texts_is_told_their_beginning_and_a_mark() -> None:
    from soconnective.core.words import told

    long, other = "a" * 400, "a" * 399 + "b"
    assert told("short ”x”") == "“short ””x”””"
    assert told(long) != told(other) and "(400 letters, " in told(long)


def test_time_spans_of_the_calendar(app: Flask) -> None:
    from soconnective.core import clock

    assert (
        clock.is_zone("Europe/Madrid") and not clock.is_zone("Mars/Olympus") and "UTC" in clock.zone_names()
    )
    day = AT.date()
    first, last = clock.day_bounds(day, "Europe/Madrid")
    assert last - first == timedelta(days=1)

"""Files that backups write and restores read, at their edges: nothing is overwritten, nothing is half there."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from soconnective.core import backup_sqlite, restore_sqlite
from soconnective.core.backup import BackupFailed, appearing
from soconnective.core.backup_sqlite import connect

KNOWN = {"0001"}


def make_database(path: Path, *statements: str) -> Path:
    """A file that looks like ours, without a row but the revision."""
    with closing(sqlite3.connect(path)) as live:
        live.executescript(
            "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('0001');"
            "CREATE TABLE tenants (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE users (id INTEGER PRIMARY KEY);"
            + "".join(statements)
        )
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_args: Any) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", link)
    with appearing(tmp_path / "made") as fresh:
        fresh.write_text("whole")
    assert (tmp_path / "made").read_text() == "whole"
    assert names_in(tmp_path) == ["made"]


@pytest.mark.parametrize("has_links", [True, False])
def test_what_somebody_else_put_there_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:

        def link(*_args: Any) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "link", link)
    target = tmp_path / "made"

    def write() -> None:
        with appearing(target) as fresh:
            fresh.write_text("ours")
            target.write_text("theirs")

    with pytest.raises(BackupFailed, match="exists already"):
        write()
    assert target.read_text() == "theirs"
    assert names_in(tmp_path) == ["made"]


def test_there_must_be_a_database(tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="There is no database"):
        backup_sqlite.make(tmp_path / "none.db", tmp_path / "saved")


def test_tables_without_keys_and_counters_have_a_digest(tmp_path: Path) -> None:
    path = make_database(tmp_path / "a.db")
    with closing(connect(path)) as live:
        first, rows = backup_sqlite.digest_of(live)
        assert rows == {"alembic_version": 1, "tenants": 0, "users": 0}  # and no counter is kept
        live.execute("UPDATE alembic_version SET version_num = '0002'")
        assert backup_sqlite.digest_of(live)[0] != first


POINTS = (
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, tenant_id REFERENCES tenants(id));"
    "INSERT INTO notes VALUES (1, 7);"
)


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        (POINTS, "a row points at one that is not there"),
        ("DROP TABLE users;", "no backup of SoConnective"),
        ("DELETE FROM alembic_version;", "it has no schema revision"),
        ("UPDATE alembic_version SET version_num = '0099';", "newer SoConnective"),
    ],
)
def test_what_is_no_backup_is_refused(tmp_path: Path, statement: str, complaint: str) -> None:
    file = make_database(tmp_path / "file", statement)
    with pytest.raises(BackupFailed, match=complaint):
        restore_sqlite.take_apart(file, tmp_path / "scratch", KNOWN)


def test_a_damaged_index_is_found(tmp_path: Path) -> None:
    file = make_database(
        tmp_path / "file", "CREATE INDEX one ON tenants (name); INSERT INTO tenants VALUES (1, 'Acme');"
    )
    with closing(sqlite3.connect(file)) as live:  # the index says that there is a row which the table lacks
        live.executescript("PRAGMA writable_schema=1; DELETE FROM sqlite_master WHERE name = 'one';")
    with closing(sqlite3.connect(file)) as live:
        live.execute("DELETE FROM tenants")
        live.execute("PRAGMA writable_schema=1")
        root = live.execute("PRAGMA page_count").fetchone()[0]
        live.execute(
            "INSERT INTO sqlite_master VALUES ('index', 'one', 'tenants', ?, 'CREATE INDEX one ON tenants (name)')",
            (root,),
        )
        live.commit()
    with pytest.raises(BackupFailed, match="The file is damaged"):
        restore_sqlite.take_apart(file, tmp_path / "scratch", KNOWN)


def test_a_database_in_use_is_no_backup(tmp_path: Path) -> None:
    file = make_database(tmp_path / "file")
    with closing(connect(file)) as live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("INSERT INTO tenants VALUES (1, 'Acme')")
        with pytest.raises(BackupFailed, match="in use, not a backup"):
            restore_sqlite.take_apart(file, tmp_path / "scratch", KNOWN)


def test_a_plain_copy_without_a_mark_is_taken_but_said_to_be(tmp_path: Path) -> None:
    file = make_database(tmp_path / "file")
    assert "no digest" in restore_sqlite.take_apart(file, tmp_path / "scratch", KNOWN)


# What is put in place: `scratch` holds one tenant; the place holds what the test put there.


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return make_database(tmp_path / "scratch.db", "INSERT INTO tenants VALUES (1, 'Acme');")


def put(scratch: Path, replace: bool = False) -> Any:
    folder = scratch.parent
    return restore_sqlite.put_in_place(scratch, folder / "live.db", folder / "kept.db", replace)


def test_where_nothing_was(scratch: Path) -> None:
    rows, kept = put(scratch)
    assert rows["tenants"] == 1 and kept is None


def test_a_file_that_nobody_can_read_is_put_aside_only_when_told(scratch: Path) -> None:
    live = scratch.with_name("live.db")
    live.write_bytes(b"no database at all" * 500)
    with pytest.raises(BackupFailed, match=r"cannot be read .*--replace puts it aside"):
        put(scratch)
    assert live.read_bytes().startswith(b"no database")
    Path(f"{live}-shm").write_bytes(b"left over")
    rows, kept = put(scratch, replace=True)
    assert rows["tenants"] == 1 and kept == scratch.with_name("kept.db")
    assert kept.read_bytes().startswith(b"no database")
    assert Path(f"{kept}-shm").exists() and not Path(f"{live}-shm").exists()


def test_what_was_kept_before_is_not_overwritten(scratch: Path) -> None:
    scratch.with_name("live.db").write_bytes(b"no database at all" * 500)
    scratch.with_name("kept.db").write_text("kept earlier")
    with pytest.raises(BackupFailed, match="exists already"):
        put(scratch, replace=True)
    assert scratch.with_name("kept.db").read_text() == "kept earlier"


def test_a_database_that_is_open_elsewhere_is_left_alone(scratch: Path) -> None:
    live = make_database(scratch.with_name("live.db"))
    with closing(connect(live)) as somebody:
        somebody.execute("PRAGMA journal_mode=WAL")
        somebody.execute("SELECT count(*) FROM tenants").fetchone()
        with pytest.raises(BackupFailed, match="is in use: stop `soconnective serve` first"):
            put(scratch, replace=True)
        assert somebody.execute("SELECT count(*) FROM tenants").fetchone() == (0,)


def test_an_error_of_the_disk_is_told_as_it_is(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    class Failing:
        execute = fail

    with pytest.raises(sqlite3.OperationalError, match="disk"):
        restore_sqlite._have_alone(Failing(), scratch)  # type: ignore[arg-type]
    monkeypatch.setattr(restore_sqlite, "_have_alone", fail)
    with pytest.raises(sqlite3.OperationalError, match="disk"):
        put(scratch)
    assert not scratch.with_name("live.db").exists()  # the empty file that was opened is gone

"""Putting a backup of the embedded database in its place: checked first, and all of it or nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from soconnective.core.backup import SIDE_FILES, BackupFailed, appearing
from soconnective.core.backup_sqlite import MARK, check, connect, digest_of, has_table

MAGIC = b"SQLite format 3\0"
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def take_apart(file: Path, scratch: Path, known: Collection[str]) -> str:
    """Copy `file` to `scratch` (an empty file), check it there and take the mark off: a plain database."""
    with file.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise BackupFailed("The file is no backup of the embedded database (SQLite).")
    beside = Path(f"{file}-wal")
    if beside.exists() and beside.stat().st_size:
        raise BackupFailed(
            f"{file} is a database in use, not a backup: make one of it with `soconnective backup`."
        )
    shutil.copyfile(file, scratch)
    with closing(connect(scratch)) as copy:
        verified = check(copy)
        revisions = {row[0] for row in copy.execute("SELECT version_num FROM alembic_version")}
        if not revisions:
            raise BackupFailed("The file is no backup of SoConnective: it has no schema revision.")
        if not revisions <= set(known):
            raise BackupFailed(
                f"The backup was made by a newer SoConnective (schema {', '.join(sorted(revisions))})."
            )
        copy.execute(f"DROP TABLE IF EXISTS {MARK}")
    return verified


def put_in_place(
    scratch: Path, database: Path, kept: Path, replace: bool
) -> tuple[dict[str, int], Path | None]:
    """Fill `database` with what `scratch` holds; returns the rows' numbers and where the old data are kept.

    The content is written through SQLite as one transaction, so the file stays the same one for whoever
    opens it, and a crash midway leaves the old data. A file that SQLite cannot read is put aside instead.
    """
    existed = database.exists()
    try:
        with closing(connect(database, create=True, wait=1.0)) as live:
            _have_alone(live, database)
            has_people = has_table(live, "users") and live.execute("SELECT 1 FROM users").fetchone()
            if has_people and not replace:
                raise BackupFailed(
                    "There are people in the database already; --replace puts the backup in its place."
                )
            if has_people:
                with appearing(kept) as fresh, closing(connect(fresh)) as old:
                    live.backup(old)
            with closing(connect(scratch)) as new:
                new.execute("PRAGMA journal_mode=DELETE")
                new.backup(live)
            return digest_of(live)[1], kept if has_people else None
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        if not replace:
            raise BackupFailed(f"{database} cannot be read ({error}); --replace puts it aside.") from None
    finally:
        if not existed and database.exists() and not database.stat().st_size:
            database.unlink()
    return _swap(scratch, database, kept), kept


def _swap(scratch: Path, database: Path, kept: Path) -> dict[str, int]:
    """Put a file that cannot be read aside, with whatever SQLite left beside it."""
    if os.path.lexists(kept):
        raise BackupFailed(f"{kept} exists already; it is not overwritten.")
    for suffix in (*SIDE_FILES, ""):
        if Path(f"{database}{suffix}").exists():
            Path(f"{database}{suffix}").rename(f"{kept}{suffix}")
    scratch.rename(database)
    with closing(connect(database)) as live:
        return digest_of(live)[1]


def _have_alone(live: sqlite3.Connection, database: Path) -> None:
    """Take the file for this connection; in WAL mode whoever has it open holds a lock, idle or not."""
    try:
        live.execute("PRAGMA locking_mode=EXCLUSIVE")
        live.execute("PRAGMA journal_mode=DELETE").fetchone()  # writes the WAL back and removes it
        live.execute("BEGIN EXCLUSIVE")
        live.execute("COMMIT")  # the lock stays
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in BUSY:
            raise
        raise BackupFailed(f"{database} is in use: stop `soconnective serve` first.") from None

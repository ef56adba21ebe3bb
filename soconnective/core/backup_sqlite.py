"""Backups of the embedded database: a checked copy of one moment (`restore_sqlite` puts it back).

`VACUUM INTO` cannot run inside a transaction, so nothing can be said to be read at *its* moment. The
online backup API copies what the connection's open read transaction sees, while others write; the digest
of the rows is taken in that same transaction, stored in the copy and compared after it was vacuumed.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from soconnective.core.backup import BackupFailed, Copy, appearing

MARK = "soconnective_backup"  # a table that only backups hold: the digest of the rest
WAIT_SECONDS = 15.0


def make(database: Path, target: Path) -> Copy:
    """A verified copy of `database` as `target`, which must not exist; others may go on writing."""
    if not database.exists():
        raise BackupFailed(f"There is no database at {database}.")
    with appearing(target) as fresh, closing(connect(fresh)) as copy:
        with closing(connect(database)) as source:
            source.execute("BEGIN")
            digest, rows = digest_of(source)
            source.backup(copy)  # within the transaction: the very moment of the digest
        if not is_ours(copy):
            raise BackupFailed(f"{database} holds no SoConnective data yet.")
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
        copy.execute(f"DROP TABLE IF EXISTS {MARK}")
        copy.execute(f"CREATE TABLE {MARK} (digest TEXT NOT NULL)")
        copy.execute(f"INSERT INTO {MARK} VALUES (?)", (digest,))  # noqa: S608  a name of ours
        copy.execute("VACUUM")  # what was deleted is not carried along
        verified = check(copy)
    return Copy(rows, verified)


def check(copy: sqlite3.Connection) -> str:
    """Raise `BackupFailed` unless `copy` is sound in itself; says what was looked at."""
    try:
        if (said := copy.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise BackupFailed(f"The file is damaged: {said}")
        if copy.execute("PRAGMA foreign_key_check").fetchone():
            raise BackupFailed("The file is damaged: a row points at one that is not there.")
        if not is_ours(copy):
            raise BackupFailed("The file is no backup of SoConnective.")
        if not has_table(copy, MARK):
            return "integrity and foreign keys; it carries no digest of its rows"
        if copy.execute(f"SELECT digest FROM {MARK}").fetchone() != (digest_of(copy)[0],):  # noqa: S608
            raise BackupFailed("The file is damaged: its rows are not those that were saved.")
    except sqlite3.DatabaseError as error:
        raise BackupFailed(f"The file is damaged or is no backup: {error}") from None
    return "integrity, foreign keys and the digest of all rows"


def digest_of(connection: sqlite3.Connection) -> tuple[str, dict[str, int]]:
    """One hash of the schema, of every row of every table and of the id counters; and the rows' numbers."""
    found = hashlib.sha256()
    numbers = {}
    master = "FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!' AND tbl_name <> ?"
    for row in connection.execute(f"SELECT type, name, sql {master} ORDER BY type, name", (MARK,)):
        found.update(repr(row).encode())
    names = [row[0] for row in connection.execute(f"SELECT name {master} AND type = 'table' ORDER BY name", (MARK,))]  # fmt: skip
    for name in names:
        table = _quoted(name)
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        key = [_quoted(c[1]) for c in sorted(columns, key=lambda c: int(c[5])) if c[5]]
        number = 0
        connection.text_factory = bytes  # a flipped byte may leave no valid text
        try:
            order = ", ".join(key or [_quoted(c[1]) for c in columns])
            for number, row in enumerate(  # noqa: B007  the last one is their number
                connection.execute(f"SELECT * FROM {table} ORDER BY {order}"),  # noqa: S608
                1,
            ):
                found.update(repr(row).encode())
        finally:
            connection.text_factory = str
        numbers[name] = number
        found.update(f"{name} {number}".encode())
    if has_table(connection, "sqlite_sequence"):
        for row in connection.execute("SELECT name, seq FROM sqlite_sequence ORDER BY name"):
            found.update(repr(row).encode())
    return found.hexdigest(), numbers


def is_ours(connection: sqlite3.Connection) -> bool:
    return all(has_table(connection, name) for name in ("alembic_version", "tenants", "users"))


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    sought = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(sought, (name,)).fetchone() is not None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def connect(path: Path, *, create: bool = False, wait: float = WAIT_SECONDS) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=wait)

"""Putting a dump in the place of a PostgreSQL database: one transaction, committed only when all was read.

`pg_restore --clean` leaves the tables that the dump does not know (an older backup into a newer schema),
and fails where one of them points at a table that it must drop. So the script that `pg_restore` writes is
fed to `psql` inside a transaction that first drops every table of ours; COMMIT follows when `pg_restore`
has ended well, otherwise `psql` ends without it and the server rolls back.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from psycopg import sql

from soconnective.core.backup import BackupFailed, Copy
from soconnective.core.backup_postgresql import Server, contents, rows_of

LOCK_WAIT = "10s"
CHUNK = 1 << 16


def examine(server: Server, dump: Path, known: Collection[str]) -> None:
    """Raise `BackupFailed` unless `dump` is whole and of a schema that is known here."""
    listed = contents(server, dump)
    if not all(
        re.search(rf" TABLE DATA \S+ {name} ", listed) for name in ("alembic_version", "tenants", "users")
    ):
        raise BackupFailed("The file is no backup of SoConnective.")
    script = server.run("pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(dump))
    found = re.search(r"^COPY \S*alembic_version .*?;\n(.*?)^\\\.$", script, re.DOTALL | re.MULTILINE)
    revisions = set(found[1].split()) if found else set()
    if not revisions:
        raise BackupFailed("The file is no backup of SoConnective: it has no schema revision.")
    if not revisions <= set(known):
        raise BackupFailed(
            f"The backup was made by a newer SoConnective (schema {', '.join(sorted(revisions))})."
        )


def has_people(server: Server) -> bool:
    with server.connect() as connection:
        there = connection.execute("SELECT to_regclass('users') IS NOT NULL").fetchone() == (True,)
        return there and connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None


def put_in_place(server: Server, dump: Path, tables: Collection[str]) -> None:
    """Replace what the database holds by the dump; `tables` are the names of ours, dropped first."""
    names = sql.SQL(", ").join([sql.Identifier(name) for name in (*tables, "alembic_version")])
    first = sql.SQL(
        "BEGIN; SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = {}; DROP TABLE IF EXISTS {} CASCADE;\n"
    )
    words = ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--file=-", str(dump)]
    writer = _start(server, "pg_restore", words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    words = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"]
    reader = _start(
        server, "psql", words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    entry, script, complaints = (
        cast("IO[bytes]", pipe) for pipe in (reader.stdin, writer.stdout, reader.stderr)
    )
    with reader, writer:
        with suppress(BrokenPipeError), entry:
            entry.write(first.format(sql.Literal(LOCK_WAIT), names).as_string().encode())
            while part := script.read(CHUNK):
                entry.write(part)
            if writer.wait() == 0:
                entry.write(b"\nCOMMIT;\n")
        script.close()
        complaint = complaints.read().decode(errors="replace").strip()
    if reader.returncode or writer.returncode:
        raise BackupFailed(
            f"The dump could not be restored, nothing was changed: {complaint or 'pg_restore failed'}"
        )


def holding(server: Server) -> Copy:
    """What the database holds now."""
    with server.connect() as connection:
        return Copy({name: number for name, (number, _) in rows_of(connection).items()}, "")


def _start(
    server: Server, program: str, words: list[str], *, stdout: int, stderr: int, stdin: int | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  no shell; the program is one of ours to choose
        [server.programs / program, *words],
        env=server.environment,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
    )

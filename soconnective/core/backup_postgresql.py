"""Backups of a PostgreSQL database: `pg_dump` at an exported snapshot, restored into a scratch database to compare.

The dump ends with a line that holds the SHA-256 of what comes before; `pg_restore` never reads that far.
Passwords travel in the environment, never on a command line that others can see.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq, sql
from sqlalchemy import Engine, make_url

from soconnective.core.backup import BackupFailed, Copy, appearing

DEBIAN = Path("/usr/lib/postgresql")
TRAILER = b"\nSoConnective SHA-256 "
TRAILER_SIZE = len(TRAILER) + 64 + 1
Rows = dict[str, tuple[int, str]]  # of each table: how many, and the sum of their hashes


@dataclass(frozen=True)
class Server:
    """Where a database is, in libpq's words, and the folder of the programs that speak with it."""

    parameters: Mapping[str, Any]
    programs: Path

    @classmethod
    def of(cls, engine: Engine, owner_url: str) -> Server:
        """As the owner, who sees the rows of every workspace; the app's own role sees one at a time."""
        if not owner_url:
            raise BackupFailed(
                "Set SOCONNECTIVE_OWNER_URL: a backup holds every workspace, which only the owner sees."
            )
        parameters = engine.dialect.create_connect_args(make_url(owner_url))[1]
        with psycopg.connect(**parameters) as connection:
            return cls(parameters, find_programs(connection.info.server_version // 10000))

    def at(self, database: str) -> Server:
        return Server({**self.parameters, "dbname": database}, self.programs)

    def connect(self, *, autocommit: bool = False) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(**self.parameters, autocommit=autocommit)

    @property
    def environment(self) -> dict[str, str]:
        names = {
            option.keyword.decode(): option.envvar.decode()
            for option in pq.Conninfo.get_defaults()
            if option.envvar
        }
        given = {names[key]: str(value) for key, value in self.parameters.items() if key in names}
        return {**os.environ, **given, "LC_MESSAGES": "C"}

    def run(self, program: str, *words: str) -> str:
        """What the program says, or `BackupFailed` with its complaint."""
        done = subprocess.run(  # noqa: S603  no shell; the program is one of ours to choose
            [self.programs / program, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BackupFailed(f"{program} failed: {done.stderr.strip() or done.returncode}")
        return done.stdout


def find_programs(major: int) -> Path:
    """The folder of pg_dump: Debian's of the server's own version, then its newest, then PATH's."""
    folders = [path for path in DEBIAN.glob("*/bin") if path.parent.name.isdigit()]
    folders.sort(key=lambda path: (int(path.parent.name) == major, int(path.parent.name)), reverse=True)
    if on_path := shutil.which("pg_dump"):
        folders.append(Path(on_path).parent)
    for folder in folders:
        if all((folder / name).exists() for name in ("pg_dump", "pg_restore", "psql")):
            return folder
    raise BackupFailed("pg_dump, pg_restore and psql are not there: apt-get install postgresql-client")


def make(server: Server, target: Path) -> Copy:
    """A verified dump of one moment as `target`, which must not exist; others may go on writing."""
    with appearing(target) as fresh:
        with server.connect() as source:
            source.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            source.read_only = True
            if not is_ours(source):
                raise BackupFailed("The database holds no SoConnective data yet.")
            snapshot = _one(source, "SELECT pg_export_snapshot()")
            rows = rows_of(source)
            server.run("pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={fresh}")
        with fresh.open("ab") as stream:
            stream.write(TRAILER + _sum(fresh).encode() + b"\n")
        contents(server, fresh)
        verified = _verify(server, fresh, rows)
    return Copy({name: number for name, (number, _) in rows.items()}, verified)


def _verify(server: Server, dump: Path, rows: Rows) -> str:
    try:
        with _scratch(server) as scratch:
            scratch.run("pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", f"--dbname={scratch.parameters['dbname']}", str(dump))  # fmt: skip
            with scratch.connect() as connection:
                found = rows_of(connection)
    except psycopg.errors.InsufficientPrivilege:
        return (
            "read through with pg_restore; not restored to compare, since the role may not create databases"
        )
    if found != rows:
        raise BackupFailed("The dump, restored into a scratch database, does not hold the same rows.")
    return "restored into a scratch database and compared row by row; the scratch database is dropped"


@contextmanager
def _scratch(server: Server) -> Iterator[Server]:
    name = f"soconnective_check_{secrets.token_hex(6)}"
    with server.connect(autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        connection.execute(create)
        try:
            yield server.at(name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def contents(server: Server, dump: Path) -> str:
    """The dump's table of contents, once every byte of it was read; or `BackupFailed`."""
    with dump.open("rb") as stream:
        if stream.read(5) != b"PGDMP":
            raise BackupFailed("The file is no backup of a PostgreSQL database.")
        stream.seek(max(dump.stat().st_size - TRAILER_SIZE, 0))
        last = stream.read()
    if last.startswith(TRAILER) and last != TRAILER + _sum(dump, TRAILER_SIZE).encode() + b"\n":
        raise BackupFailed("The file is damaged: it is not what was saved.")
    try:
        listed = server.run("pg_restore", "--list", str(dump))
        server.run("pg_restore", "--file=/dev/null", str(dump))  # unpacks everything: truncation shows
    except BackupFailed as failed:
        raise BackupFailed(f"The file is damaged or is no backup: {failed}") from None
    return listed


def _sum(path: Path, without: int = 0) -> str:
    """The SHA-256 of the file but for its last `without` bytes."""
    found, left = hashlib.sha256(), path.stat().st_size - without
    with path.open("rb") as stream:
        while left > 0 and (part := stream.read(min(left, 1 << 20))):
            found.update(part)
            left -= len(part)
    return found.hexdigest()


def rows_of(connection: psycopg.Connection[Any]) -> Rows:
    """Of each table: how many rows, and a sum of their hashes (in any order, without keeping them)."""
    connection.execute("SET LOCAL TimeZone = 'UTC'")
    names = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
    ).fetchall()
    found: Rows = {}
    for (name,) in names:
        counted = sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {} t")
        row = connection.execute(counted.format(sql.Identifier(name))).fetchone()
        found[name] = (row[0], row[1]) if row else (0, "0")
    return found


def is_ours(connection: psycopg.Connection[Any]) -> bool:
    return bool(_one(connection, "SELECT to_regclass('alembic_version') IS NOT NULL AND to_regclass('tenants') IS NOT NULL"))  # fmt: skip


def _one(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None

"""Clean databases for tests, quickly, on SQLite and on PostgreSQL.

One run of pytest has one `Run`: a short temporary folder and, for PostgreSQL, a server of its own
(socket only, as an unprivileged user, nothing flushed to disk). The schema is made once per run, by
the migrations, into a template. `fresh()` gives what the template holds, under one address for each worker:
on SQLite a name that leads to a new copy of the file (SQLite names its other files after what the name leads
to, so whoever still holds the last one cannot touch this one), on PostgreSQL the worker's one database swept
clean (a clone takes 40 to 160 ms). What nearly every test begins with is made once per worker: `keep()` takes
the rows that stand there now, and `fresh(kept=True)` gives them back. `empty()` gives a database without any
table, for tests that change the schema.

As a program (`python -m tests.databases`): `find` prints where the server is found, `check sqlite
postgresql` compares the models with the migrations.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import NullPool, create_engine

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "soconnective_template"
SECRET_KEY = "a key for tests only"
OWNER, APP = "soconnective_owner", "soconnective_app"  # as `soconnective setup-postgresql` makes them


class NoServer(RuntimeError):
    """PostgreSQL's server programs are nowhere to be found."""


def find_server() -> Path:
    """The folder of `initdb` and `postgres`: $PG_BIN, Debian's (newest first), then PATH."""
    places = [Path(os.environ["PG_BIN"])] if os.environ.get("PG_BIN") else []
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    places += sorted(debian, key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    places += [Path(on_path).resolve().parent] if on_path else []
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise NoServer("no PostgreSQL server found (psql alone is not enough): apt-get install postgresql")


class Server:
    """A PostgreSQL server of this run alone; `stop()` ends it and removes its folder."""

    def __init__(self, programs: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sc-pg-", dir="/tmp"))  # a socket's path ends at 107 bytes
        self.user = self._unprivileged() if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(self.folder, self.user)
        try:
            self._start(programs)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @staticmethod
    def _unprivileged() -> str:
        """The server refuses to run as root."""
        names = {entry.pw_name for entry in pwd.getpwall()}
        return "postgres" if "postgres" in names else "nobody"

    def _start(self, programs: Path) -> None:
        data, log = self.folder / "data", self.folder / "log"
        identity = (
            {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
            if self.user
            else {}
        )
        made = subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
             "--no-sync", "--no-instructions"],
            cwd="/", capture_output=True, text=True, check=False, **identity,
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr}")
        settings = {
            "listen_addresses": "", "unix_socket_directories": str(self.folder), "fsync": "off",
            "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off", "max_connections": "200",
            "timezone": "Etc/GMT+12",  # far from UTC: whoever leaves the zone to the server is found out
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [programs / "postgres", "-D", data, *options], cwd="/", stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True, **identity,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                break
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop(keep=True)
                    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from None
                time.sleep(0.02)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB BYPASSRLS")
            connection.execute(f"CREATE ROLE {APP} LOGIN")

    def url(self, name: str) -> str:
        """The address for the superuser; the tests' app never signs in with it."""
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def stop(self, *, keep: bool = False) -> None:
        for sign in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, by force
            if self.process.poll() is None:
                self.process.send_signal(sign)
            try:
                self.process.wait(10)
                break
            except subprocess.TimeoutExpired:
                continue
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def settings_for(url: str) -> dict[str, Any]:
    """The app's settings for tests on `url`: on PostgreSQL it works under a plain role, migrations under the owner's."""
    return {
        "DATABASE_URL": url,
        "SOCONNECTIVE_OWNER_URL": as_role(url, OWNER),
        "SECRET_KEY": SECRET_KEY,
        "TESTING": True,
        # proofs and benchmarks repeat one rule thousands of times, and let it fail as often
        "SOCONNECTIVE_BREAKER_PER_MINUTE": 1_000_000,
        "SOCONNECTIVE_BREAKER_PER_RECORD": 1_000_000,
        "SOCONNECTIVE_BREAKER_FAILURES": 1_000_000,
    }


def as_role(url: str, role: str) -> str:
    """`url` for another role; empty for SQLite, which has none."""
    return "" if url.startswith("sqlite") else re.sub(r"//\w+@", f"//{role}@", url)


def owner_engine(app: Any) -> Any:
    """An engine for the role that sees every row; its connections are closed after use."""
    return create_engine(
        app.config["SOCONNECTIVE_OWNER_URL"] or app.config["DATABASE_URL"], poolclass=NullPool
    )


def build_schema(url: str) -> None:
    """Every table, by the real migrations."""
    from flask_migrate import upgrade

    from soconnective import create_app
    from soconnective.core.db import db

    app = create_app(settings_for(url))
    with app.app_context():
        upgrade()
        db.engine.dispose()


_schema: list[
    bytes
] = []  # SQLite's template, for a process that runs pytest more than once (mutmut forks it)


class SqliteDatabases:
    """Files in the run's folder; `fresh()` hands out a new one under one and the same name."""

    dialect = "sqlite"

    def __init__(self, folder: Path, worker: str) -> None:
        self.folder, self.worker, self._numbers = folder, worker, count(1)
        self.spared: set[int] = set()  # PostgreSQL's alone

    def empty(self) -> str:
        return f"sqlite:///{self.folder}/{self.worker}-{next(self._numbers)}.db"

    def keep(self, url: str) -> None:
        """What the database at `url` holds now is what `fresh(kept=True)` gives."""
        with sqlite3.connect(Path(url.removeprefix("sqlite:///"))) as source:
            source.execute("VACUUM INTO ?", (str(self._kept),))
        source.close()

    @property
    def _kept(self) -> Path:
        return self.folder / f"{self.worker}-kept.db"

    def fresh(self, *, kept: bool = False) -> str:
        template = self.folder / "template.db"
        with once(self.folder) as first:
            if first and not _schema:
                build_schema(f"sqlite:///{template}")
                _schema.append(template.read_bytes())
            elif first:
                template.write_bytes(_schema[0])
        template = self._kept if kept else template
        file, own = self.folder / f"{self.worker}-{next(self._numbers)}.db", self.folder / f"{self.worker}.db"
        shutil.copyfile(template, file)
        own.unlink(missing_ok=True)
        own.symlink_to(file)
        return f"sqlite:///{own}"

    def close(self) -> None:
        """Nothing is open."""

    def discard(self, url: str) -> None:
        file = Path(url.removeprefix("sqlite:///"))
        for path in {file, file.resolve()}:  # the name, and what it leads to
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)


class PostgresDatabases:
    """Databases in the run's server; `fresh()` hands out one and the same, swept."""

    dialect = "postgresql"

    def __init__(self, folder: Path, worker: str, server_url: str) -> None:
        self.folder, self.worker, self.server_url, self._numbers = folder, worker, server_url, count(1)
        self._own: str | None = None
        self._sweeper: psycopg.Connection[Any] | None = None
        self._kept, self._sweeps = "", count(1)
        self.spared: set[int] = set()  # the backends that stay connected from test to test; they hold nothing

    def _url(self, name: str, role: str = APP) -> str:
        return as_role(self.server_url.replace("/postgres?", f"/{name}?"), role)

    def _execute(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self._url(database, "postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def empty(self) -> str:
        name = f"{self.worker}_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} OWNER {OWNER}")
        return self._url(name)

    def keep(self, url: str) -> None:
        """What the worker's database holds now is what `fresh(kept=True)` gives."""
        lines = ["SET session_replication_role = replica"]
        with psycopg.connect(self._url(self._own or "", "postgres")) as connection:
            for table, names in connection.execute(KEEP).fetchall():
                rows = connection.execute(f"SELECT jsonb_agg(x)::text FROM {table} x".encode()).fetchone()
                if rows and rows[0]:
                    literal = sql.Literal(rows[0]).as_string(connection)
                    lines.append(
                        f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE"
                        f" SELECT {names} FROM jsonb_populate_recordset(NULL::{table}, {literal})"
                    )
            for sequence, value in connection.execute(SEQUENCES).fetchall():
                lines.append(f"SELECT setval('{sequence}', {value})")
        self._kept = ";\n".join([*lines, "RESET session_replication_role"])

    def fresh(self, *, kept: bool = False) -> str:
        """`kept`: with what `keep()` took."""
        with once(self.folder) as first:
            if first:
                self._execute(f"CREATE DATABASE {TEMPLATE} OWNER {OWNER}")
                build_schema(self._url(TEMPLATE))
            if self._own is None:  # under the lock: two cannot clone one template at once
                self._own = f"{self.worker}_own"
                self._execute(f"CREATE DATABASE {self._own} TEMPLATE {TEMPLATE} OWNER {OWNER}")
        if self._sweeper is None or self._sweeper.closed:
            self._sweeper = psycopg.connect(self._url(self._own, "postgres"), autocommit=True)
        if next(self._sweeps) % 100 == 0:
            self._sweeper.execute("VACUUM")  # deleted rows are still read until then, and nobody else does it
        self._sweeper.execute(
            "SELECT set_config('tests.spare', %s, false)", [f"{{{','.join(map(str, self.spared))}}}"]
        )
        self._sweeper.execute(SWEEP.encode())
        if kept:
            self._sweeper.execute(self._kept.encode())
        return self._url(self._own)

    def close(self) -> None:
        if self._sweeper:
            self._sweeper.close()

    def discard(self, url: str) -> None:
        name = re.sub(r".*/(\w+)\?.*", r"\1", url)
        if name != self._own:
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


# Ends whoever still holds a connection, empties what holds rows, and lets sequences begin again.
SWEEP = """
DO $$
DECLARE item record; found boolean;
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
            AND pid <> ALL (current_setting('tests.spare')::int[]);
    IF NOT EXISTS (SELECT 1 FROM alembic_version) THEN
        RAISE EXCEPTION 'an earlier test of this worker left the database without its schema revision';
    END IF;
    SET LOCAL session_replication_role = replica;
    FOR item IN SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    LOOP
        EXECUTE 'SELECT EXISTS (SELECT 1 FROM ' || item.name || ')' INTO found;
        IF found THEN EXECUTE 'DELETE FROM ' || item.name; END IF;
    END LOOP;
    FOR item IN SELECT format('%I.%I', schemaname, sequencename) AS name FROM pg_sequences
        WHERE schemaname = 'public' AND last_value IS NOT NULL
    LOOP
        PERFORM setval(item.name::regclass, 1, false);
    END LOOP;
END $$
"""

KEEP = """
SELECT t.tablename, (
    SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = t.tablename AND is_generated = 'NEVER')
FROM pg_tables t WHERE t.schemaname = 'public' AND t.tablename <> 'alembic_version'
"""
SEQUENCES = (
    "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL"
)


@contextmanager
def once(folder: Path) -> Iterator[bool]:
    """Holds the run's lock; True for whoever comes first of all the workers."""
    done = folder / "done"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = not done.exists()
        yield first
        done.touch()


class Run:
    """What the whole run shares; made by the process that starts the workers, ended by it."""

    def __init__(self, dialect: str) -> None:
        self.server = Server(find_server()) if dialect == "postgresql" else None
        self.folder = Path(tempfile.mkdtemp(prefix="sc-run-"))

    @property
    def place(self) -> dict[str, str]:
        """What a worker must know to take part."""
        return {"folder": str(self.folder), "server_url": self.server.url("postgres") if self.server else ""}

    def close(self) -> None:
        if self.server:
            self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def join(place: dict[str, str], worker: str) -> SqliteDatabases | PostgresDatabases:
    """A worker's databases in the run at `place`."""
    if place["server_url"]:
        return PostgresDatabases(Path(place["folder"]), worker, place["server_url"])
    return SqliteDatabases(Path(place["folder"]), worker)


def check(dialect: str) -> bool:
    """Upgrade an empty database, then ask whether the models hold anything that the migrations don't."""
    run = Run(dialect)
    try:
        databases = join(run.place, "check")
        settings = settings_for(databases.empty())
        environment = os.environ | {name: str(value) for name, value in settings.items() if name != "TESTING"}
        for command in ("upgrade", "check"):
            words = [sys.executable, "-m", "flask", "--app", "app", "db", command]
            done = subprocess.run(
                words, env=environment, cwd=ROOT, check=False, capture_output=True, text=True
            )
            if done.returncode:
                print(f"{dialect}: flask db {command} failed\n{done.stdout}{done.stderr}")
                return False
    finally:
        run.close()
    print(f"{dialect}: the models equal the migrations")
    return True


def main(words: list[str]) -> int:
    if words == ["find"]:
        try:
            print(find_server())
        except NoServer as problem:
            print(problem, file=sys.stderr)
            return 1
        return 0
    good = True
    for dialect in words[1:]:
        try:
            good = check(dialect) and good
        except NoServer as problem:
            print(f"{dialect}: skipped, {problem}")
            good = good and not os.environ.get("CI")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`soconnective backup` and `soconnective restore`: every row of the instance, in one file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import psycopg
from alembic.script import ScriptDirectory
from flask import Flask, current_app
from flask.cli import with_appcontext
from flask_migrate import upgrade
from sqlalchemy import URL

from soconnective.config import migrations_path
from soconnective.core import (
    backup_postgresql,
    backup_sqlite,
    restore_postgresql,
    restore_sqlite,
)
from soconnective.core.backup import BackupFailed, Copy
from soconnective.core.clock import now
from soconnective.core.db import db

SECRET = "The secret key (instance/secret_key, or SECRET_KEY) is not in it; keep it as well."  # noqa: S105  about one


def init_app(app: Flask) -> None:
    for command in (backup, restore):
        app.cli.add_command(command)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@with_appcontext
def backup(file: Path | None) -> None:
    """Write a checked copy of the database to FILE (instance/backups/... by default) while the app runs."""
    with _said_plainly():
        target = file or _folder() / f"soconnective-{_stamp()}{'.db' if _is_sqlite() else '.dump'}"
        made = _make(target)
    click.echo(f"{target}: {made.total:,} rows of {len(made.rows)} tables, {target.stat().st_size:,} bytes")
    click.echo(f"checked: {made.verified}")
    click.echo(SECRET)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--replace", is_flag=True, help="Also when people are there; what is replaced is kept in a file."
)
@with_appcontext
def restore(file: Path, replace: bool) -> None:
    """Put the backup FILE in the place of an empty database and bring it up to date."""
    db.session.remove()
    db.engine.dispose()  # SQLite's file must be open nowhere, not even here
    with _said_plainly():
        rows, kept = _restore_sqlite(file, replace) if _is_sqlite() else _restore_postgresql(file, replace)
    for name, number in rows.items():
        click.echo(f"{number:>10,} {name}")
    click.echo(f"{file} is restored.")
    if kept:
        click.echo(f"What was there before: {kept}")


def _make(target: Path) -> Copy:
    if _is_sqlite():
        return backup_sqlite.make(_database(), target)
    return backup_postgresql.make(_server(), target)


def _restore_sqlite(file: Path, replace: bool) -> tuple[dict[str, int], Path | None]:
    """Checked and brought up to date beside the database, so that a failure there changes nothing here."""
    database = _database()
    with TemporaryDirectory(prefix=".restore-", dir=database.parent) as folder:
        scratch = Path(folder) / "scratch.db"
        os.close(os.open(scratch, os.O_CREAT | os.O_EXCL, 0o600))
        restore_sqlite.take_apart(file, scratch, _known_revisions())
        _upgrade(scratch)
        kept = database.with_name(f"{database.name}.before-restore-{_stamp()}")
        return restore_sqlite.put_in_place(scratch, database, kept, replace)


def _restore_postgresql(file: Path, replace: bool) -> tuple[dict[str, int], Path | None]:
    server = _server()
    restore_postgresql.examine(server, file, _known_revisions())
    kept = None
    if restore_postgresql.has_people(server):
        if not replace:
            raise BackupFailed(
                "There are people in the database already; --replace puts the backup in its place."
            )
        kept = _folder() / f"soconnective-before-restore-{_stamp()}.dump"
        backup_postgresql.make(server, kept)
    restore_postgresql.put_in_place(server, file, db.metadata.tables)
    upgrade()
    return dict(restore_postgresql.holding(server).rows), kept


def _upgrade(scratch: Path) -> None:
    """Bring the file up to date through an app of its own."""
    url = URL.create("sqlite", database=str(scratch)).render_as_string()
    key = current_app.config["SECRET_KEY"]
    other: Flask = import_module("soconnective").create_app({"DATABASE_URL": url, "SECRET_KEY": key})
    with other.app_context():
        upgrade()
        db.session.remove()
        db.engine.dispose()


def _server() -> backup_postgresql.Server:
    return backup_postgresql.Server.of(db.engine, current_app.config["SOCONNECTIVE_OWNER_URL"])


def _known_revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory(migrations_path()).walk_revisions()}


def _is_sqlite() -> bool:
    return db.engine.dialect.name == "sqlite"


def _database() -> Path:
    name = db.engine.url.database
    if not name or name == ":memory:":
        raise BackupFailed("The database is in memory only.")
    return Path(name)


def _folder() -> Path:
    folder = Path(current_app.instance_path) / "backups"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _stamp() -> str:
    return f"{now():%Y%m%dT%H%M%SZ}"


@contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except (BackupFailed, OSError, sqlite3.Error, psycopg.Error) as error:
        raise click.ClickException(str(error)) from None

"""`soconnective setup-postgresql`: a database, its owner, and the plain role that the app works under."""

from __future__ import annotations

import re
import secrets
from typing import Any

import click
import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


@click.command("setup-postgresql")
@click.argument("admin_url")
@click.option(
    "--name", default="soconnective", show_default=True, help="Of the database; begins the roles' names."
)
def setup_postgresql(admin_url: str, name: str) -> None:
    """Make the database and its two roles, as the superuser of ADMIN_URL, and print the two settings.

    NAME_owner owns the tables and is used by migrations and backups; NAME_app may work with the rows
    of one workspace at a time, since row-level security binds it. Running it again gives new passwords.
    """
    if not _NAME.fullmatch(name):
        raise click.BadParameter("takes small letters, digits and _", param_hint="--name")
    try:
        admin = make_url(admin_url).set(drivername="postgresql")
        with psycopg.connect(admin.render_as_string(hide_password=False), autocommit=True) as connection:
            passwords = {
                role: _make_role(connection, f"{name}_{role}", options) for role, options in _ROLES.items()
            }
            _make_database(connection, name)
    except (psycopg.Error, ValueError) as error:
        raise click.ClickException(f"PostgreSQL says: {str(error).strip()}") from None
    click.echo("Put these into the environment of `soconnective serve`:\n")
    for setting, role in (("DATABASE_URL", "app"), ("SOCONNECTIVE_OWNER_URL", "owner")):
        click.echo(f"{setting}={_address(admin, f'{name}_{role}', passwords[role], name)}")


# The owner is free of row-level security: migrations and backups see every workspace. The app is not.
_ROLES = {"owner": "BYPASSRLS", "app": "NOBYPASSRLS"}


def _make_role(connection: psycopg.Connection[Any], role: str, options: str) -> str:
    password = secrets.token_urlsafe(24)
    there = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    statement = (
        "ALTER ROLE {} LOGIN NOSUPERUSER {} PASSWORD {}"
        if there
        else "CREATE ROLE {} LOGIN NOSUPERUSER {} PASSWORD {}"
    )
    connection.execute(
        sql.SQL(statement).format(sql.Identifier(role), sql.SQL(options), sql.Literal(password))  # type: ignore[arg-type]
    )
    return password


def _make_database(connection: psycopg.Connection[Any], name: str) -> None:
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
        return
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0").format(
            sql.Identifier(name), sql.Identifier(f"{name}_owner")
        )
    )
    connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    connection.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}, {}").format(
            sql.Identifier(name), sql.Identifier(f"{name}_owner"), sql.Identifier(f"{name}_app")
        )
    )


def _address(admin: URL, role: str, password: str, database: str) -> str:
    return admin.set(username=role, password=password, database=database).render_as_string(
        hide_password=False
    )

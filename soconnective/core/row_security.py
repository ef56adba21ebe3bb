"""Wall 4, on PostgreSQL: the server itself shows and takes only rows of the current tenant.

Each tenant-owned table has row-level security, forced, with one policy: `tenant_id` equals the
setting `soconnective.tenant_id` of the transaction. Without the setting there is no row to see. It is
made for the transaction alone (`SET LOCAL`), as late as the first statement that needs it, so no
connection of the pool carries a tenant from one request to the next.

It binds whoever is neither superuser nor free of it by BYPASSRLS, so connections of such a role, and
of the tables' owner, who could switch it off, are refused. Migrations have their own address
(SOCONNECTIVE_OWNER_URL).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from flask import Flask
from psycopg import OperationalError
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.engine import make_url

from soconnective.core.db import db
from soconnective.core.model import Base
from soconnective.core.tenancy import peek_tenant

SETTING = "soconnective.tenant_id"
SET_TENANT = f"SELECT set_config('{SETTING}', %s, true)"
_KEY = "row_security.tenant"
_UNKNOWN = object()  # a savepoint's rollback may have taken the setting along
# These belong to the instance: they lead to the tenant, so they are read before one is known.
OF_THE_INSTANCE = ("memberships", "invitations")

_ROLE = """
SELECT current_user, r.rolsuper, r.rolbypassrls, EXISTS (
    SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY (current_schemas(false)) AND c.relname = 'tenants' AND pg_has_role(c.relowner, 'MEMBER'))
FROM pg_roles r WHERE r.rolname = current_user
"""


class UnsafeRole(RuntimeError):
    """The database's role could see every tenant's rows; the app does not work under it."""


def init_app(app: Flask) -> None:
    with app.app_context():
        if db.engine.dialect.name == "postgresql":
            prepare(db.engine)


def guarded_tables() -> list[Table]:
    """Every table whose rows are one tenant's."""
    return [
        table
        for table in Base.metadata.sorted_tables
        if "tenant_id" in table.c and table.name not in OF_THE_INSTANCE
    ]


def prepare(engine: Engine) -> None:
    """Install the setting and the look at the role on `engine` (once per engine)."""

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _entry: Any) -> None:
        refuse_unsafe_role(connection)

    @event.listens_for(engine, "before_cursor_execute")
    def _on_statement(connection: Connection, cursor: Any, statement: str, *_more: Any) -> None:
        wanted = peek_tenant()
        if connection.info.get(_KEY) == wanted or statement.startswith("ROLLBACK TO"):
            return
        status = cursor.connection.info.transaction_status
        if status in (TransactionStatus.INERROR, TransactionStatus.UNKNOWN):
            return  # the statement itself will fail, and be told of as the driver's errors are
        with suppress(OperationalError):  # the server has gone: the same
            cursor.connection.execute(SET_TENANT, ("" if wanted is None else str(wanted),))
            connection.info[_KEY] = wanted

    @event.listens_for(engine, "commit")
    @event.listens_for(engine, "rollback")
    def _on_end(connection: Connection) -> None:
        if not connection.invalidated:
            connection.info.pop(_KEY, None)

    @event.listens_for(engine, "rollback_savepoint")
    def _on_savepoint_undone(connection: Connection, *_more: Any) -> None:
        if not connection.invalidated:
            connection.info[_KEY] = _UNKNOWN

    @event.listens_for(engine, "checkin")
    def _on_checkin(_connection: Any, entry: Any) -> None:
        entry.info.pop(_KEY, None)


def refuse_unsafe_role(connection: Any) -> None:
    """Raise `UnsafeRole` if the policies would not bind the role of `connection` (the driver's own)."""
    name, is_superuser, bypasses, is_owner = connection.execute(_ROLE).fetchone()
    connection.rollback()
    why = [
        words
        for is_so, words in (
            (is_superuser, "is a superuser"),
            (bypasses, "has BYPASSRLS"),
            (is_owner, "owns the tables"),
        )
        if is_so
    ]
    if why:
        raise UnsafeRole(
            f"the database role {name} {' and '.join(why)}, so row-level security would not keep workspaces apart. "
            "Let DATABASE_URL sign in as a plain role, and SOCONNECTIVE_OWNER_URL as the owner: "
            "`soconnective setup-postgresql` makes both."
        )


def grants(app_role: str) -> list[str]:
    """What the owner runs after each migration, so that `app_role` may work with the rows and with nothing else."""
    role = '"' + app_role.replace('"', '""') + '"'
    return [
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {role}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ]


def role_of(url: str) -> str:
    """The role that `url` signs in as."""
    return make_url(url).username or ""

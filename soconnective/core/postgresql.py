"""What a PostgreSQL server needs: a look at connections that lay idle, and at transactions before they commit.

The driver forgets every statement that it has prepared when a transaction is rolled back. What only reads is
therefore begun as READ ONLY, so that the server itself refuses to write, and ended by COMMIT: a worker that looks
for what is due does not pay for it with the statements of all its jobs.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from time import monotonic
from typing import Any

from psycopg import Error
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry

from soconnective.core.errors import TransactionLost

IDLE_SECONDS = 10.0

# Whether the next transaction of this context is begun as READ ONLY.
read_only: ContextVar[bool] = ContextVar("read_only", default=False)


def _on_commit(connection: Connection) -> None:
    """COMMIT after an error that somebody hid is answered with ROLLBACK, and looks fine."""
    raw: Any = connection.connection.dbapi_connection
    if raw.info.transaction_status == TransactionStatus.INERROR:
        raise TransactionLost("the database ended the transaction; nothing was saved")


def _on_begin(connection: Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    wanted = read_only.get()
    if bool(raw.read_only) != wanted:
        raw.read_only = wanted or None  # None: as the server has it


def _on_rollback(connection: Connection) -> None:
    """Of a READ ONLY transaction there is nothing to take back: COMMIT ends it as well."""
    if connection.invalidated:
        return
    raw: Any = connection.connection.dbapi_connection
    if raw.read_only and raw.info.transaction_status == TransactionStatus.INTRANS:
        with suppress(Error):  # the server has gone: the rollback that follows says so
            raw.commit()


def prepare(engine: Engine) -> None:
    """Install it on `engine` (once per engine)."""
    failures: type[Exception] = engine.dialect.loaded_dbapi.Error

    event.listen(engine, "commit", _on_commit)
    event.listen(engine, "begin", _on_begin)
    event.listen(engine, "rollback", _on_rollback)

    @event.listens_for(engine, "checkin")
    def _on_checkin(_connection: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = monotonic()

    @event.listens_for(engine, "checkout")
    def _on_checkout(connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        """Ask a connection that lay idle whether its server is still there; the pool then makes a new one."""
        if monotonic() - entry.info.get("idle_since", 0.0) < IDLE_SECONDS:
            return
        try:
            connection.execute("SELECT 1")
            connection.rollback()
        except failures as error:
            raise exc.DisconnectionError from error

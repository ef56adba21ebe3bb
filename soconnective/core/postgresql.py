"""What a PostgreSQL server needs: a look at connections that lay idle, and at transactions before they commit."""

from __future__ import annotations

from time import monotonic
from typing import Any

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry

from soconnective.core.errors import TransactionLost

IDLE_SECONDS = 10.0


def _on_commit(connection: Connection) -> None:
    """COMMIT after an error that somebody hid is answered with ROLLBACK, and looks fine."""
    raw: Any = connection.connection.dbapi_connection
    if raw.info.transaction_status == TransactionStatus.INERROR:
        raise TransactionLost("the database ended the transaction; nothing was saved")


def prepare(engine: Engine) -> None:
    """Install it on `engine` (once per engine)."""
    failures: type[Exception] = engine.dialect.loaded_dbapi.Error

    event.listen(engine, "commit", _on_commit)

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

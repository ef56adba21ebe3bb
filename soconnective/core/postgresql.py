"""What a PostgreSQL server needs: a look at connections that lay idle (asking each time costs a round trip)."""

from __future__ import annotations

from time import monotonic
from typing import Any

from sqlalchemy import Engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry

IDLE_SECONDS = 10.0


def prepare(engine: Engine) -> None:
    """Install it on `engine` (once per engine)."""
    failures: type[Exception] = engine.dialect.loaded_dbapi.Error

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

"""What the embedded database needs: explicit transactions, WAL, and one writer at a time.

`sqlite3`'s own transaction control is off (it begins too late and loses savepoints); the engine's
`begin` event emits BEGIN IMMEDIATE for work that may write and BEGIN for readers. Writers of this
process queue on a lock instead of sleeping in SQLite's busy handler. The lock is taken before
BEGIN IMMEDIATE and given back by the connection itself after COMMIT or ROLLBACK took effect
(SQLAlchemy's `commit` event fires before COMMIT, which would be too early), and at pool check-in.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import InsertmanyvaluesSentinelOpts

from soconnective.core.errors import TransactionLost

log = logging.getLogger(__name__)
BUSY_SECONDS = 15.0
ANALYZE_AFTER = 5000  # changed rows; a young database is looked at after a tenth of them
ANALYSIS_LIMIT = 20_000  # rows of each index: keeps it below a tenth of a second

# What the next transaction of this context may do. Safe requests read; everything else may write.
reads_only: ContextVar[bool] = ContextVar("reads_only", default=False)


@dataclass
class Statistics:
    """When to let SQLite count its indexes again.

    Without counts it takes `tenant_id = ?` for selective and walks a whole tenant where a search found
    three rows. They are read when a connection opens, so older connections are replaced.
    """

    changes: int = 0
    limit: int = ANALYZE_AFTER // 10
    generation: int = 0


class WriteLock:
    """The queue of this process's writers; whoever holds it and asks again is told so, as waiting would never end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    def acquire(self, seconds: float = -1) -> bool:
        """Take it, waiting for at most `seconds`; False if it is not to be had. Zero: only if it is free."""
        if self._holder == threading.get_ident():
            if seconds == 0:
                return False
            raise sqlite3.OperationalError(
                "database is locked: by an unfinished transaction of this very request"
            )
        taken = self._lock.acquire(timeout=seconds) if seconds else self._lock.acquire(blocking=False)
        if taken:
            self._holder = threading.get_ident()
        return taken

    def release(self) -> None:
        self._holder = None
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()


class QueuedConnection(sqlite3.Connection):
    """A connection that holds the process's write lock from BEGIN IMMEDIATE to the end of the transaction."""

    write_lock: WriteLock | None = None
    holds_lock = False
    statistics = Statistics()
    generation = 0
    changes_seen = 0

    def begin(self, immediate: bool) -> None:
        if immediate and self.write_lock is not None and not self.holds_lock:
            if not self.write_lock.acquire(BUSY_SECONDS):
                raise sqlite3.OperationalError(
                    "database is locked: another request has been writing for too long"
                )
            self.holds_lock = True
        try:
            self.execute("BEGIN IMMEDIATE" if immediate else "BEGIN")
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back, unless a transaction is still open (a COMMIT that failed as busy)."""
        if self.holds_lock and self.write_lock is not None and not self.in_transaction:
            self.holds_lock = False
            self.write_lock.release()

    def commit(self) -> None:
        try:
            super().commit()
        finally:
            self.release()

    def rollback(self) -> None:
        try:
            super().rollback()
        finally:
            self.release()

    def count_again(self) -> None:
        """After many changed rows: refresh the planner's statistics, unless somebody writes just now."""
        known = self.statistics
        known.changes += self.total_changes - self.changes_seen
        self.changes_seen = self.total_changes
        if known.changes < known.limit or self.write_lock is None or not self.write_lock.acquire(0):
            return
        try:
            known.changes, known.limit = 0, ANALYZE_AFTER
            known.generation += 1
            self.execute(f"PRAGMA analysis_limit={ANALYSIS_LIMIT}")
            self.execute("ANALYZE")
            self.changes_seen = self.total_changes
        except sqlite3.Error as error:  # another process is writing; the next time, then
            log.info("the statistics stay as they are: %s", error)
        finally:
            self.write_lock.release()

    def close(self) -> None:
        super().close()
        if self.holds_lock and self.write_lock is not None:
            self.holds_lock = False
            self.write_lock.release()


def connect_args() -> dict[str, Any]:
    return {"isolation_level": None, "timeout": BUSY_SECONDS, "factory": QueuedConnection}


def require_transaction(connection: sqlite3.Connection) -> None:
    """Refuse a statement outside of a transaction: it would be saved at once, alone.

    That is where somebody stands whose transaction the database has ended (a full disk, an interrupt,
    OR ROLLBACK) and who did not look at the error.
    """
    if not connection.in_transaction:
        raise TransactionLost("the database ended the transaction; nothing was saved")


def _on_statement(_connection: Connection, cursor: Any, *_more: Any) -> None:
    require_transaction(cursor.connection)


def _on_commit(connection: Connection) -> None:
    """COMMIT of a transaction that is gone would look fine and save nothing."""
    require_transaction(connection.connection.dbapi_connection)  # type: ignore[arg-type]


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def prepare(engine: Engine) -> None:
    """Install the pragmas, the explicit BEGIN and the write lock on `engine` (once per engine)."""
    lock, statistics = WriteLock(), Statistics()
    # One writer and AUTOINCREMENT: the ids of a multi-row INSERT rise with its rows, so the flush of many
    # new records may be one statement (SQLAlchemy sorts by the id that comes back). Not its default here.
    engine.dialect.insertmanyvalues_implicit_sentinel = InsertmanyvaluesSentinelOpts.AUTOINCREMENT

    event.listen(engine, "before_cursor_execute", _on_statement)
    event.listen(engine, "commit", _on_commit)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: QueuedConnection, _entry: ConnectionPoolEntry) -> None:
        connection.write_lock = lock
        connection.statistics, connection.generation = statistics, statistics.generation
        connection.create_function("so_lower", 1, _lower, deterministic=True)  # its own knows ASCII only
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        try:
            raw.begin(immediate=not reads_only.get())
        except sqlite3.OperationalError as error:
            raise exc.OperationalError("BEGIN", None, error) from error

    @event.listens_for(engine, "checkin")
    def _on_checkin(connection: QueuedConnection | None, _entry: ConnectionPoolEntry) -> None:
        if connection is not None:
            connection.release()
            connection.count_again()  # the pool has rolled back: this is nobody's transaction

    @event.listens_for(engine, "checkout")
    def _on_checkout(connection: QueuedConnection, _entry: ConnectionPoolEntry, _proxy: Any) -> None:
        if connection.generation != statistics.generation:
            raise exc.DisconnectionError  # the pool opens a new one, which reads the new statistics

"""The database object, the session class, and the one place that commits a request.

A request's writes are one transaction. `commit()` below runs whatever registered for the moment
before the outermost commit (the event drain and, through it, the rules), commits, and from then
on the request reads only: pages are rendered and flashes made after it, never before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session as FlaskSession
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import SessionTransaction

from soconnective.core import postgresql, sqlite
from soconnective.core.errors import TransactionLost
from soconnective.core.model import Base

LOCK_PATIENCE = "100ms"  # of what is only tried


class Session(FlaskSession):
    """Flask-SQLAlchemy's session, except that an explicit bind is honoured (it would be ignored)."""

    def get_bind(
        self, mapper: Any = None, clause: Any = None, bind: Any = None, **kwargs: Any
    ) -> Engine | Connection:
        if bind is not None:
            return bind  # type: ignore[no-any-return]
        if self.bind is not None:
            return self.bind
        return self._db.engine


db = SQLAlchemy(model_class=Base, session_options={"class_": Session}, disable_autonaming=True)

# Called with the session before the outermost commit, after its flush; may flush and use savepoints.
_before_outermost_commit: list[Callable[[OrmSession], None]] = []


def before_outermost_commit(function: Callable[[OrmSession], None]) -> Callable[[OrmSession], None]:
    """Register `function` to run once in each transaction, before its outermost commit."""
    if function not in _before_outermost_commit:
        _before_outermost_commit.append(function)
    return function


@event.listens_for(Session, "before_commit")
def _on_before_commit(session: OrmSession) -> None:
    if session.in_nested_transaction():  # a savepoint is being released, not the transaction
        return
    session.flush()
    for function in _before_outermost_commit:
        function(session)


@event.listens_for(Session, "pending_to_persistent")
def _on_made(session: OrmSession, row: Any) -> None:
    """Hold a row that is made in a savepoint until the transaction ends.

    The session refers to it weakly. Were it forgotten, read again and the savepoint undone, SQLAlchemy would not know
    that the row went with it, and on SQLite the next row gets the same id.
    """
    if session.in_nested_transaction():
        session.info.setdefault("made", []).append(row)


@event.listens_for(Session, "after_transaction_end")
def _on_transaction_end(session: OrmSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop("made", None)


def commit() -> None:
    """Commit the request's (or command's) transaction; afterwards this context only reads.

    Raises what the database raises, `StaleDataError` for an expected clash among it; the
    transaction is then rolled back and nothing of it is saved.
    """
    try:
        db.session.commit()
    except BaseException:
        abandon()
        raise
    sqlite.reads_only.set(True)


def abandon() -> None:
    """Roll back what this request has written so far; afterwards it only reads."""
    db.session.rollback()
    sqlite.reads_only.set(True)


@contextmanager
def write_transaction() -> Iterator[None]:
    """A transaction of its own for a command, a test or a throttle row: commits at the end."""
    token, server = sqlite.reads_only.set(False), postgresql.read_only.set(False)
    try:
        yield
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise
    finally:
        sqlite.reads_only.reset(token)
        postgresql.read_only.reset(server)


@contextmanager
def read_transaction() -> Iterator[None]:
    """A transaction of its own that only reads; nothing stays open after it.

    On SQLite it waits for no writer, on PostgreSQL the server refuses to write in it.
    """
    token, server = sqlite.reads_only.set(True), postgresql.read_only.set(True)
    try:
        yield
    finally:
        sqlite.reads_only.reset(token)
        postgresql.read_only.reset(server)
        db.session.rollback()


@contextmanager
def discarded_transaction() -> Iterator[None]:
    """A transaction of its own in which anything may be tried: nothing of it stays.

    Others do not wait for it longer than they must: on SQLite it holds the write lock only while it is open,
    on PostgreSQL it gives up a lock that it cannot have at once, long before anybody looks for deadlocks.
    """
    token, server = sqlite.reads_only.set(False), postgresql.read_only.set(False)
    db.session.rollback()
    try:
        if db.engine.dialect.name == "postgresql":
            db.session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE}'"))
        yield
    finally:
        db.session.rollback()
        sqlite.reads_only.reset(token)
        postgresql.read_only.reset(server)


def begin_request(safe: bool) -> None:
    """What this request's transactions may do until it commits: GET and HEAD read, the rest writes."""
    sqlite.reads_only.set(safe)


def begin_again() -> None:
    """End what this request has only read so far: what follows is the transaction that may write.

    For requests that do slow work (hashing a password) between reading and writing. What was loaded
    is read again when it is touched.
    """
    db.session.rollback()
    sqlite.reads_only.set(False)


@contextmanager
def savepoint(session: OrmSession) -> Iterator[None]:
    """A savepoint that leaves nothing behind when it fails, in the database or in the session.

    A flush that fails ends the savepoint at once. If the failure was swallowed, what was added or
    changed afterwards belongs to nothing any more: it would be flushed with the next work. SQLAlchemy
    alone would leave such a savepoint without a word, as if all of it were kept.
    """
    with session.begin_nested() as nested:
        try:
            yield
            _require_active(nested)
        except BaseException:
            if not nested.is_active:
                _forget_unsaved(session)
            raise


def _require_active(nested: SessionTransaction) -> None:
    if not nested.is_active:
        raise InvalidRequestError("an error of the database was hidden, and what was done is lost")


def _forget_unsaved(session: OrmSession) -> None:
    for row in session.new:
        session.expunge(row)
    for row in session.deleted:
        session.add(row)
    for row in session.dirty:
        session.expire(row)


def is_transaction_alive(session: OrmSession) -> bool:
    """Ask the driver whether the transaction still stands.

    Disk full, an interrupt or ``OR ROLLBACK`` end it on SQLite, a swallowed error poisons it on
    PostgreSQL; in both cases a later commit would look fine and save nothing.
    """
    raw: Any = session.connection().connection.dbapi_connection
    if hasattr(raw, "in_transaction"):
        return bool(raw.in_transaction)
    return int(raw.info.transaction_status) == 2  # psycopg: INTRANS; 3 is in error, 0 is none


def require_alive(session: OrmSession) -> None:
    if not is_transaction_alive(session):
        raise TransactionLost("the database ended the transaction; nothing was saved")


def plain(value: Any) -> Any:
    """A column value as JSON can hold it: moments and dates as ISO text, decimals as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value


def _dump_json(value: Any) -> str:
    return json.dumps(value, default=plain, ensure_ascii=False, separators=(",", ":"))


def init_app(app: Flask, url: str) -> None:
    """Bind the database at `url` to `app`."""
    options: dict[str, Any] = {"json_serializer": _dump_json}
    if url.startswith("sqlite"):
        options["connect_args"] = sqlite.connect_args()
    else:
        options["pool_use_lifo"] = True  # the few connections in use stay warm
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    db.init_app(app)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            sqlite.prepare(db.engine)
        else:
            postgresql.prepare(db.engine)

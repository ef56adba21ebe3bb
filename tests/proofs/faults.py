"""The fault injector: what can go wrong inside a rule, made to happen really, on the database of the run.

A fault is a function that is called inside an action of the rule that is the victim. What PostgreSQL
only answers under load (a deadlock, a serialisation failure, a full disk) is raised by the server with
the same code, so that the driver and the transaction behave as they would.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import text

from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.tasks.models import Task

Fault = Callable[[], None]


def _raising(error: BaseException) -> Fault:
    def fault() -> None:
        raise error

    return fault


def _recursion() -> None:
    _recursion()


def _sql(statement: str) -> Fault:
    def fault() -> None:
        db.session.execute(text(statement))

    return fault


def _bad_row() -> None:
    """Found by the flush, here and now."""
    db.session.add(Task(title="x", status="nonsense", priority="normal"))
    db.session.flush()


def _bad_row_later() -> None:
    """Found by whoever flushes next."""
    db.session.add(Task(title="x", status="nonsense", priority="normal"))


def _raw() -> Any:
    return db.session.connection().connection.dbapi_connection


def _server_says(code: str) -> Fault:
    return _sql(f"DO $$ BEGIN RAISE EXCEPTION 'planted' USING ERRCODE = '{code}'; END $$")


def _statement_timeout() -> None:
    db.session.execute(text("SET LOCAL statement_timeout = 5"))
    db.session.execute(text("SELECT pg_sleep(1)"))


def _lost_server() -> None:
    """Somebody ends our connection's process on the server."""
    pid = _raw().info.backend_pid
    url = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
    db.session.execute(text("SELECT 1"))


def _interrupted(statement: str) -> Fault:
    def fault() -> None:
        raw = _raw()
        raw.set_progress_handler(lambda: 1, 1)
        try:
            db.session.execute(text(statement))
        finally:
            raw.set_progress_handler(None, 0)

    return fault


def _disk_full() -> None:
    raw = _raw()
    pages = raw.execute("PRAGMA page_count").fetchone()[0]
    raw.execute(f"PRAGMA max_page_count = {pages}")
    try:
        big = "INSERT INTO rate_windows (key, count, expires_at) SELECT printf('%.150d', value), 1, 0 FROM generate_series(1, 5000)"
        big = big.replace(
            "generate_series(1, 5000)",
            "(WITH RECURSIVE n(value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM n LIMIT 5000) SELECT value FROM n)",
        )
        db.session.execute(text(big))
    finally:
        raw.execute("PRAGMA max_page_count = 1073741823")


def _closed_file() -> None:
    sqlite3.Connection.close(_raw())
    db.session.execute(text("SELECT 1"))


_EVERYWHERE: dict[str, Fault] = {
    "python error": _raising(ValueError("planted")),
    "refused": _raising(Refused("planted")),
    "recursion": _recursion,
    "memory": _raising(MemoryError()),
    "wrong type": _sql("SELECT :x"),
    "integrity error": _sql("INSERT INTO rate_windows (key, count, expires_at) VALUES (NULL, 1, 0)"),
    "bad sql": _sql("SELECT nonsense FROM nowhere"),
    "flush error": _bad_row,
    "flush error later": _bad_row_later,
}
_SQLITE: dict[str, Fault] = {
    "disk full": _disk_full,
    "interrupted write": _interrupted(
        "INSERT INTO rate_windows SELECT 'planted' || id, 1, 0 FROM events LIMIT 500"
    ),
    "interrupted read": _interrupted("SELECT count(*) FROM events a, events b"),
    "or rollback": _sql("INSERT OR ROLLBACK INTO rate_windows (key, count, expires_at) VALUES (NULL, 1, 0)"),
    "or fail": _sql("INSERT OR FAIL INTO rate_windows (key, count, expires_at) VALUES (NULL, 1, 0)"),
    "lost connection": _closed_file,
}
_POSTGRESQL: dict[str, Fault] = {
    "statement timeout": _statement_timeout,
    "deadlock victim": _server_says("40P01"),
    "serialisation failure": _server_says("40001"),
    "disk full": _server_says("53100"),
    "out of memory": _server_says("53200"),
    "lost connection": _lost_server,
}


def faults(kind: str) -> dict[str, Fault]:
    """Every fault of this kind of database, by its name."""
    return {**_EVERYWHERE, **(_SQLITE if kind == "sqlite" else _POSTGRESQL)}


# The ways in which a trigger in the database can refuse a row.
SQLITE_TRIGGERS = ("ROLLBACK", "ABORT", "FAIL")


def sampled(items: list[Any], number: int) -> list[Any]:
    """`number` of `items`, the same each time; all of them if there are not more."""
    if number >= len(items):
        return items
    return random.Random(7).sample(items, number)

"""The tap: a look at every statement that our code sends to the database, in every test.

Two things are refused. A write to a watched table that is no part of a flush (the after-flush listener
cannot see it, so an event would be missing), and a read of tenants' rows that does not name the tenant.
Statements that the tests themselves send are not looked at. Reads of one row by its key, with which
SQLAlchemy refreshes a row that it holds, cannot carry criteria (F16); `core.tenancy` checks what they load.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import Engine, event

from soconnective.core.db import db
from soconnective.events.watch import watched_models

ROOT = str(Path(__file__).parent.parent)
OURS, TESTS = f"{ROOT}/soconnective/", f"{ROOT}/tests/"
MIGRATIONS = f"{ROOT}/migrations/"  # they go over every workspace's rows, as the owner
BY_KEY = {"_load_on_pk_identity", "_load_scalar_attributes"}
NAMES_TENANT = re.compile(r"tenant_id\"? (=|IN) ")
WRITE = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+\"?(\w+)", re.IGNORECASE)
READ = re.compile(r"\b(?:FROM|JOIN)\s+\"?(\w+)", re.IGNORECASE)
EMPTIES = f"{OURS}demo/removal.py"  # takes a whole workspace away, with its events
ACROSS = (f"{OURS}jobs/queue.py", "jobs")  # workers claim across the workspaces, before they enter one
INSTANCE_WIDE = {"memberships", "invitations"}  # read before a workspace is known


@lru_cache(maxsize=1)
def watched_tables() -> frozenset[str]:
    return frozenset(model.__tablename__ for model in watched_models())  # type: ignore[attr-defined]


@lru_cache(maxsize=1)
def tenant_tables() -> frozenset[str]:
    return frozenset(t.name for t in db.metadata.tables.values() if "tenant_id" in t.c) - INSTANCE_WIDE


@lru_cache(maxsize=4096)
def _written(statement: str) -> str | None:
    found = WRITE.match(statement)
    return found[1] if found and found[1] in watched_tables() else None


@lru_cache(maxsize=4096)
def _read(statement: str) -> str | None:
    """The first table of tenants' rows that `statement` reads without naming the tenant."""
    if NAMES_TENANT.search(statement):
        return None
    return next((name for name in READ.findall(statement) if name in tenant_tables()), None)


class Tap:
    """What was seen since the last look."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.seen = 0

    def look(self, _c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        written = _written(statement)
        read = None if written else _read(statement)
        if not (written or read):
            self.seen += 1
            return
        place, is_flush, is_by_key = _who(sys._getframe(1))
        if place is None:
            return
        self.seen += 1
        if written and not is_flush:
            self.found.append(f"{place} writes {written} past the session: {statement[:200]}")
        if read and not (is_by_key or is_flush or (f"{ROOT}{place}".rpartition(":")[0], read) == ACROSS):
            self.found.append(f"{place} reads {read} without naming the tenant: {statement[:300]}")


def _who(frame: FrameType | None) -> tuple[str | None, bool, bool]:
    """Which line of ours asks (None: a test does), whether in a flush, whether for one row by its key."""
    is_flush = is_by_key = False
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(OURS):
            place = f"{code.co_filename.removeprefix(ROOT)}:{frame.f_lineno}"
            return place, is_flush or code.co_filename == EMPTIES, is_by_key
        if code.co_filename.startswith(MIGRATIONS):
            return None, is_flush, is_by_key
        if code.co_filename.startswith(TESTS) and code.co_filename != __file__:
            return None, is_flush, is_by_key
        if code.co_name == "_flush" and code.co_filename.endswith("orm/session.py"):
            is_flush = True
        is_by_key |= code.co_name in BY_KEY
        frame = frame.f_back
    return None, is_flush, is_by_key


@pytest.fixture(scope="session")
def tap_of_the_run() -> Iterator[Tap]:
    tap = Tap()
    event.listen(Engine, "before_cursor_execute", tap.look)
    yield tap
    event.remove(Engine, "before_cursor_execute", tap.look)


@pytest.fixture(autouse=True)
def tap(tap_of_the_run: Tap) -> Iterator[Tap]:
    """Fails a test in which our code sent what it must not."""
    yield tap_of_the_run
    found, tap_of_the_run.found = tap_of_the_run.found, []
    assert not found, "\n".join(dict.fromkeys(found))

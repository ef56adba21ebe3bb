"""What the one who makes a change says of the rules: they run, are only written down, or do not look.

    with rules("skip"):
        import_rows()

A rule's own changes, an import's and a bulk job's fire rules as any other, unless their caller says so here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from soconnective.core.db import db

Mode = Literal["run", "log", "skip"]
LOUDEST = (
    "run",
    "log",
    "skip",
)  # several changes of one record in one transaction: the first of these counts
_mode: ContextVar[Mode] = ContextVar("rules", default="run")


def current_mode() -> Mode:
    return _mode.get()


@contextmanager
def rules(mode: Mode) -> Iterator[None]:
    """What is changed inside is flushed at the end, so that it is told with this mode and not with a later one."""
    db.session.flush()
    token = _mode.set(mode)
    try:
        yield
        db.session.flush()
    finally:
        _mode.reset(token)

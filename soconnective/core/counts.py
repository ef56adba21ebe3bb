"""The small numbers around every page (what is not seen yet, not read yet), read together in one statement.

count_with("unread", lambda: select(func.count()).where(...).scalar_subquery())
count_of("unread")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import g
from sqlalchemy import select

from soconnective.core.db import db

_counts: dict[str, Callable[[], Any]] = {}


def count_with(name: str, make: Callable[[], Any]) -> None:
    """Register a number: `make()` gives its scalar sub-select for whoever asks, or None where it is not theirs."""
    _counts[name] = make


def count_of(name: str) -> int:
    """The number for this request; the first one asked for reads them all."""
    kept = g.get("counts")
    if kept is None:
        asked = {known: make() for known, make in _counts.items()}
        wanted = [part.label(known) for known, part in asked.items() if part is not None]
        kept = dict(db.session.execute(select(*wanted)).mappings().one()) if wanted else {}
        g.counts = kept
    return int(kept.get(name) or 0)

"""A row as it was before the flush that is running: for whoever compares old and new inside it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import LoaderCallableStatus


class Before:
    """Reads like `row`, with the old value of every column attribute that this flush changes.

    An old value that was never loaded reads as None; watched attributes load theirs before they
    are set (see `events.watch`).
    """

    def __init__(self, row: Any) -> None:
        self._row = row
        self._old = inspect(row).committed_state

    def __getattr__(self, name: str) -> Any:
        if name not in self._old:
            return getattr(self._row, name)
        value = self._old[name]
        return None if isinstance(value, LoaderCallableStatus) else value

"""Values that a call tells in another unit than people do: amounts in cents, times in seconds since 1970.

What is no whole number is kept as words that say so. Nothing reads them as an amount or a date, so that an action
which needs one fails with these words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

_WHOLE = re.compile(r"[+-]?\d{1,15}", re.ASCII)
_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 20  # of a value that is shown within a sentence
_YEARS = range(1900, 2200)
_FARTHEST = 10**10  # beyond it no year of these, and soon no year at all


def in_cents(value: Any) -> str:
    """1250 is 12.50; the currency is not asked for."""
    number = _whole(value)
    if number is None:
        return f"{_shown(value)} is not a whole number of cents"
    return str(Decimal(number).scaleb(-2))


def in_seconds(value: Any) -> str:
    """The moment in UTC, as it is written elsewhere: 2026-12-01T09:30:00+00:00."""
    number = _whole(value)
    if number is None:
        return f"{_shown(value)} is not a whole number of seconds"
    if abs(number) > _FARTHEST or (moment := _BEGAN + timedelta(seconds=number)).year not in _YEARS:
        return f"{_shown(value)} is not a time in seconds"
    return moment.isoformat()


# How a line of the mapping ends, and how its value is read.
UNITS: dict[str, Callable[[Any], str]] = {"cents": in_cents, "unix seconds": in_seconds}


def split_unit(path: str) -> tuple[str, str | None]:
    """`order.total in cents` as the path and the unit."""
    for unit in UNITS:
        bare, _sign, end = path.rpartition(" in ")
        if end.strip().casefold() == unit:
            return bare.strip(), unit
    return path, None


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 10**15 else None
    text = str(value).strip() if isinstance(value, int | str) else ""
    return int(text) if _WHOLE.fullmatch(text) else None


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

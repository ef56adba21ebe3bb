"""Amounts and dates as other programs write them. What can be read in two ways is not read at all.

Each function raises `ValueError` with words for the person who reads a run.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from soconnective.core import clock
from soconnective.core.fields import MAX_AMOUNT
from soconnective.core.formats import currencies, zone

CENT = Decimal("0.01")
NOISE = Decimal("0.000001")  # what is left over when a program adds in binary: 59.970000000000006
_SPACES = re.compile(r"[\s'’]")  # between thousands
_WHOLE = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_ONE_MARK = re.compile(r"([+-]?)(\d{1,20})([.,])(\d{1,30})", re.ASCII)
_GROUPS = re.compile(r"[+-]?\d{1,3}(?:([.,])\d{3})(?:\1\d{3})*(?:(?!\1)[.,]\d{1,30})?", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ].{4,40})?", re.ASCII)
_DOTS = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)


def _shown(text: str) -> str:
    return f"“{text if len(text) <= 60 else text[:59] + '…'}”"


def read_number(text: str) -> Decimal:
    """A number with a point or a comma, and marks between the thousands."""
    flat = _SPACES.sub("", text)
    if _WHOLE.fullmatch(flat):
        return Decimal(flat)
    if (one := _ONE_MARK.fullmatch(flat)) is not None:
        _sign, whole, mark, rest = one.groups()
        if len(rest) == 3 and len(whole) <= 3 and whole != "0":
            raise ValueError(f"{_shown(text)} can be read in two ways: is “{mark}” before the thousands?")
        return Decimal(flat.replace(",", "."))
    if _GROUPS.fullmatch(flat):
        decimal = max(flat.rfind("."), flat.rfind(","))
        is_whole = len({char for char in flat if char in ".,"}) == 1
        digits = re.sub(r"[.,]", "", flat if is_whole else flat[:decimal])
        return Decimal(digits if is_whole else f"{digits}.{flat[decimal + 1 :]}")
    raise ValueError(f"{_shown(text)} is no number.")


def read_amount(text: str) -> Decimal:
    """Money: not less than nothing, with two decimals."""
    number = read_number(text)
    if not 0 <= number <= MAX_AMOUNT:
        raise ValueError(f"{_shown(text)} is not between 0 and {MAX_AMOUNT:,}.")
    rounded = number.quantize(CENT, ROUND_HALF_UP)
    if abs(number - rounded) > NOISE:
        raise ValueError(f"{_shown(text)} has more than two decimals.")
    return rounded


def read_currency(text: str) -> str:
    """The code of a currency that is in use, like EUR."""
    code = text.strip().upper()
    if code not in {known for known, _name in currencies()}:
        raise ValueError(f"{_shown(text)} is no currency: write a code like EUR.")
    return code


def read_day(text: str) -> date:
    """2026-12-01, with or without a time, which is then told in the workspace's zone; or 1.12.2026."""
    try:
        found = _day(text.strip())
    except (ValueError, OverflowError):
        raise ValueError(f"{_shown(text)} is no date: it is written like 2026-12-01.") from None
    if not 1900 <= found.year < 2200:
        raise ValueError(f"{_shown(text)} is not between 1900 and 2199.")
    return found


def _day(text: str) -> date:
    if (dots := _DOTS.fullmatch(text)) is not None:
        return date(int(dots[3]), int(dots[2]), int(dots[1]))
    if _ISO.fullmatch(text) is None:
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    return (clock.local(moment, zone()) if moment.tzinfo else moment).date()

"""Whether conditions can ever hold. Sound, not complete: what is called impossible holds for no record at all.

The conditions are taken apart into ways in which they could hold; a way is impossible if the tests of one field
contradict each other. That is tried with one value for each case that the tests can tell apart (each value that
is named, what lies between and outside, empty), so a field is impossible only if no value passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise, product
from typing import Any

from soconnective.core.conditions.fields import Field
from soconnective.core.conditions.operators import OPERATORS, Now, Operator, typed
from soconnective.core.conditions.tree import Group, Test

MOST_WAYS = 200
Literal = tuple[Test, bool]  # a test, and whether it must hold
_NOW = Now(datetime(2026, 6, 15, 12, tzinfo=UTC), "UTC")
_ONE = timedelta(days=1)
_OPPOSITE = {"is": "is_not", "one_of": "none_of", "contains": "not_contains", "empty": "not_empty"}
_OPPOSITE |= {other: one for one, other in _OPPOSITE.items()}
_SAME_KINDS = ("choice", "person", "record")


class _TooMany(Exception):
    pass


def never_holds(asked: Sequence[tuple[Group, bool]], fields: Mapping[str, Field]) -> bool:
    """True only if no record and no change makes each group of `asked` what it is to be (held or not)."""
    try:
        ways: list[list[Literal]] = [[]]
        for group, wanted in asked:
            ways = _joined(ways, _ways(group, wanted))
        return all(_contradicts(way, fields) for way in ways)
    except (_TooMany, ValueError, TypeError, ArithmeticError, AttributeError):
        return False


def _ways(item: Test | Group, wanted: bool) -> list[list[Literal]]:
    """Each list of tests (with what they must say) that makes `item` what is wanted."""
    if isinstance(item, Test):
        return [[(item, wanted)]]
    if not item.items:
        return [[]] if wanted else []
    each = [_ways(inner, wanted if item.match != "none" else not wanted) for inner in item.items]
    if (item.match == "any") is not wanted:  # every one of them: all that hold, or none of any
        found: list[list[Literal]] = [[]]
        for one in each:
            found = _joined(found, one)
        return found
    return [way for one in each for way in one]


def _joined(ways: list[list[Literal]], others: list[list[Literal]]) -> list[list[Literal]]:
    if len(ways) * len(others) > MOST_WAYS:
        raise _TooMany
    return [[*one, *other] for one, other in product(ways, others)]


def _contradicts(way: Sequence[Literal], fields: Mapping[str, Field]) -> bool:
    kinds: dict[tuple[str, bool], list[tuple[Operator, list[Any], bool]]] = {}
    for test, wanted in way:
        field, operator = fields.get(test.field), OPERATORS.get(test.operator)
        if field is None or operator is None or field.kind not in operator.kinds:
            return False
        value = typed(field, operator, test.value)
        kinds.setdefault((test.field, operator.of_change), []).append((operator, value, wanted))
    return any(_never(fields[name], of_change, asked) for (name, of_change), asked in kinds.items())


Asked = Sequence[tuple[Operator, list[Any], bool]]


def _never(field: Field, of_change: bool, asked: Asked) -> bool:
    if of_change:
        values = [
            None,
            *(value for _operator, wanted, _holds in asked for value in wanted),
            object(),
            object(),
        ]
        return _none_passes(list(product(values, values)), asked)
    if field.kind in _SAME_KINDS:
        named = [value for _operator, wanted, _holds in asked for value in wanted]
        return _none_passes([None, *named, object()], asked)
    if field.kind == "number":
        return _none_passes(_numbers(asked), asked)
    if field.kind in ("date", "moment"):
        return _never_days(field, asked)
    return field.kind == "text" and _never_text(asked)


def _none_passes(values: Sequence[Any], asked: Asked) -> bool:
    return not any(
        all(operator.says(value, wanted, _NOW) is holds for operator, wanted, holds in asked)
        for value in values
    )


def _numbers(asked: Asked) -> list[Any]:
    """Each number that is named, one between each two, one below and one above; and empty."""
    named = sorted({value for _operator, wanted, _holds in asked for value in wanted})
    if not named:
        return [None, Decimal(0)]
    between = [(one + other) / 2 for one, other in pairwise(named)]
    return [None, named[0] - 1, *named, *between, named[-1] + 1]


def _never_days(field: Field, asked: Asked) -> bool:
    """Days of the calendar and days from today are told apart: which is which depends on the day."""
    by_day = [one for one in asked if not _is_of_today(one[0])]
    from_today = [one for one in asked if _is_of_today(one[0]) or one[0].takes == "nothing"]
    return _none_passes(_days(field, by_day), by_day) or _none_passes(_days(field, from_today), from_today)


def _is_of_today(operator: Operator) -> bool:
    return operator.takes == "days" or operator.id in ("past", "not_past")


def _days(field: Field, asked: Asked) -> list[Any]:
    edges: set[date] = {_NOW.today}
    for operator, wanted, _holds in asked:
        for value in wanted:
            far = timedelta(days=value) if operator.takes == "days" else None
            edges |= {_NOW.today + far, _NOW.today - far} if far is not None else {value}
    days = {day + step for day in edges for step in (-_ONE, timedelta(), _ONE)}
    if field.kind == "date":
        return [None, *sorted(days)]
    return [None, *(datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in sorted(days))]


def _never_text(asked: Asked) -> bool:
    """What must be one of a few texts is tried; else only what is plain to see: contains “ab” and not “a”."""
    known: dict[str, list[Any]] = {}
    for operator, wanted, holds in asked:
        name = operator.id if holds else _OPPOSITE.get(operator.id)
        if name is not None:
            known.setdefault(name, []).append(wanted)
    if "empty" in known:
        return _none_passes([None], asked)
    few = [wanted for name in ("is", "one_of") for wanted in known.get(name, ())]
    if few:
        return _none_passes(few[0], asked)
    starts, ends = ([wanted[0] for wanted in known.get(name, ())] for name in ("starts_with", "ends_with"))
    parts = [*starts, *ends, *(wanted[0] for wanted in known.get("contains", ()))]
    without = [wanted[0] for wanted in known.get("not_contains", ())]
    return (
        any(part in whole for part in without for whole in parts)
        or any(not (a.startswith(b) or b.startswith(a)) for a, b in product(starts, starts))
        or any(not (a.endswith(b) or b.endswith(a)) for a, b in product(ends, ends))
    )

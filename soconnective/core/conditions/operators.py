"""Operators: what can be asked of a field of each kind, in Python and in SQL.

Both sides of an operator say the same of every value, the empty one included: an empty field is not
"Acme", does not contain "x", and is neither before nor after anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, String, and_, false, func, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from soconnective.core import clock
from soconnective.core.conditions.fields import Field

Takes = Literal["nothing", "one", "two", "many", "days"]
Wanted = list[Any]
MOST_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Now:
    """When and where it is asked: "within the last 7 days" depends on the wall calendar."""

    at: datetime
    zone: str

    @property
    def today(self) -> date:
        return clock.today(self.zone, self.at)


@dataclass(frozen=True)
class Operator:
    """`says(actual, wanted, now)` of typed values; `sql(column, wanted, now)` is never NULL.

    `kinds` it is offered for; `takes` what stands beside it. An operator about the change itself (`of_change`)
    is asked (old, new) instead of the actual value, and has no SQL.
    """

    id: str
    label: str
    kinds: tuple[str, ...]
    takes: Takes
    says: Callable[[Any, Wanted, Now], bool]
    sql: Callable[[Field, Any, Wanted, Now], ColumnElement[bool]] | None = None
    of_change: bool = False


class so_lower(FunctionElement[str]):  # noqa: N801  named like the function
    """Lower case as Python has it: SQLite gets our own function, PostgreSQL asks ICU."""

    type = String()
    inherit_cache = True


@compiles(so_lower)
def _on_sqlite(element: Any, compiler: Any, **kwargs: Any) -> str:
    return f"so_lower({compiler.process(element.clauses, **kwargs)})"


@compiles(so_lower, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    return f'lower(({compiler.process(element.clauses, **kwargs)}) COLLATE "und-x-icu")'


def _lower(column: Any) -> Any:
    return so_lower(column)


def _compared(field: Field, column: Any) -> Any:
    return _lower(column) if field.kind == "text" else column


def _bound(column: Any, value: Any) -> Any:
    """Ids are told as text; their columns hold numbers."""
    return int(value) if column.type.python_type is int else value


def _span(field: Field, first: date | None, last: date | None, now: Now) -> Callable[[Any], Any]:
    """Whether a column lies between two days, both included; moments by the wall calendar."""

    def lies(column: Any) -> Any:
        parts = []
        if first is not None:
            parts.append(column >= (first if field.kind == "date" else clock.day_bounds(first, now.zone)[0]))
        if last is not None:
            parts.append(
                column <= last if field.kind == "date" else column < clock.day_bounds(last, now.zone)[1]
            )
        return func.coalesce(and_(*parts), false())

    return lies


def _day(value: Any, now: Now) -> date | None:
    return clock.today(now.zone, value) if isinstance(value, datetime) else value


def _between(first: date | None, last: date | None) -> Callable[[Any, Now], bool]:
    def lies(actual: Any, now: Now) -> bool:
        day = _day(actual, now)
        return day is not None and (first is None or first <= day) and (last is None or day <= last)

    return lies


def _days(wanted: Wanted, now: Now, ahead: bool) -> tuple[date, date]:
    other = timedelta(days=int(wanted[0]))
    return (now.today, now.today + other) if ahead else (now.today - other, now.today)


DAYS = ("date", "moment")
CHOSEN = ("choice", "person", "record")
TAGS = ("tags",)
ONE = timedelta(days=1)


def _equal(field: Field, column: Any, wanted: Wanted, now: Now) -> Any:
    return func.coalesce(_compared(field, column) == _bound(column, wanted[0]), false())


def _in(field: Field, column: Any, wanted: Wanted, now: Now) -> Any:
    return func.coalesce(_compared(field, column).in_([_bound(column, one) for one in wanted]), false())


def _not(sql: Callable[..., Any]) -> Callable[..., Any]:
    return lambda field, column, wanted, now: ~sql(field, column, wanted, now)


def _empty(field: Field, column: Any, wanted: Wanted, now: Now) -> Any:
    return or_(column.is_(None), column == "") if column.type.python_type is str else column.is_(None)


def _order(compare: Callable[[Any, Any], Any]) -> tuple[Callable[..., bool], Callable[..., Any]]:
    return (
        lambda actual, wanted, now: actual is not None and bool(compare(actual, wanted[0])),
        lambda field, column, wanted, now: func.coalesce(compare(column, wanted[0]), false()),
    )


def _text(
    inside: Callable[[str, str], bool], sql: Callable[[Any, str], Any]
) -> tuple[Callable[..., bool], Callable[..., Any]]:
    return (
        lambda actual, wanted, now: actual is not None and inside(actual, wanted[0]),
        lambda field, column, wanted, now: func.coalesce(sql(_lower(column), wanted[0]), false()),
    )


def _among(field: Field, column: Any, wanted: Wanted, now: Now) -> Any:
    if field.among is None:
        raise TypeError(f"{field.name} is no list")
    return field.among([int(one) for one in wanted])


def _share(actual: Any, wanted: Wanted) -> bool:
    return actual is not None and not actual.isdisjoint(wanted)


_contains = _text(lambda a, w: w in a, lambda c, w: c.contains(w, autoescape=True))
_starts = _text(str.startswith, lambda c, w: c.startswith(w, autoescape=True))
_ends = _text(str.endswith, lambda c, w: c.endswith(w, autoescape=True))
_more, _less = _order(lambda a, w: a > w), _order(lambda a, w: a < w)
_at_least, _at_most = _order(lambda a, w: a >= w), _order(lambda a, w: a <= w)

_all = [
    Operator("is", "is", ("text", "number", *CHOSEN), "one", lambda a, w, n: a == w[0], _equal),
    Operator("is_not", "is not", ("text", "number", *CHOSEN), "one", lambda a, w, n: a != w[0], _not(_equal)),
    Operator("one_of", "is one of", ("text", *CHOSEN), "many", lambda a, w, n: a in w, _in),
    Operator("none_of", "is none of", ("text", *CHOSEN), "many", lambda a, w, n: a not in w, _not(_in)),
    Operator("contains", "contains", ("text",), "one", *_contains),
    Operator("not_contains", "does not contain", ("text",), "one", lambda a, w, n: a is None or w[0] not in a, _not(_contains[1])),
    Operator("starts_with", "starts with", ("text",), "one", *_starts),
    Operator("ends_with", "ends with", ("text",), "one", *_ends),
    Operator("greater", "is more than", ("number",), "one", *_more),
    Operator("less", "is less than", ("number",), "one", *_less),
    Operator("at_least", "is at least", ("number",), "one", *_at_least),
    Operator("at_most", "is at most", ("number",), "one", *_at_most),
    Operator(
        "between", "is between", ("number",), "two",
        lambda a, w, n: a is not None and w[0] <= a <= w[1],
        lambda f, c, w, n: func.coalesce(and_(c >= w[0], c <= w[1]), false()),
    ),
    Operator("on", "is on", DAYS, "one", lambda a, w, n: _between(w[0], w[0])(a, n), lambda f, c, w, n: _span(f, w[0], w[0], n)(c)),
    Operator("before", "is before", DAYS, "one", lambda a, w, n: _between(None, w[0] - ONE)(a, n), lambda f, c, w, n: _span(f, None, w[0] - ONE, n)(c)),
    Operator("after", "is after", DAYS, "one", lambda a, w, n: _between(w[0] + ONE, None)(a, n), lambda f, c, w, n: _span(f, w[0] + ONE, None, n)(c)),
    Operator("between_days", "is between", DAYS, "two", lambda a, w, n: _between(w[0], w[1])(a, n), lambda f, c, w, n: _span(f, w[0], w[1], n)(c)),
    Operator("last_days", "is within the last … days", DAYS, "days", lambda a, w, n: _between(*_days(w, n, ahead=False))(a, n), lambda f, c, w, n: _span(f, *_days(w, n, ahead=False), n)(c)),
    Operator("next_days", "is within the next … days", DAYS, "days", lambda a, w, n: _between(*_days(w, n, ahead=True))(a, n), lambda f, c, w, n: _span(f, *_days(w, n, ahead=True), n)(c)),
    Operator("past", "is before today", DAYS, "nothing", lambda a, w, n: _between(None, n.today - ONE)(a, n), lambda f, c, w, n: _span(f, None, n.today - ONE, n)(c)),
    Operator("not_past", "is today or later", DAYS, "nothing", lambda a, w, n: _between(n.today, None)(a, n), lambda f, c, w, n: _span(f, n.today, None, n)(c)),
    Operator("empty", "is empty", ("text", "number", *DAYS, *CHOSEN), "nothing", lambda a, w, n: a is None, _empty),
    Operator("not_empty", "is not empty", ("text", "number", *DAYS, *CHOSEN), "nothing", lambda a, w, n: a is not None, _not(_empty)),
    Operator("changed", "was changed", ("text", "number", *DAYS, *CHOSEN), "nothing", lambda a, w, n: a[0] != a[1], of_change=True),
    Operator("changed_from", "was changed from", ("text", "number", *CHOSEN), "one", lambda a, w, n: a[0] != a[1] and a[0] == w[0], of_change=True),
    Operator("changed_to", "was changed to", ("text", "number", *CHOSEN), "one", lambda a, w, n: a[0] != a[1] and a[1] == w[0], of_change=True),
    Operator("include", "include", TAGS, "one", lambda a, w, n: _share(a, w), _among),
    Operator("include_not", "do not include", TAGS, "one", lambda a, w, n: not _share(a, w), _not(_among)),
    Operator("include_any", "include any of", TAGS, "many", lambda a, w, n: _share(a, w), _among),
    Operator("include_none", "include none of", TAGS, "many", lambda a, w, n: not _share(a, w), _not(_among)),
    Operator("are_empty", "are empty", TAGS, "nothing", lambda a, w, n: a is None, _empty),
    Operator("are_not_empty", "are not empty", TAGS, "nothing", lambda a, w, n: a is not None, _not(_empty)),
    Operator("gained", "gained", TAGS, "one", lambda a, w, n: _share(a[1], w), of_change=True),
    Operator("lost", "lost", TAGS, "one", lambda a, w, n: _share(a[0], w), of_change=True),
]  # fmt: skip
OPERATORS: dict[str, Operator] = {operator.id: operator for operator in _all}


def operators_of(field: Field, with_changes: bool = False) -> list[Operator]:
    """What can be asked of `field`; of its change only where an event is looked at."""
    with_changes = with_changes and not field.is_related
    return [o for o in _all if field.kind in o.kinds and (with_changes or not o.of_change)]


def typed(field: Field, operator: Operator, value: Any) -> Wanted:
    """The stored value of a test as what the operator is asked with. Raises `ValueError` for what does not read."""
    if operator.takes == "nothing":
        return []
    values = value if isinstance(value, list) else [value]
    if operator.takes == "days":
        return [int(values[0])]
    if field.kind == "moment":  # moments are asked by the day
        return [date.fromisoformat(one) for one in values]
    return [field.read(one) for one in values]

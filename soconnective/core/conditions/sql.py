"""The SQL back end: the same tree as a WHERE clause, for lists, schedules and previews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, not_, or_, true
from sqlalchemy.sql.functions import coalesce

from soconnective.core.conditions.evaluate import CannotTell, require_there
from soconnective.core.conditions.fields import Field
from soconnective.core.conditions.operators import OPERATORS, Now
from soconnective.core.conditions.tree import Group, Test, read


def where(group: Group, fields: Mapping[str, Field], now: Now) -> ColumnElement[bool]:
    """Never NULL. Raises `CannotTell` for a field that has no column, or an operator about a change."""
    parts = [
        _test(item, fields, now) if isinstance(item, Test) else where(item, fields, now)
        for item in group.items
    ]
    if not parts:
        return true()
    if group.match == "all":
        return and_(*parts)
    return or_(*parts) if group.match == "any" else not_(or_(*parts))


def matching(group: Group, fields: Mapping[str, Field], now: Now) -> ColumnElement[bool]:
    """The same rows as `where`, for a WHERE alone: NULL where `where` is false, so that an index can serve it."""
    if group.match == "none":
        return where(group, fields, now)
    parts = [
        _bare(_test(item, fields, now)) if isinstance(item, Test) else matching(item, fields, now)
        for item in group.items
    ]
    if not parts:
        return true()
    return and_(*parts) if group.match == "all" else or_(*parts)


def _bare(asked: ColumnElement[bool]) -> ColumnElement[bool]:
    return next(iter(asked.clauses)) if isinstance(asked, coalesce) else asked


def _test(test: Test, fields: Mapping[str, Field], now: Now) -> ColumnElement[bool]:
    field, operator = fields.get(test.field), OPERATORS.get(test.operator)
    if field is None or operator is None:
        raise CannotTell(f"The condition asks for “{test.field}”, which does not exist any more")
    if field.column is None or operator.sql is None:
        raise CannotTell(f"“{field.label} {operator.label}” can be asked of an event only")
    require_there(field, test)
    column: Any = field.column()
    return operator.sql(field, column, read(field, operator, test), now)

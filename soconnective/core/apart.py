"""Telling records of the same name apart in lists to choose from, by what their kind says people know them by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import select

from soconnective.core.conditions import Field, fields_of
from soconnective.core.db import db
from soconnective.core.fields import BETWEEN, numbered
from soconnective.core.formats import date_text
from soconnective.core.registry import registry

MOST_LETTERS = 80


def told_apart(
    record_type: str, rows: Sequence[tuple[str, str]], always: bool = False
) -> list[tuple[str, str]]:
    """`rows` (id, name) by name, no two reading the same: with details where names are equal, or `always`."""
    names = [(row_id, name[:MOST_LETTERS]) for row_id, name in rows]
    count = Counter(name.casefold() for _id, name in names)
    asked = [int(row_id) for row_id, name in names if always or count[name.casefold()] > 1]
    known = _details(record_type, asked)
    told = [(row_id, BETWEEN.join([name, *known.get(int(row_id), ())])) for row_id, name in names]
    return sorted(numbered(told), key=lambda one: one[1].casefold())


def details_in(record_type: str, snapshot: Mapping[str, Any]) -> list[str]:
    """The details of a record as an event knows it; no statement where the event holds the words."""
    values = [(field, snapshot.get(field.name)) for field in _asked(record_type)]
    return [_said(field, value, snapshot) for field, value in values if value not in (None, "")]


def _asked(record_type: str) -> list[Field]:
    fields = fields_of(record_type)
    return [fields[name] for name in registry.record_types[record_type].apart if name in fields]


def _details(record_type: str, ids: Collection[int]) -> dict[int, list[str]]:
    """What tells each of these from others; one statement, and one for each kind of record that they name."""
    asked = [(field, field.column) for field in _asked(record_type) if field.column is not None]
    if not asked or not ids:
        return {}
    model: Any = registry.record_types[record_type].model
    columns = [column().label(field.name) for field, column in asked]
    rows = db.session.execute(select(model.id, *columns).where(model.id.in_(ids))).mappings().all()
    names = {
        field.name: registry.record_types[field.record_type].titles(
            {row[field.name] for row in rows} - {None}
        )
        for field, _column in asked
        if field.kind == "record"
    }
    found = {}
    for row in rows:
        values = [(field, row[field.name]) for field, _column in asked]
        found[row["id"]] = [
            names[field.name].get(value, "") if field.name in names else _said(field, value, {})
            for field, value in values
            if value not in (None, "")
        ]
    return found


def _said(field: Field, value: Any, snapshot: Mapping[str, Any]) -> str:
    if field.kind in ("date", "moment"):
        return date_text(value) if isinstance(value, date | str) else ""
    return field.actual({**snapshot, field.name: value})[:MOST_LETTERS]

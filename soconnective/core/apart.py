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


def told_apart(record_type: str, rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """`rows` (id, name) by name, no two reading the same: with details where names are equal."""
    names = [(row_id, name[:MOST_LETTERS]) for row_id, name in rows]
    count = Counter(name.casefold() for _id, name in names)
    ids = [int(row_id) for row_id, name in names if count[name.casefold()] > 1]
    return _sorted(names, _details(record_type, ids) if ids else {})


def first_apart(record_type: str, limit: int) -> list[tuple[str, str]]:
    """The first rows of a kind as (id, name), each with its details."""
    kind = registry.record_types[record_type]
    asked = _columns(record_type)
    statement = select(kind.model, *asked.values()).order_by(kind.model.id.desc()).limit(limit)
    found = db.session.execute(statement).all()
    names = [(str(row[0].id), kind.title(row[0])[:MOST_LETTERS]) for row in found]
    return _sorted(names, _worded(record_type, {row[0].id: row[1:] for row in found}))


def _sorted(names: Sequence[tuple[str, str]], known: Mapping[int, list[str]]) -> list[tuple[str, str]]:
    told = [(row_id, BETWEEN.join([name, *known.get(int(row_id), ())])) for row_id, name in names]
    return sorted(numbered(told), key=lambda one: one[1].casefold())


def details_in(record_type: str, snapshot: Mapping[str, Any]) -> list[str]:
    """The details of a record as an event knows it; no statement where the event holds the words."""
    values = [(field, snapshot.get(field.name)) for field in _asked(record_type)]
    return [_said(field, value, snapshot) for field, value in values if value not in (None, "")]


def _asked(record_type: str) -> list[Field]:
    fields = fields_of(record_type)
    return [fields[name] for name in registry.record_types[record_type].apart if name in fields]


def _columns(record_type: str) -> dict[str, Any]:
    """Where the details stand, by the name of their field."""
    return {field.name: field.column() for field in _asked(record_type) if field.column is not None}


def _details(record_type: str, ids: Collection[int]) -> dict[int, list[str]]:
    """What tells each of these from others."""
    model: Any = registry.record_types[record_type].model
    asked = _columns(record_type)
    rows = db.session.execute(select(model.id, *asked.values()).where(model.id.in_(ids))).all()
    return _worded(record_type, {row[0]: row[1:] for row in rows})


def _worded(record_type: str, rows: Mapping[int, Sequence[Any]]) -> dict[int, list[str]]:
    """The values of the columns in words; one statement for each kind of record that they name."""
    fields = [fields_of(record_type)[name] for name in _columns(record_type)]
    names: dict[str, dict[int, str]] = {}
    for place, field in enumerate(fields):
        if field.kind == "record":
            ids = {values[place] for values in rows.values()} - {None}
            names[field.name] = registry.record_types[field.record_type].titles(ids)
    return {
        row_id: [
            names[field.name].get(value, "") if field.name in names else _said(field, value, {})
            for field, value in zip(fields, values, strict=True)
            if value not in (None, "")
        ]
        for row_id, values in rows.items()
    }


def _said(field: Field, value: Any, snapshot: Mapping[str, Any]) -> str:
    if field.kind in ("date", "moment"):
        return date_text(value) if isinstance(value, date | str) else ""
    return field.actual({**snapshot, field.name: value})[:MOST_LETTERS]

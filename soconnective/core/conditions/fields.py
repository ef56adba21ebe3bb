"""Typed fields: what of a record can be asked for, how its values read, and where they stand in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from sqlalchemy import select

from soconnective.core.registry import called, registry
from soconnective.core.tenancy import has_tenant

Kind = Literal["text", "number", "date", "moment", "choice", "person", "record", "tags"]
LONGEST = 200
GONE_TAG = "Choose a tag: this one does not exist any more."
Choices = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Field:
    """A field of a record type, named as in the snapshots of its events.

    `column()` is where it stands (None: only events know it). `choices()` are (value, label) of a choice;
    `record_type` is what a record field points to; `shown` names the snapshot's value that people read
    (the company's name beside its id). `is_related`: it belongs to another record that this one points to, so
    no event of this record tells of its change. `reference` names the kind of thing whose id a choice holds
    (the stage), so that rules as text can say it by name. Tags are a list of ids out of `choices()`: `among(ids)` says in
    SQL whether one of these is there, and `column()` is NULL without any. `heading` is what it stands under in a form, where
    its kind does not say it.
    """

    name: str
    label: str
    kind: Kind
    column: Callable[[], Any] | None = None
    choices: Callable[[], Choices] | None = None
    record_type: str = ""
    shown: str = ""
    is_related: bool = False
    reference: str = ""
    among: Callable[[Sequence[int]], Any] | None = None
    heading: str = ""

    @property
    def refers_to(self) -> str:
        """The kind of thing whose id it holds ("stage", "person", "company"); empty for a plain value."""
        return self.reference or {"person": "person", "record": self.record_type}.get(self.kind, "")

    def read(self, stored: Any) -> Any:
        """A stored JSON value as what is compared: lower-case text, Decimal, date, datetime, or an id's text."""
        if stored is None or stored == "":
            return None
        if isinstance(stored, list):
            return frozenset(map(str, stored)) or None
        if self.kind == "number":
            return Decimal(str(stored))
        if self.kind == "date":
            return stored if isinstance(stored, date) else date.fromisoformat(stored)
        if self.kind == "moment":
            return stored if isinstance(stored, datetime) else datetime.fromisoformat(stored)
        return str(stored).lower() if self.kind == "text" else str(stored)

    def clean(self, value: Any) -> Any:
        """What somebody typed or chose, as it is stored; raises `ValueError` with words for people."""
        text = "" if value is None else str(value).strip()
        if not text:
            raise ValueError("Write what to compare with.")
        if self.kind == "number":
            return _number(text)
        if self.kind in {"date", "moment"}:
            return _day(text)
        if self.kind == "text":
            if len(text) > LONGEST:
                raise ValueError(f"{LONGEST} characters at most.")
            return text
        if self.label_of(text) is None:
            raise ValueError(GONE_TAG if self.kind == "tags" else "Choose from the list.")
        return text

    def is_gone(self, wanted: Any) -> bool:
        """Whether a test asks for a tag that does not exist any more: no answer could be right."""
        asked = wanted if isinstance(wanted, list) else [wanted]
        return self.kind == "tags" and any(one is not None and self.label_of(one) is None for one in asked)

    def label_of(self, value: Any) -> str | None:
        """How people read `value`; None for a choice that does not exist (any more)."""
        if value is None or value == "":
            return None
        if isinstance(value, list):
            said = sorted((self.label_of(one) or "one that is gone" for one in value), key=str.casefold)
            return ", ".join(said) or None
        if self.kind in ("choice", "tags") and self.choices is not None:
            return dict(self.choices()).get(str(value))
        if self.kind == "person":
            return called(_id(value))
        if self.kind == "record":
            return registry.record_types[self.record_type].titles([_id(value)]).get(_id(value))
        return str(value)

    def actual(self, values: Mapping[str, Any]) -> str:
        """The value in a snapshot, for people."""
        stored = values.get(self.name)
        if stored is None or stored in ("", []):
            return "empty"
        if self.shown and values.get(self.shown):
            return str(values[self.shown])
        return self.label_of(stored) or str(stored)

    def changed(self, old: Any, new: Any) -> str:
        """A change of it, for people; of a list what left and what came."""
        if self.kind == "tags":
            parts = [f"{word} {self.label_of(ids)}" for word, ids in (("gained", new), ("lost", old)) if ids]
            return ", ".join(parts) or "not changed"
        return f"changed from {self.actual({self.name: old})} to {self.actual({self.name: new})}"


def _id(value: Any) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _number(text: str) -> str:
    try:
        number = Decimal(text.replace(",", ""))
    except InvalidOperation:
        raise ValueError("Write a number like 1250 or 12.50.") from None
    if not number.is_finite() or abs(number) > Decimal("999999999999.99") or number != round(number, 2):
        raise ValueError("Write a number with two decimals at most.")
    return format(number.normalize(), "f")


def _day(text: str) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("Write a date like 2026-12-31.") from None
    if not 1900 <= day.year < 2200:
        raise ValueError("Choose a date between 1900 and 2199.")
    return day.isoformat()


def through(own: Any, target: Any, value: Any) -> Any:
    """`value`, a column of the row of `target` whose id stands in the column `own`, as SQL asks for it."""
    return select(value).where(target.id == own).correlate_except(target).scalar_subquery()


_fields: dict[str, dict[str, Field]] = {}
_more: dict[str, Callable[[], Sequence[Field]]] = {}


def register_fields(record_type: str, *found: Field) -> None:
    _fields[record_type] = {field.name: field for field in found}


def register_more_fields(record_type: str, load: Callable[[], Sequence[Field]]) -> None:
    """Fields that differ by workspace: `load()` reads those of the current one."""
    _more[record_type] = load


def fields_of(record_type: str | None) -> dict[str, Field]:
    """The fields of a record type by name, in the order of registration."""
    fields = _fields.get(record_type or "", {})
    if record_type in _more and has_tenant():
        return {**fields, **{field.name: field for field in _more[record_type]()}}
    return fields

"""What an area says about a model so that its changes become events.

watch(Watch(Deal, "deal", fields=("title", "amount", "stage_id"), classify=classify,
            snapshot=snapshot, links={"contact_id": "contact"},
            parts=(Part(DealContact, parent="deal_id", field="contact_ids", value=lambda row: row.contact_id),)))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import event
from sqlalchemy.sql.elements import ClauseElement

from soconnective.core.db import db

Kind = Literal["created", "updated", "deleted"]


@dataclass(slots=True)
class Change:
    """What one flush (or, folded, one transaction) did to a record: raw Python values, old and new.

    For a created record each field that is set has (None, new); for a deleted one (old, None).
    """

    kind: Kind
    fields: dict[str, tuple[Any, Any]]
    record: Any

    def moved(self, name: str, old: Any = ..., new: Any = ...) -> bool:
        """Whether field `name` changed, and from `old` and to `new` where given."""
        if name not in self.fields:
            return False
        was, now = self.fields[name]
        return (old is ... or was == old) and (new is ... or now == new)


@dataclass(frozen=True)
class Part:
    """Rows of another model that belong to the record: their changes are told as the list field `field`.

    `value(row)` is the member as shown in the change (JSON-ready), from column attributes only.
    `link` is an optional (column, record type) that the event is linked to.
    """

    model: type
    parent: str
    field: str
    value: Callable[[Any], Any]
    link: tuple[str, str] | None = None


@dataclass(frozen=True)
class Watch:
    """One watched model.

    fields: columns whose changes are told. classify: names of the events that a `Change` amounts to,
    pure and in order (it must not query). snapshot: the flat dict stored with the event, JSON-ready; it
    runs outside the flush and may query. links: column -> record type, for the timelines of others.
    """

    model: type
    record_type: str
    fields: Sequence[str]
    classify: Callable[[Change], Sequence[str]]
    snapshot: Callable[[Any], dict[str, Any]]
    links: Mapping[str, str] = field(default_factory=dict)
    parts: Sequence[Part] = ()


watches: dict[type, Watch] = {}
parts: dict[type, tuple[Watch, Part]] = {}


def watch(declaration: Watch) -> None:
    """Watch `declaration.model`: from now on its flushed changes become events."""
    if declaration.model in watches:
        return
    watches[declaration.model] = declaration
    for name in declaration.fields:
        _keep_old_value(declaration.model, name)
    for part in declaration.parts:
        parts[part.model] = (declaration, part)
        for column in part.model.__mapper__.column_attrs:  # type: ignore[attr-defined]
            _keep_old_value(part.model, column.key)


def watched_models() -> list[type]:
    """Every model that must never be written by bulk or Core statements."""
    return [*watches, *parts]


def watches_of(record_type: str) -> list[str]:
    """The fields whose changes are told of a kind of record, its lists among them."""
    for declaration in watches.values():
        if declaration.record_type == record_type:
            return [*declaration.fields, *(part.field for part in declaration.parts)]
    return []


def snapshot_now(record_type: str, record_id: int) -> dict[str, Any] | None:
    """The snapshot of a record as it is now, or None if it is gone."""
    for declaration in watches.values():
        if declaration.record_type == record_type:
            record = db.session.get(declaration.model, record_id)
            return None if record is None else declaration.snapshot(record)
    return None


def _keep_old_value(model: type, name: str) -> None:
    """Load the old value before a set (it is gone after an expiry), and refuse SQL expressions, which leave no history."""

    def _on_set(target: Any, value: Any, old: Any, _initiator: Any) -> None:
        if isinstance(value, ClauseElement):
            raise TypeError(f"{model.__name__}.{name} is watched: set a value, not an SQL expression")

    event.listen(getattr(model, name), "set", _on_set, active_history=True, propagate=True)

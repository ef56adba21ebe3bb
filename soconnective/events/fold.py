"""What a transaction amounts to: the notes of several flushes, folded to one change per record.

A→B→C is one change from A to C; A→B→A and created-then-deleted are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm.attributes import instance_state

from soconnective.core.conditions import fields_of
from soconnective.core.db import plain
from soconnective.events.event import DomainEvent
from soconnective.events.pending import AS_IT_WAS, Note
from soconnective.events.watch import Change


def fold(
    session: OrmSession, notes: Sequence[Note], cause: DomainEvent | None = None, *, snapshots: bool = True
) -> list[tuple[DomainEvent, bool]]:
    """The events that `notes` amount to, in order, each with whether somebody wants to react.

    `cause` is the event whose rule made these changes; None for a person's own. Without `snapshots`, for what
    will be rolled back, they are left empty.
    """
    found: list[tuple[DomainEvent, bool]] = []
    for note in _by_record(notes):
        if note.record is None:
            note.record = session.get(note.watch.model, note.record_id)
            if note.record is None:
                continue
        names = note.watch.classify(change_of(note))
        if not names:
            continue
        snapshot = _snapshot(note) if snapshots else {}
        changes = plain_changes(note)
        for name in names:
            event = DomainEvent(
                name,
                note.tenant_id,
                note.watch.record_type,
                note.record_id,
                note.actor,
                note.at,
                changes,
                snapshot,
                tuple(note.links),
                rules=note.rules,
            )
            if cause is not None:
                event.parent_id = cause.id
                event.root_id = cause.root_id or cause.id
                event.depth = cause.depth + 1
            found.append((event, note.wanted))
    return found


def _by_record(notes: Sequence[Note]) -> list[Note]:
    if len(notes) == 1:
        return list(notes)
    merged: dict[tuple[str, int], Note] = {}
    for note in notes:
        key = (note.watch.record_type, note.record_id)
        earlier = merged.get(key)
        if earlier is None:
            merged[key] = note
        else:
            _merge(earlier, note)
    return [note for note in merged.values() if not _is_nothing(note)]


def _merge(first: Note, then: Note) -> None:
    """Add what happened later to `first`."""
    for name, (old, new) in then.fields.items():
        first.fields[name] = (first.fields[name][0] if name in first.fields else old, new)
    for name, (removed, added) in then.members.items():
        gone, come = first.members.setdefault(name, ([], []))
        for value in removed:
            come.remove(value) if value in come else gone.append(value)
        for value in added:
            gone.remove(value) if value in gone else come.append(value)
    if then.kind == "deleted":
        first.is_void = first.is_void or first.kind == "created"
        first.kind = "deleted"
    first.record = then.record if then.record is not None else first.record
    first.links.update(then.links)
    first.wanted = first.wanted or then.wanted
    first.rules = first.louder(then)
    first.actor, first.at = then.actor, then.at


def _is_nothing(note: Note) -> bool:
    if note.is_void:  # created and deleted again
        return True
    note.fields = {name: (old, new) for name, (old, new) in note.fields.items() if old != new}
    note.members = {name: both for name, both in note.members.items() if both[0] or both[1]}
    return note.kind == "updated" and not note.fields and not note.members


def change_of(note: Note) -> Change:
    """The note as the area's `classify` sees it: list fields as (removed, added)."""
    return Change(note.kind, {**note.fields, **note.members} if note.members else note.fields, note.record)


def plain_changes(note: Note) -> dict[str, list[Any]]:
    """Old and new per field, JSON-ready."""
    changes = {name: [plain(old), plain(new)] for name, (old, new) in note.fields.items()}
    for name, (removed, added) in note.members.items():
        changes[name] = [[plain(v) for v in removed], [plain(v) for v in added]]
    return changes


def _as_it_was(note: Note) -> dict[str, Any]:
    """The last values of a deleted record, and the names of what it pointed to."""
    told = instance_state(note.record).info.get(AS_IT_WAS, {}) if note.record is not None else {}
    values = {
        name: value for name, value in told.items() if not name.endswith("_id")
    }  # no way to what is gone
    values["id"] = note.record_id
    values.update({name: plain(old) for name, (old, _new) in note.fields.items()})
    for name, known in fields_of(note.watch.record_type).items():
        if name in note.members:  # what a list held went with the record
            values[name] = [plain(value) for value in note.members[name][0]]
        if known.shown and name in values:
            values[known.shown] = known.label_of(values[name])
    return values


def _snapshot(note: Note) -> dict[str, Any]:
    if note.kind == "deleted":
        return _as_it_was(note)
    return note.watch.snapshot(note.record)

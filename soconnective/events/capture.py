"""The after-flush listener: turns what a flush changed into notes, and says each with its blinker signal.

Everything after the flush runs inside it: it reads attributes and takes notes; it must not query, add,
flush, commit or open a savepoint. A receiver that fails is logged and never reaches the write.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import PassiveFlag, UOWTransaction
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm.attributes import get_history, instance_state

from soconnective.core import clock
from soconnective.core.access import current_actor
from soconnective.core.db import Session
from soconnective.core.history import Before
from soconnective.events.catalogue import namespace
from soconnective.events.event import DomainEvent
from soconnective.events.fold import change_of, plain_changes
from soconnective.events.pending import AS_IT_WAS, Note, pending_of
from soconnective.events.reacting import current_mode
from soconnective.events.watch import Kind, Part, Watch, parts, watches

log = logging.getLogger(__name__)

_ADDED_BY = "events.added_by"
Notes = dict[tuple[str, int], Note]


@event.listens_for(Session, "transient_to_pending")
def _on_added(_session: OrmSession, row: Any) -> None:
    """Remember who added a record: several may act before one flush."""
    if type(row) in watches:
        instance_state(row).info[_ADDED_BY] = current_actor()


@event.listens_for(Session, "before_flush")
def _on_before_flush(session: OrmSession, _context: UOWTransaction, _instances: Any) -> None:
    """Remember how what is about to be deleted is told: afterwards its name and addresses cannot be asked for."""
    for row in session.deleted:
        watch = watches.get(type(row))
        if watch is not None:
            try:
                instance_state(row).info[AS_IT_WAS] = watch.snapshot(row)
            except Exception:
                log.exception("a %s that is deleted cannot say how it was", watch.record_type)


@event.listens_for(Session, "after_flush")
def _on_after_flush(session: OrmSession, context: UOWTransaction) -> None:
    notes: Notes = {}
    deleted = _deleted(context)
    for row in session.new:
        _note_new(notes, row)
    for row in session.dirty:
        if row not in deleted:
            _note_changed(notes, row, session)
    for row in deleted:
        _note_deleted(notes, row)
    if notes:
        pending_of(session).notes.extend(notes.values())
        for note in notes.values():
            _say(note)


def _note_new(notes: Notes, row: Any) -> None:
    if (watch := watches.get(type(row))) is not None:
        values = {name: (None, value) for name in watch.fields if (value := getattr(row, name)) is not None}
        _note(notes, watch, row, "created", values)
    elif (part := parts.get(type(row))) is not None:
        _note_part(notes, *part, before=None, after=row)


def _note_changed(notes: Notes, row: Any, session: OrmSession) -> None:
    if (watch := watches.get(type(row))) is not None:
        if changed := _changed(row, watch):
            _note(notes, watch, row, "updated", changed)
    elif (part := parts.get(type(row))) is not None and session.is_modified(row):
        _note_part(notes, *part, before=Before(row), after=row)


def _note_deleted(notes: Notes, row: Any) -> None:
    if (watch := watches.get(type(row))) is not None:
        before = Before(row)
        values = {
            name: (value, None) for name in watch.fields if (value := getattr(before, name)) is not None
        }
        _note(notes, watch, row, "deleted", values)
    elif (part := parts.get(type(row))) is not None:
        _note_part(notes, *part, before=Before(row), after=None)


def _deleted(context: UOWTransaction) -> dict[Any, None]:
    """What this flush deletes, orphans of a collection included (`session.deleted` lacks those)."""
    return {
        state.obj(): None
        for state, (is_delete, only_listed) in context.states.items()
        if is_delete and not only_listed
    }


def _changed(row: Any, watch: Watch) -> dict[str, tuple[Any, Any]]:
    found = {}
    for name in watch.fields:
        history = get_history(row, name, PassiveFlag.PASSIVE_NO_INITIALIZE)
        if history.has_changes():
            old = history.deleted[0] if history.deleted else None
            new = history.added[0] if history.added else None
            if old != new:
                found[name] = (old, new)
    return found


def _note(notes: Notes, watch: Watch, row: Any, kind: Kind, fields: dict[str, tuple[Any, Any]]) -> Note:
    key = (watch.record_type, row.id)
    note = notes.get(key)
    if note is None:
        note = notes[key] = _new_note(watch, row.id, row.tenant_id, row, kind)
    else:  # a part of it was noted first
        note.record, note.kind = row, kind
    if kind == "created":
        note.actor = instance_state(row).info.pop(_ADDED_BY, note.actor)
    note.fields.update(fields)
    for column, record_type in watch.links.items():
        _link(note, record_type, getattr(row, column))
        if column in fields:
            _link(note, record_type, fields[column][0])
    return note


def _note_part(notes: Notes, watch: Watch, part: Part, before: Any, after: Any) -> None:
    """A member came, went, or changed; a member moved to another parent does both."""
    old_parent = getattr(before, part.parent) if before is not None else None
    new_parent = getattr(after, part.parent) if after is not None else None
    old_value = part.value(before) if before is not None else None
    new_value = part.value(after) if after is not None else None
    if old_parent == new_parent and old_value == new_value:
        return
    row = after if after is not None else before
    for parent, value, index, state in (
        (old_parent, old_value, 0, before),
        (new_parent, new_value, 1, after),
    ):
        if parent is None or state is None:
            continue
        key = (watch.record_type, parent)
        note = notes.get(key)
        if note is None:
            note = notes[key] = _new_note(watch, parent, row.tenant_id, None, "updated")
        note.members.setdefault(part.field, ([], []))[index].append(value)
        if part.link is not None:
            _link(note, part.link[1], getattr(state, part.link[0]))


def _new_note(watch: Watch, record_id: int, tenant_id: int, record: Any, kind: Kind) -> Note:
    links = {(watch.record_type, record_id): None}
    return Note(
        watch,
        record_id,
        tenant_id,
        record,
        kind,
        {},
        {},
        links,
        current_actor(),
        clock.now(),
        rules=current_mode(),
    )


def _link(note: Note, record_type: str, record_id: Any) -> None:
    if record_id is not None:
        note.links[(record_type, record_id)] = None


def _say(note: Note) -> None:
    """Send the signal of each event that this change, taken alone, amounts to."""
    change = change_of(note)
    for name in note.watch.classify(change):
        signal = namespace.get(name)
        if signal is None or not signal.receivers:
            continue
        fact = DomainEvent(
            name,
            note.tenant_id,
            note.watch.record_type,
            note.record_id,
            note.actor,
            note.at,
            plain_changes(note),
            links=tuple(note.links),
        )
        for receiver in signal.receivers_for(note.watch.model):
            try:
                receiver(note.watch.model, event=fact, react=note.want)
            except Exception:
                log.exception("a receiver of %s failed; the write goes on", name)

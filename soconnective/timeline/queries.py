"""The timeline of a record: its events and those linked to it, newest first, told as a story."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from flask import abort
from sqlalchemy import and_, select

from soconnective.automation.queries import run_urls
from soconnective.automation.registry import is_trigger
from soconnective.core.access import Actor
from soconnective.core.db import db
from soconnective.core.registry import registry
from soconnective.events import EventLink, EventRow, event_types
from soconnective.timeline.fields import Names, field_lines, is_about_tags, title_of
from soconnective.timeline.models import Note
from soconnective.timeline.operations import may_change

PER_PAGE = 20
_SWALLOWED = {"deal.won": "deal.stage_changed", "deal.lost": "deal.stage_changed"}


@dataclass
class Entry:
    """One entry: who did what when, to which record, with old and new values, and which rule did it."""

    event_id: int
    name: str
    title: str
    icon: str
    at: datetime
    actor: Actor
    subject: str
    url: str | None
    is_own: bool
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    note: Note | None = None
    note_text: str | None = None
    may_edit: bool = False
    may_delete: bool = False
    run_url: str | None = None
    is_watched: bool = False

    @property
    def is_automatic(self) -> bool:
        return self.actor.kind == "automation"


@dataclass
class Slice:
    entries: list[Entry]
    older_than: int | None


def get_note(note_id: int) -> Note:
    return db.session.get(Note, note_id) or abort(404)


def timeline(record_type: str, record_id: int, before: int | None = None, limit: int = PER_PAGE) -> Slice:
    """Up to `limit` entries older than event `before`; a handful of statements however long it is."""
    statement = (
        select(EventRow)
        .join(EventLink, and_(EventLink.event_id == EventRow.id, EventLink.tenant_id == EventRow.tenant_id))
        .where(EventLink.record_type == record_type, EventLink.record_id == record_id)
        .order_by(EventLink.event_id.desc())
        .limit(limit + 1)
    )
    if before is not None:
        statement = statement.where(EventLink.event_id < before)
    rows = list(db.session.scalars(statement))
    older = rows[limit - 1].id if len(rows) > limit else None
    rows = rows[:limit]
    names = Names(rows)
    notes = _notes(rows)
    runs = run_urls(
        [
            (row.parent_id, row.actor_id)
            for row in rows
            if row.actor_kind == "automation" and row.parent_id and row.actor_id
        ]
    )
    swallowed = {
        (row.record_id, _SWALLOWED[row.name], row.occurred_at) for row in rows if row.name in _SWALLOWED
    }
    entries = []
    for row in rows:
        if (row.record_id, row.name, row.occurred_at) in swallowed:
            continue
        entries.append(_entry(row, names, notes, runs, (record_type, record_id)))
    return Slice(entries, older)


def _notes(rows: list[EventRow]) -> dict[int, Note]:
    ids = {row.record_id for row in rows if row.record_type == "note"}
    return {note.id: note for note in db.session.scalars(select(Note).where(Note.id.in_(ids)))} if ids else {}


def _entry(
    row: EventRow,
    names: Names,
    notes: dict[int, Note],
    runs: dict[tuple[int, int], str],
    place: tuple[str, int],
) -> Entry:
    kind = registry.record_types.get(row.record_type)
    declared = event_types().get(row.name)
    is_note = row.record_type == "note"
    note = notes.get(row.record_id) if row.name == "note.logged" else None
    is_own = (row.record_type, row.record_id) == place
    return Entry(
        row.id,
        row.name,
        title_of(row, declared.title if declared else row.name, names),
        "note" if is_note else "tag" if is_about_tags(row) else kind.icon if kind else "circle-dot",
        row.occurred_at,
        Actor(row.actor_kind, row.actor_id, row.actor_name),
        "" if is_note else str(row.snapshot.get("title") or row.snapshot.get("name") or ""),
        kind.url(row.record_id) if kind and not row.name.endswith(".deleted") and not is_own else None,
        is_own,
        [] if is_note else field_lines(row, names),
        note,
        None if note or not is_note else str(row.snapshot.get("body") or ""),
        note is not None and may_change(note),
        note is not None and (note.is_system or may_change(note)),
        runs.get((row.parent_id or 0, row.actor_id or 0)),
        is_trigger(row.name),
    )

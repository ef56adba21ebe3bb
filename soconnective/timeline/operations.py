"""Every write to notes."""

from __future__ import annotations

from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.timeline.models import Note

BODY_LENGTH = 20_000


def write_note(
    body: str, *, contact_id: int | None = None, company_id: int | None = None, deal_id: int | None = None
) -> Note:
    """A note on the timelines of the records named, by whoever acts now; its id comes with the next flush."""
    _require_text(body)
    actor = current_actor()
    note = Note(
        body=body,
        contact_id=contact_id,
        company_id=company_id,
        deal_id=deal_id,
        created_by_kind=actor.kind,
        created_by_id=actor.id,
        created_by_name=actor.name,
    )
    db.session.add(note)
    return note


def update_note(note: Note, body: str) -> Note:
    """Only its author may change a note."""
    _require_own(note)
    _require_text(body)
    note.body = body
    return note


def delete_note(note: Note) -> None:
    """Its author may delete a note; a System Note may be deleted by anybody who edits records."""
    if not note.is_system:
        _require_own(note)
    db.session.delete(note)


def may_change(note: Note) -> bool:
    actor = current_actor()
    return (note.created_by_kind, note.created_by_id) == (actor.kind, actor.id)


def _require_own(note: Note) -> None:
    if not may_change(note):
        raise Refused(f"Only {note.author} can change this note.", "body")


def _require_text(body: str) -> None:
    if not body.strip():
        raise Refused("Write something first.", "body")
    if len(body) > BODY_LENGTH:
        raise Refused(f"A note holds at most {BODY_LENGTH:,} characters.", "body")

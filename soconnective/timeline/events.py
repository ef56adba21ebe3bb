"""The facts that notes announce."""

from __future__ import annotations

from typing import Any

from soconnective.events import Change, Watch, declare, watch
from soconnective.timeline.models import Note

NOTE_LOGGED = declare(
    "note.logged",
    "note",
    "Note written",
    sent_when="A note was written, by a person or by a rule.",
    not_when="A later edit is note.updated.",
)
NOTE_UPDATED = declare(
    "note.updated",
    "note",
    "Note edited",
    sent_when="The text of a note, or what it is about, changed.",
    not_when="Not when it is written.",
)
NOTE_DELETED = declare(
    "note.deleted",
    "note",
    "Note deleted",
    sent_when="A note was deleted, with the text it had.",
    not_when="Not when the record it is about is deleted.",
)


def classify(change: Change) -> list[str]:
    return ["note.logged" if change.kind == "created" else f"note.{change.kind}"]


def snapshot(note: Note) -> dict[str, Any]:
    return {
        "id": note.id,
        "body": note.body[:500],
        "contact_id": note.contact_id,
        "company_id": note.company_id,
        "deal_id": note.deal_id,
    }


watch(
    Watch(
        Note,
        "note",
        ("body", "contact_id", "company_id", "deal_id"),
        classify,
        snapshot,
        {"deal_id": "deal", "contact_id": "contact", "company_id": "company"},
    )
)

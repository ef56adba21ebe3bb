"""Notes, and the reading of events as a story.

Owns `notes`. The timeline itself is the event log: a record's events and those linked to it.
"""

from __future__ import annotations

from typing import Any

from flask import Flask
from sqlalchemy import func, select

from soconnective.core.db import db
from soconnective.core.registry import Dependant, NewItem, Panel, RecordType, registry
from soconnective.deals.models import Stage
from soconnective.tags.facts import FIELD
from soconnective.tags.queries import tag_names
from soconnective.timeline import automation, conditions, events, queries, views
from soconnective.timeline.fields import name_readers
from soconnective.timeline.models import Note

__all__ = ["automation", "conditions", "events", "init_app"]


def init_app(app: Flask) -> None:
    app.register_blueprint(views.bp)
    name_readers["stage_id"] = _stage_names
    name_readers[FIELD] = tag_names
    registry.add(
        RecordType(
            "note",
            "Note",
            "Notes",
            "note",
            Note,
            _note_url,
            lambda n: n.body[:60],
            (("body", "text"),),
        ),
        NewItem("note", "Note", "timeline.new", "note", 60, _for_record),
    )
    for kind in ("deal", "contact", "company"):
        registry.add(
            Panel(f"timeline-{kind}", kind, 90, "timeline/_panel.html", _panel_context(kind)),
            Dependant(f"notes-{kind}", kind, "notes", "deleted too", _counter(kind), _releaser(kind)),
        )


def _note_url(note_id: int) -> str:
    note = db.session.get(Note, note_id)
    return views.url_of_place(views.place_of(note)) if note else ""


def _for_record(record_type: str, record_id: int) -> dict[str, Any] | None:
    return {f"{record_type}_id": record_id} if record_type in views.PLACES else None


def _panel_context(kind: str) -> Any:
    return lambda record: {"story": queries.timeline(kind, record.id)}


def _counter(kind: str) -> Any:
    column = getattr(Note, f"{kind}_id")
    return lambda record: (
        db.session.scalar(select(func.count()).select_from(Note).where(column == record.id)) or 0
    )


def _releaser(kind: str) -> Any:
    """A note that is about something else as well stays there; one that is not goes."""
    name = f"{kind}_id"

    def release(record: Any) -> None:
        for note in db.session.scalars(select(Note).where(getattr(Note, name) == record.id)):
            if any(getattr(note, f"{other}_id") for other in views.PLACES if other != kind):
                setattr(note, name, None)
            else:
                db.session.delete(note)

    return release


def _stage_names(ids: set[int]) -> dict[int, str]:
    loaded = {row.id: row.name for row in db.session.identity_map.values() if isinstance(row, Stage)}
    missing = ids - set(loaded)
    if missing:
        rows = db.session.execute(select(Stage.id, Stage.name).where(Stage.id.in_(missing)))
        loaded.update({row.id: row.name for row in rows})
    return loaded

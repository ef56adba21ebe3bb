"""What can be asked of notes, in rules and in filters."""

from __future__ import annotations

from soconnective.core.conditions import Field, register_fields
from soconnective.timeline.models import Note

register_fields(
    "note",
    Field("body", "text", "text", lambda: Note.body),
    Field("deal_id", "deal", "record", lambda: Note.deal_id, record_type="deal"),
    Field("contact_id", "contact", "record", lambda: Note.contact_id, record_type="contact"),
    Field("company_id", "company", "record", lambda: Note.company_id, record_type="company"),
)

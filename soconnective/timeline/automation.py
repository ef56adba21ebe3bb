"""What the timeline offers to rules: notes written, edited and deleted, and *Log a note*."""

from __future__ import annotations

from pydantic import Field
from wtforms import Form, TextAreaField
from wtforms.validators import InputRequired, Length

from soconnective.automation import merge
from soconnective.automation.contracts import (
    Action,
    ActionFailed,
    Made,
    RunContext,
    Scope,
    Settings,
    StepResult,
)
from soconnective.automation.registry import register_action, register_trigger
from soconnective.automation.triggers import on_event
from soconnective.automation.undo_run import Undoable, register_undoable
from soconnective.core.forms import clean_text
from soconnective.core.words import told
from soconnective.timeline.operations import BODY_LENGTH, delete_note, write_note

TEMPLATE_LENGTH = 5000


class LogNoteSettings(Settings):
    """body: a text with merge fields."""

    body: str = Field(min_length=1, max_length=TEMPLATE_LENGTH)


class LogNoteForm(Form):  # type: ignore[misc]
    body = TextAreaField(
        "Note",
        filters=[clean_text],
        validators=[InputRequired("Write what the note says."), Length(max=TEMPLATE_LENGTH)],
    )


class LogNote(Action):
    """Writes a System Note on the timelines of the record and of its contact."""

    type_id = "log_note"
    label = "Log a note"
    group = "Timeline"
    icon = "note"
    Settings = LogNoteSettings
    form = LogNoteForm
    writes = ("note",)
    only_adds = True

    def run(self, context: RunContext) -> StepResult:
        body = merge.render(self.settings.body, context.fields).strip()
        if not body:
            raise ActionFailed("The note is empty once its fields are filled in.")
        snapshot = context.event.snapshot
        note = write_note(
            body[:BODY_LENGTH],
            deal_id=snapshot.get("deal_id"),
            contact_id=snapshot.get("contact_id"),
            company_id=snapshot.get("company_id") if context.event.record_type == "company" else None,
        )
        return StepResult("note logged", (Made("note", note, _shortened(body, 80)),))

    def describe(self) -> str:
        return f"log note {told(self.settings.body)}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        return [("body", problem) for problem in merge.problems(self.settings.body, scope.record_type)]


def _shortened(text: str, length: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


register_trigger(
    on_event("note.logged", "a note is written", "Notes", "note", ("note",)),
    on_event("note.updated", "a note is edited", "Notes", "edit", ("note.body",)),
    on_event("note.deleted", "a note is deleted", "Notes", "trash"),
)
register_undoable(Undoable("note", delete_note, lambda note, values: None, ()))
register_action(LogNote)

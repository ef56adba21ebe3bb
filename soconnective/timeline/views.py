"""Writing notes, and a record's whole story."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from wtforms import TextAreaField
from wtforms.validators import InputRequired, Length

from soconnective.core.access import may
from soconnective.core.fields import IdField
from soconnective.core.forms import RecordForm
from soconnective.core.listing import argument_id
from soconnective.core.registry import registry
from soconnective.timeline import operations
from soconnective.timeline.models import Note
from soconnective.timeline.queries import get_note, timeline

bp = Blueprint("timeline", __name__, url_prefix="/dashboard/timeline")
PLACES = ("deal", "contact", "company")


class NoteForm(RecordForm):
    body = TextAreaField(
        "Note", validators=[InputRequired("Write something first."), Length(max=operations.BODY_LENGTH)]
    )
    contact_id = IdField("Contact", blank="none")
    company_id = IdField("Company", blank="none")
    deal_id = IdField("Deal", blank="none")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for kind in PLACES:
            field = self[f"{kind}_id"]
            row = registry.record_types[kind].get(field.data) if field.data else None
            field.offer([(field.data, registry.record_types[kind].title(row))] if row is not None else [])

    @property
    def place(self) -> tuple[str, int] | None:
        """The record that the note is about, the first of deal, contact, company."""
        return next(((kind, self[f"{kind}_id"].data) for kind in PLACES if self[f"{kind}_id"].data), None)


@bp.route("/notes/new", methods=["GET", "POST"], endpoint="new")
@bp.route("/notes", methods=["POST"], endpoint="write")
@may("records.edit")
def new() -> Any:
    form = NoteForm(**{f"{kind}_id": argument_id(f"{kind}_id") for kind in PLACES})
    if request.method == "POST" and form.place is None:
        abort(404)
    if form.saved(lambda: operations.write_note(**form.values())):
        flash("The note is written.", "success")
        return redirect(url_of_place(form.place))
    return render_template(
        "timeline/note.html", form=form, cancel=url_of_place(form.place), note=None
    ), form.status


@bp.route("/notes/<id:note_id>/edit", methods=["GET", "POST"])
@may("records.edit")
def edit(note_id: int) -> Any:
    note = get_note(note_id)
    form = EditForm(obj=note)
    back = url_of_place(place_of(note))
    if form.saved(lambda: operations.update_note(note, form.body.data or "")):
        return redirect(back)
    return render_template("timeline/note.html", form=form, cancel=back, note=note), form.status


class EditForm(RecordForm):
    body = NoteForm.body


@bp.route("/notes/<id:note_id>/delete", methods=["GET", "POST"])
@may("records.edit")
def delete(note_id: int) -> Any:
    note = get_note(note_id)
    form = RecordForm(obj=note)
    back = url_of_place(place_of(note))
    if form.saved(lambda: operations.delete_note(note)):
        flash("The note is gone; the timeline still says that it was there.", "success")
        return redirect(back)
    return render_template("timeline/delete.html", form=form, note=note, cancel=back), form.status


@bp.get("/<any(deal, contact, company):record_type>/<id:record_id>")
@may("records.view")
def story(record_type: str, record_id: int) -> Any:
    """Further entries: a slice for the page that asked with htmx, else a page of their own."""
    kind = registry.record_types[record_type]
    record = kind.get(record_id) or abort(404)
    found = timeline(record_type, record_id, argument_id("before"))
    partial = request.headers.get("HX-Request") == "true"
    template = "timeline/_entries.html" if partial else "timeline/story.html"
    return render_template(
        template,
        story=found,
        record=record,
        record_type=record_type,
        title=kind.title(record),
        back=kind.url(record_id),
    )


def place_of(note: Note) -> tuple[str, int] | None:
    return next(((kind, getattr(note, f"{kind}_id")) for kind in PLACES if getattr(note, f"{kind}_id")), None)


def url_of_place(place: tuple[str, int] | None) -> str:
    return registry.record_types[place[0]].url(place[1]) if place else url_for("dashboard.index")

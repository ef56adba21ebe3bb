"""The pages of rules as text: download all of them, and see what a text would change before it is applied."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from wtforms import BooleanField, FileField, TextAreaField

from soconnective.automation import plan as rules
from soconnective.automation.text import BadText
from soconnective.automation.toml import MOST_CHARACTERS
from soconnective.automation.views import bp
from soconnective.core.access import may
from soconnective.core.errors import Refused
from soconnective.core.forms import RecordForm

NO_TEXT = "Paste rules as text, or choose a file."


class ImportForm(RecordForm):
    text = TextAreaField("Rules as text", render_kw={"spellcheck": "false"})
    upload = FileField("Or a file")
    prune = BooleanField("Delete the rules that the text does not name")
    force = BooleanField("Apply it although an example does not hold")


@bp.get("/export")
@may("automations.view")
def export() -> Response:
    text = rules.export_rules().text
    answer = Response(text, mimetype="application/toml")
    answer.headers["Content-Disposition"] = 'attachment; filename="rules.toml"'
    return answer


@bp.route("/import", methods=["GET", "POST"])
@may("automations.edit")
def import_rules() -> Any:
    form, made = ImportForm(), None
    if request.method == "POST":
        text = _text(form)
        if text is not None and request.form.get("op") == "apply":
            if form.saved(lambda: _apply(form, text)):
                flash(f"Applied: {form.result.summary}.", "success")
                return redirect(url_for("automations.index"))
            made = _plan(form, text)
        elif text is not None:
            made = _plan(form, text)
    return render_template("automations/import.html", form=form, plan=made), form.status


def _text(form: ImportForm) -> str | None:
    """What is meant: the file if there is one, else what was pasted; it is in the form from here on."""
    text = request.form.get("text", "")
    upload = request.files.get("upload")
    if upload is not None and upload.filename:
        raw = upload.stream.read(4 * MOST_CHARACTERS)
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            _wrong(form, form.upload, ["This file is not written in UTF-8."])
            return None
        if "\x00" in text:
            _wrong(form, form.upload, ["This text contains characters that cannot be stored."])
            return None
    form.text.data = text
    if not text.strip():
        _wrong(form, form.text, [NO_TEXT])
        return None
    return text


def _wrong(form: ImportForm, field: Any, messages: list[str]) -> None:
    field.errors = [*field.errors, *messages]
    form.status = 422


def _plan(form: ImportForm, text: str) -> rules.Plan | None:
    try:
        return rules.plan(text, bool(form.prune.data))
    except BadText as error:
        _wrong(form, form.text, [problem for problem in error.problems if problem not in form.text.errors])
        return None


def _apply(form: ImportForm, text: str) -> rules.Plan:
    try:
        return rules.apply(text, bool(form.prune.data), bool(form.force.data))
    except BadText as error:
        raise Refused(error.problems[0], "text") from None

"""The settings page of the business hours."""

from __future__ import annotations

from datetime import date
from typing import Any

from babel import Locale
from flask import Blueprint, flash, redirect, render_template, url_for
from wtforms import SelectChoice, SelectField, StringField, TextAreaField, TimeField
from wtforms.validators import Length, Optional

from soconnective.automation.due_plan import plan_all
from soconnective.automation.hours import BusinessHours, save_hours, stored_hours, work_hours
from soconnective.core.access import may
from soconnective.core.errors import Refused
from soconnective.core.formats import LOCALE, date_text
from soconnective.core.forms import RecordForm
from soconnective.core.registry import SettingsSection
from soconnective.core.workhours import DAYS, Span, countries, public_holidays
from soconnective.core.workspace import workspace_today

bp = Blueprint("hours", __name__, url_prefix="/dashboard/settings")
MOST_CLOSED = 400
SECTION = SettingsSection(
    "hours",
    "Business hours",
    "hours.edit",
    "clock",
    35,
    "workspace.edit",
    "When you are open, and on which days not: rules can wait for it.",
)


class HoursForm(RecordForm):
    """`from_0` and `to_0` are Monday's; both empty means closed."""

    country = SelectField("Holidays of", validate_choice=True)
    subdivision = StringField("Region", validators=[Length(max=20)])
    closed = TextAreaField("Further closed days", validators=[Length(max=6000)])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = Locale.parse(LOCALE).territories
        found = sorted(
            ((names.get(code, code), code) for code in countries()), key=lambda one: one[0].casefold()
        )
        self.country.choices = [
            SelectChoice("", "no country: none"), *(SelectChoice(code, name) for name, code in found)
        ]  # fmt: skip

    def days(self) -> list[tuple[str, Any, Any]]:
        return [(name, self[f"from_{i}"], self[f"to_{i}"]) for i, name in enumerate(DAYS)]

    def opening(self) -> list[Span | None]:
        """What was typed, as it is stored. Raises `Refused` beside the field."""
        found: list[Span | None] = []
        for index, (_name, first, last) in enumerate(self.days()):
            if (first.data is None) != (last.data is None):
                raise Refused("Write both, or neither for a closed day.", f"to_{index}")
            if first.data is not None and first.data >= last.data:
                raise Refused("It must close after it opens.", f"to_{index}")
            found.append((first.data, last.data) if first.data is not None else None)
        return found

    def closed_days(self) -> list[date]:
        try:
            found = [date.fromisoformat(line) for line in (self.closed.data or "").split()]
        except ValueError:
            raise Refused("Write one date a line, like 2026-12-24.", "closed") from None
        if len(found) > MOST_CLOSED or any(not 1900 <= day.year < 2200 for day in found):
            raise Refused(f"{MOST_CLOSED} days at most, between 1900 and 2199.", "closed")
        return found

    def region(self) -> str:
        text = (self.subdivision.data or "").upper()
        known = countries().get(self.country.data or "", ())
        if text and text not in {part.upper() for part in known}:
            some = f" Those of this country: {', '.join(known)}." if known else ""
            raise Refused(f"The holidays of this region are not known.{some}"[:400], "subdivision")
        return next((part for part in known if part.upper() == text), "")


for _index, _name in enumerate(DAYS):
    setattr(HoursForm, f"from_{_index}", TimeField(f"{_name} from", validators=[Optional()]))
    setattr(HoursForm, f"to_{_index}", TimeField(f"{_name} to", validators=[Optional()]))


@bp.route("/hours", methods=["GET", "POST"])
@may("workspace.edit")
def edit() -> Any:
    row = stored_hours()
    form = HoursForm(obj=row, **_typed(row))
    if form.saved(lambda: _save(form)):
        flash("Saved.", "success")
        return redirect(url_for("hours.edit"))
    return render_template("settings/hours.html", form=form, coming=_coming(row)), form.status


def _typed(row: BusinessHours | None) -> dict[str, Any]:
    """What is stored, as the form has it."""
    hours = work_hours()
    found: dict[str, Any] = {}
    for index, span in enumerate(hours.opening):
        found[f"from_{index}"], found[f"to_{index}"] = span or (None, None)
    found["closed"] = "\n".join(row.closed) if row else ""
    return found


def _save(form: HoursForm) -> BusinessHours:
    saved = save_hours(form.opening(), form.country.data or "", form.region(), form.closed_days())
    plan_all()
    return saved


def _coming(row: BusinessHours | None) -> list[str]:
    """The next holidays, so that one sees whose they are."""
    if row is None or not row.country:
        return []
    today = workspace_today()
    years = (today.year, today.year + 1)
    found = sorted(
        day for year in years for day in public_holidays(row.country, row.subdivision, year) if day >= today
    )
    return [date_text(day) for day in found[:5]]

"""The trigger *N days before or after a date*: of a date field at a time of day, of a moment to the minute."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field
from wtforms import BooleanField, Form, IntegerField, SelectChoice, SelectField
from wtforms.validators import InputRequired, NumberRange, Optional

from soconnective.automation.contracts import Scope, Settings
from soconnective.automation.timed import Timed
from soconnective.core import clock
from soconnective.core.conditions import fields_of
from soconnective.core.fields import ClockField
from soconnective.core.workhours import NeverOpen, WorkHours

MOST = 1000
UNITS = {"minutes": timedelta(minutes=1), "hours": timedelta(hours=1), "days": timedelta(days=1)}
MORNING = time(9)


class DateSettings(Settings):
    """`amount` `unit` before or after `field`; counted in days, at the wall clock `at` (a moment: else at its own)."""

    field: str | None = Field(None, max_length=80)
    amount: int = Field(1, ge=0, le=MOST)
    unit: Literal["minutes", "hours", "days"] = "days"
    direction: Literal["before", "after"] = "before"
    at: time | None = None
    working_days: bool = False


class _DateForm(Form):  # type: ignore[misc]
    """`record_type` is set by the class that `DateReached` makes for each kind."""

    record_type: ClassVar[str]
    amount = IntegerField(
        "How many",
        default=1,
        validators=[InputRequired("Write a number."), NumberRange(0, MOST, f"Choose 0 to {MOST:,}.")],
    )
    unit = SelectField("Unit", choices=[SelectChoice(u, u) for u in UNITS], default="days")
    direction = SelectField(
        "Before or after", choices=[SelectChoice("before", "before"), SelectChoice("after", "after")]
    )
    field = SelectField("Which date", filters=[lambda value: value or None], validate_choice=False)
    at = ClockField(
        "At",
        validators=[Optional()],
        description="Counted in days: the time of day, 09:00 if it is empty. Times are the workspace's.",
    )
    working_days = BooleanField("Only on working days (else the next one)")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known, chosen = dates_of(type(self).record_type), self.field.data
        gone = [SelectChoice(chosen, "⚠ a date that is gone")] if chosen and chosen not in known else []
        self.field.choices = [
            SelectChoice("", "choose …"),
            *(SelectChoice(name, label[:1].upper() + label[1:]) for name, label in known.items()),
            *gone,
        ]


class DateReached(Timed):
    """Due once for each value of the date; a moved date moves it, an empty one takes it back."""

    Settings = DateSettings

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.form = type(f"{cls.__name__}Form", (_DateForm,), {"record_type": cls.record_type})

    def due(self, value: Any, hours: WorkHours) -> datetime | None:
        s, known = self.settings, fields_of(self.record_type).get(self.settings.field or "")
        if known is None or value in (None, ""):
            return None
        days = (s.amount if s.direction == "after" else -s.amount) if s.unit == "days" else 0
        try:
            if known.kind == "date":
                day = value if isinstance(value, date) else date.fromisoformat(value)
                wall = datetime.combine(day + timedelta(days=days), s.at or MORNING)
            else:
                moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
                if s.unit != "days":
                    span = s.amount * UNITS[s.unit]
                    return self._working(moment + (span if s.direction == "after" else -span), hours)
                wall = clock.local(moment, hours.zone).replace(tzinfo=None) + timedelta(days=days)
                wall = datetime.combine(wall.date(), s.at) if s.at else wall
            return self._working(clock.from_local(wall, hours.zone), hours)
        except (OverflowError, ValueError, NeverOpen):  # at the ends of the calendar; a week of closed days
            return None

    def _working(self, at: datetime, hours: WorkHours) -> datetime:
        return hours.add_working_days(at, 0) if self.settings.working_days else at

    def earliest(self, now: datetime) -> date | datetime:
        """No value before this one can still become due: what a look at all records may leave out."""
        span: timedelta = self.settings.amount * UNITS[self.settings.unit]
        shift = -span if self.settings.direction == "after" else span
        first = now + shift - timedelta(days=60)
        known = fields_of(self.record_type).get(self.settings.field or "")
        return first if known is not None and known.kind == "moment" else first.date()

    def describe(self) -> str:
        s, names = self.settings, dates_of(self.record_type)
        what = f"{self.article}'s {names.get(s.field or '', '⚠ a date that is gone' if s.field else '…')}"
        unit = s.unit.removesuffix("s") if s.amount == 1 else s.unit
        when = f"it is {what}" if s.amount == 0 else f"it is {s.amount:,} {unit} {s.direction} {what}"
        known = fields_of(self.record_type).get(s.field or "")
        at = s.at or (MORNING if known is not None and known.kind == "date" else None)
        if s.unit == "days" and at:
            when += f" at {at:%H:%M}"
        return f"{when}{', on working days' if s.working_days else ''}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        known = fields_of(self.record_type).get(self.settings.field or "")
        if known is None or known.kind not in ("date", "moment"):
            return [("field", "Choose a date of the record.")]
        if known.kind == "date" and self.settings.unit != "days":
            return [("unit", "This date has no time of day: count in days, and choose a time below.")]
        return []


def dates_of(record_type: str) -> dict[str, str]:
    return {f.name: f.label for f in fields_of(record_type).values() if f.kind in ("date", "moment")}

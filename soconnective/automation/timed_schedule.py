"""The trigger *on a schedule*: weekdays and a time, or cron text, in the workspace's zone.

Clock changes. Weekdays: a time that is skipped in spring comes when the clocks have moved on, one that comes twice in
autumn is taken the first time. Cron at fixed hours: the same (as Debian's cron does); cron with `*` or `*/n` hours or
minutes follows the clock that runs through. Each moment is due once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any, Literal

from cronsim import CronSim, CronSimError
from flask import request
from pydantic import Field
from wtforms import BooleanField, Form, SelectChoice, SelectField, SelectMultipleField, StringField
from wtforms.validators import InputRequired, Length
from wtforms.widgets import CheckboxInput

from soconnective.automation.contracts import Scope, Settings
from soconnective.automation.hours import work_hours
from soconnective.automation.timed import Addressed
from soconnective.core import clock
from soconnective.core.fields import ClockField
from soconnective.core.formats import datetime_text
from soconnective.core.forms import clean_text
from soconnective.core.workhours import DAYS, MOST_AHEAD, WorkHours

LONGEST = 100
CLOSEST = timedelta(minutes=5)
EVERY_WORKDAY = (0, 1, 2, 3, 4)
NEVER = "This never comes: there is no such day. Choose other days."
MODES = {"weekdays": "on days of the week", "cron": "as cron text says"}


class ScheduleSettings(Settings):
    """mode weekdays: on `weekdays` (0 is Monday) at the wall clock `at`; cron: five fields of cron text."""

    mode: Literal["weekdays", "cron"] = "weekdays"
    weekdays: tuple[int, ...] = Field(EVERY_WORKDAY, max_length=7)
    at: time = time(9)
    cron: str | None = Field(None, max_length=LONGEST)
    working_days: bool = False


class DaysField(SelectMultipleField):  # type: ignore[misc]
    """The days of the week as checkboxes."""

    option_widget = CheckboxInput()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        choices = [SelectChoice(str(number), name) for number, name in enumerate(DAYS)]
        super().__init__(*args, coerce=_day, choices=choices, **kwargs)
        self.type = "IdsField"  # drawn alike


def _day(value: Any) -> int:
    text = str(value)
    return int(text) if len(text) == 1 and text in "0123456" else -1


class ScheduleForm(Form):  # type: ignore[misc]
    """The inputs of the chosen mode alone; choosing another one draws the builder again."""

    mode = SelectField("Comes", choices=[SelectChoice(k, v) for k, v in MODES.items()], default="weekdays")
    weekdays = DaysField("Days", default=EVERY_WORKDAY)
    at = ClockField("At", default=time(9), validators=[InputRequired("Write a time.")])
    cron = StringField(
        "Cron text",
        filters=[clean_text],
        validators=[Length(max=LONGEST)],
        description="Minute, hour, day, month, weekday; “L” is the last day of a month.",
        render_kw={"placeholder": "0 9 * * MON-FRI", "spellcheck": "false"},
    )
    working_days = BooleanField("Only on working days")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.at.raw_data == []:  # the mode was just chosen: its inputs were not on the page
            self.weekdays.data = list(EVERY_WORKDAY)
        for name in ("weekdays", "at") if self.mode.data == "cron" else ("cron",):
            delattr(self, name)
        self.mode.description = self._comes()
        self.mode.render_kw = {
            "hx-post": request.path,
            "hx-trigger": "change",
            "hx-vals": '{"op": "trigger"}',
            "hx-include": "closest form",
            "hx-target": "#builder",
            "hx-swap": "outerHTML",
        }

    def _comes(self) -> str:
        """The schedule in words and its next three moments; empty as long as it does not read."""
        try:
            settings = ScheduleSettings.model_validate(self.data)
            comes = [datetime_text(at) for at in upcoming(settings, clock.now(), work_hours(), 3)]
        except ValueError:
            return ""
        said = explain(settings.cron) if settings.mode == "cron" else None
        return " ".join([*([f"{said}."] if said else []), *([f"Next: {'; '.join(comes)}."] if comes else [])])


class ScheduleDue(Addressed):
    """Due at each moment of the schedule, for every record of the kind that fits the rule's conditions."""

    Settings = ScheduleSettings
    form = ScheduleForm

    def next_after(self, moment: datetime, hours: WorkHours) -> datetime | None:
        return next(iter(upcoming(self.settings, moment, hours, 1)), None)

    def describe(self) -> str:
        s = self.settings
        if s.mode == "cron":
            when = explain(s.cron)
            when = f"{when[:1].lower()}{when[1:]}" if when else "⚠ a schedule that cannot be read"
        else:
            when = f"{_days_text(s.weekdays)} at {s.at:%H:%M}"
        return f"it is {when}{' on a working day' if s.working_days else ''}, for each {self.article.split()[-1]}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        s = self.settings
        if s.mode == "weekdays" and (not s.weekdays or not set(s.weekdays) <= set(range(7))):
            return [("weekdays", "Choose one day at least.")]
        if s.mode == "cron" and (problem := _cron_problem(s.cron)):
            return [("cron", problem)]
        comes = upcoming(s, clock.now(), work_hours(), 4)
        where = "cron" if s.mode == "cron" else "weekdays"
        if not comes:
            only = " on a working day" if s.working_days else ""
            return [(where, f"This never comes{only}. Choose other days." if only else NEVER)]
        if any(b - a < CLOSEST for a, b in pairwise(comes)):
            return [(where, f"A schedule can come every {CLOSEST.seconds // 60} minutes at most.")]
        return []


def upcoming(settings: ScheduleSettings, after: datetime, hours: WorkHours, number: int) -> list[datetime]:
    """The next `number` moments of a schedule after `after`, in UTC; fewer if it ends, none if it never comes."""
    found: list[datetime] = []
    until = after + timedelta(days=MOST_AHEAD)
    at: datetime | None = after
    while at is not None and len(found) < number:
        at = _next(settings, at, hours.zone)
        if at is None:
            break
        day = clock.today(hours.zone, at)
        if not settings.working_days or hours.is_working_day(day):
            found.append(at)
        elif at > until:
            break
        else:
            at = clock.day_bounds(day, hours.zone)[1] - timedelta(seconds=1)
    return found


def _next(settings: ScheduleSettings, after: datetime, zone: str) -> datetime | None:
    if settings.mode == "weekdays":
        today = clock.today(zone, after)
        for ahead in range(-1, 9):
            day = today + timedelta(days=ahead)
            if day.weekday() in settings.weekdays:
                at = clock.from_local(datetime.combine(day, settings.at), zone)
                if at > after:
                    return at
        return None
    return next(_cron_after(settings.cron, clock.local(after, zone)), None)


def _cron_after(text: str | None, after: datetime) -> Iterator[datetime]:
    """Later moments in UTC, strictly: where the clocks go back, cron text names a wall clock that has been."""
    begin = after.astimezone(UTC)
    try:
        for found in CronSim(text or "", after):
            if (at := found.astimezone(UTC)) > begin:
                yield at
    except (CronSimError, OverflowError):
        return


def _cron_problem(text: str | None) -> str | None:
    if not text:
        return "Write a schedule like “0 9 * * MON-FRI”."
    if len(text.split()) != 5:
        return "Write five parts: minute, hour, day of the month, month, day of the week."
    try:
        CronSim(text, clock.now())
    except CronSimError as error:
        day = text.split()[2]
        if str(error) == "Bad day-of-month" and day.isdigit() and 0 < int(day) <= 31:
            return NEVER
        return f"This cannot be read: {str(error).lower()}."
    except (ValueError, IndexError, OverflowError):
        return "This cannot be read."
    return None if next(_cron_after(text, clock.now()), None) else NEVER


def explain(text: str | None) -> str | None:
    """Cron text in plain English; None if it does not read."""
    if not text or len(text) > LONGEST or len(text.split()) != 5:
        return None
    try:
        return str(CronSim(text, clock.now()).explain())
    except (CronSimError, ValueError, IndexError, KeyError, OverflowError):
        return None


def _days_text(days: tuple[int, ...]) -> str:
    chosen = tuple(sorted({day for day in days if 0 <= day < 7}))
    if chosen == EVERY_WORKDAY:
        return "Monday to Friday"
    if len(chosen) == 7:
        return "every day"
    names = [DAYS[day] for day in chosen] or ["…"]
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]

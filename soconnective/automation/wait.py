"""The step *Wait*: for a time, until a date of the record, or until something happens to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Literal

from pydantic import Field as Setting
from pydantic import model_validator
from wtforms import BooleanField, Form, IntegerField, SelectChoice, SelectField
from wtforms.validators import InputRequired, NumberRange, Optional

from soconnective.automation.contracts import ActionFailed, RunContext, Scope, Settings
from soconnective.automation.flow import Control
from soconnective.automation.hours import work_hours
from soconnective.automation.registry import register_action, trigger_types
from soconnective.automation.timed import Addressed
from soconnective.core import clock
from soconnective.core.conditions import fields_of
from soconnective.core.fields import ClockField
from soconnective.core.formats import datetime_text
from soconnective.core.workhours import NeverOpen
from soconnective.core.workspace import current_workspace

UNITS = {"minutes": timedelta(minutes=1), "hours": timedelta(hours=1), "days": timedelta(days=1)}
ASIDE = {
    "time": ("field", "days", "at", "event"),
    "date": ("amount", "unit", "event"),
    "event": ("field", "days", "at"),
}
MOST = 1000
LONGEST = timedelta(days=1000)
MODES = {"time": "for a time", "date": "until a date of the record", "event": "until something happens to it"}


class WaitSettings(Settings):
    """mode time: `amount` `unit`. date: `days` before (negative) or after `field`, at the wall clock `at`.

    event: until `event` happens to the record, `amount` `unit` at most. `within_hours`: what falls outside the
    business hours moves to the next opening (an event ends the wait at any hour).
    """

    mode: Literal["time", "date", "event"] = "time"
    amount: int = Setting(1, ge=1, le=MOST)
    unit: Literal["minutes", "hours", "days"] = "days"
    field: str | None = Setting(None, max_length=80)
    days: int = Setting(0, ge=-365, le=365)
    at: time | None = None
    event: str | None = Setting(None, max_length=80)
    within_hours: bool = False

    @model_validator(mode="before")
    @classmethod
    def _keep_what_counts(cls, data: Any) -> Any:
        """What the chosen mode does not ask for is not stored: two rules that do the same have equal texts."""
        if not isinstance(data, dict):
            return data
        aside = ASIDE.get(data.get("mode", "time"), ())
        return {name: value for name, value in data.items() if name not in aside}


class Wait(Control):
    """The run stops here and goes on later, in a transaction of its own, at the same version of the rule."""

    type_id = "wait"
    label = "Wait"
    icon = "clock"
    Settings = WaitSettings
    only_adds = False

    @classmethod
    def form_for(cls, scope: Scope, values: Mapping[str, Any]) -> type[Form]:
        mode = values.get("mode") or "time"
        parts: dict[str, Any] = {
            "mode": SelectField(
                "Wait", choices=[SelectChoice(k, v) for k, v in MODES.items()], default="time",
                render_kw={"data-redraw": ""},
            )
        }  # fmt: skip
        if mode == "event":
            events = _events(scope)
            parts["event"] = SelectField(
                "Until", choices=_offer(events, values.get("event")), validate_choice=False
            )
        if mode == "date":
            dates = _dates(scope)
            parts["field"] = SelectField(
                "Date", choices=_offer(dates, values.get("field")), validate_choice=False
            )
            parts["days"] = IntegerField(
                "Days after it (negative: before)", default=0,
                validators=[InputRequired("Write a number of days."), NumberRange(-365, 365, "Choose -365 to 365 days.")],
            )  # fmt: skip
            parts["at"] = ClockField("At", default=time(9), validators=[Optional()])
        else:
            parts["amount"] = IntegerField(
                "For" if mode == "time" else "At most", default=1,
                validators=[InputRequired("Write a number."), NumberRange(1, MOST, f"Choose 1 to {MOST:,}.")],
            )  # fmt: skip
            parts["unit"] = SelectField("Unit", choices=[SelectChoice(u, u) for u in UNITS], default="days")
        parts["within_hours"] = BooleanField("Within business hours only (else at the next opening)")
        return type("WaitForm", (Form,), parts)

    def plan(self, context: RunContext) -> tuple[datetime, str | None]:
        """When to go on at the latest (UTC), and the event that ends it before. Raises `ActionFailed`."""
        at, event = self._moment(context)
        if self.settings.within_hours:
            try:
                at = work_hours().next_opening(at)
            except NeverOpen as error:
                raise ActionFailed(str(error)) from None
        return at, event

    def _moment(self, context: RunContext) -> tuple[datetime, str | None]:
        s = self.settings
        if s.mode != "date":
            return clock.now() + s.amount * UNITS[s.unit], s.event if s.mode == "event" else None
        known = fields_of(context.event.record_type).get(s.field or "")
        value = context.event.snapshot.get(s.field or "")
        if known is None:
            raise ActionFailed("The date to wait for does not exist any more.")
        if not value:
            raise ActionFailed(f"There is no date to wait for: {known.label} is empty.")
        zone = current_workspace().timezone
        if known.kind == "moment" and s.at is None:
            at = datetime.fromisoformat(value) + timedelta(days=s.days)
        else:
            day = clock.local(datetime.fromisoformat(value), zone).date() if known.kind == "moment" else None
            day = day or date.fromisoformat(value)
            wall = datetime.combine(day + timedelta(days=s.days), s.at or time(9))
            at = clock.from_local(wall, zone)
        if at > clock.now() + LONGEST:
            raise ActionFailed(
                f"That would be on {datetime_text(at)}: {LONGEST.days:,} days is the longest wait."
            )
        return at, None

    def say(self, scope: Scope) -> str:
        return f"{self._said(scope)}{', within business hours' if self.settings.within_hours else ''}"

    def _said(self, scope: Scope) -> str:
        s = self.settings
        if s.mode == "time":
            return f"wait {_span(s)}"
        if s.mode == "event":
            what = _events(scope).get(s.event or "", "⚠ something that is gone")
            return f"wait until {what}, {_span(s)} at most"
        name = _dates(scope).get(s.field or "", "⚠ a date that is gone")
        when = {0: ""}.get(
            s.days, f"{abs(s.days)} day{'s' * (abs(s.days) != 1)} {'after' if s.days > 0 else 'before'} "
        )
        return f"wait until {when}{name}{f' at {s.at:%H:%M}' if s.at else ''}"

    def describe(self) -> str:
        return self.say(Scope(None))

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        if scope.is_gone:
            return [("", "A rule about a deleted record cannot wait: there is nothing left to go on with.")]
        if self.settings.mode == "event" and self.settings.event not in _events(scope):
            return [("event", "Choose what to wait for.")]
        if self.settings.mode == "date" and self.settings.field not in _dates(scope):
            return [("field", "Choose a date of the record.")]
        return []


def _offer(found: Mapping[str, str], chosen: Any) -> list[SelectChoice]:
    gone = [SelectChoice(chosen, "⚠ something that is gone")] if chosen and chosen not in found else []
    return [SelectChoice("", "choose …"), *(SelectChoice(k, v) for k, v in found.items()), *gone]


def _events(scope: Scope) -> dict[str, str]:
    """What can happen to the record, by name; its deletion ends the run in any case."""
    return {
        name: cls.label
        for name, cls in trigger_types().items()
        if cls.record_type == scope.record_type
        and cls.is_offered
        and not name.endswith((".created", ".deleted"))
        and not issubclass(cls, Addressed)  # those are for one rule alone
    }


def _dates(scope: Scope) -> dict[str, str]:
    return {f.name: f.label for f in fields_of(scope.record_type).values() if f.kind in ("date", "moment")}


def _span(settings: Any) -> str:
    unit = settings.unit.removesuffix("s") if settings.amount == 1 else settings.unit
    return f"{settings.amount:,} {unit}"


register_action(Wait)

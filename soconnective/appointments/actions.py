"""What rules may do with appointments: make one."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from pydantic import Field
from wtforms import Form, IntegerField, StringField, TimeField
from wtforms.validators import InputRequired, Length, NumberRange

from soconnective.appointments.operations import delete_appointment, schedule_appointment, update_appointment
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
from soconnective.automation.registry import register_action
from soconnective.automation.undo_run import Undoable, register_undoable
from soconnective.automation.writable import Writable, register_writable
from soconnective.core import clock
from soconnective.core.forms import clean_text
from soconnective.core.registry import people
from soconnective.core.words import told
from soconnective.core.workspace import current_workspace, workspace_today

TITLE_LENGTH = 200


class CreateAppointmentSettings(Settings):
    """in_days: 0 is the day of the run; at: wall clock in the workspace's zone; minutes: how long it takes."""

    title: str = Field(min_length=1, max_length=TITLE_LENGTH)
    in_days: int = Field(1, ge=0, le=365)
    at: time = time(10)
    minutes: int = Field(30, ge=5, le=1440)
    place: str | None = Field(None, max_length=TITLE_LENGTH)


class CreateAppointmentForm(Form):  # type: ignore[misc]
    title = StringField(
        "Title",
        filters=[clean_text],
        validators=[InputRequired("What is it about?"), Length(max=TITLE_LENGTH)],
    )
    in_days = IntegerField(
        "In days",
        default=1,
        validators=[InputRequired("Write a number of days."), NumberRange(0, 365, "Choose 0 to 365 days.")],
    )
    at = TimeField("At", default=time(10), validators=[InputRequired("Write a time like 10:00.")])
    minutes = IntegerField(
        "Minutes",
        default=30,
        validators=[
            InputRequired("Write a number of minutes."),
            NumberRange(5, 1440, "Choose 5 to 1,440 minutes."),
        ],
    )
    place = StringField("Place", filters=[clean_text], validators=[Length(max=TITLE_LENGTH)])  # fmt: skip


class CreateAppointment(Action):
    """Schedules an appointment with the record's owner, about its deal and with its contact."""

    type_id = "create_appointment"
    label = "Create an appointment"
    group = "Appointments"
    icon = "calendar"
    Settings = CreateAppointmentSettings
    form = CreateAppointmentForm
    writes = ("appointment",)

    def run(self, context: RunContext) -> StepResult:
        title = merge.render(self.settings.title, context.fields).strip()
        if not title:
            raise ActionFailed("The title is empty once its fields are filled in.")
        title = title if len(title) <= TITLE_LENGTH else f"{title[: TITLE_LENGTH - 1]}…"
        day = workspace_today() + timedelta(days=self.settings.in_days)
        starts_at = clock.from_local(datetime.combine(day, self.settings.at), current_workspace().timezone)
        place = merge.render(self.settings.place or "", context.fields).strip()[:TITLE_LENGTH]
        links = context.event.snapshot
        owner = people().get(links.get("owner_id") or 0)
        is_there = owner is not None and owner.is_active
        appointment = schedule_appointment(
            title,
            starts_at,
            starts_at + timedelta(minutes=self.settings.minutes),
            place=place or None,
            owner_id=owner.id if owner and is_there else None,
            deal_id=links.get("deal_id"),
            contact_id=links.get("contact_id"),
        )
        remarks = () if is_there else ("left without an owner: the record has no active one",)
        return StepResult("appointment scheduled", (Made("appointment", appointment, title),), remarks)

    def describe(self) -> str:
        days = self.settings.in_days
        when = {0: "the same day", 1: "the next day"}.get(days, f"in {days} days")
        place = f" at {told(self.settings.place)}" if self.settings.place else ""
        took = f"for {self.settings.minutes} minutes"
        return f"schedule {told(self.settings.title)} {when} at {self.settings.at:%H:%M} {took}{place}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        return [
            (field, problem)
            for field in ("title", "place")
            for problem in merge.problems(getattr(self.settings, field) or "", scope.record_type)
        ]


register_writable(Writable("appointment", update_appointment, ("title", "place"), ("title",), "owner_id"))
register_undoable(
    Undoable(
        "appointment",
        delete_appointment,
        lambda appointment, values: update_appointment(appointment, **values),
        ("title", "details", "starts_at", "ends_at", "place", "owner_id", "deal_id", "contact_id"),
    )
)
register_action(CreateAppointment)

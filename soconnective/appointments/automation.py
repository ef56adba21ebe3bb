"""What appointments offer to rules."""

from __future__ import annotations

from soconnective.automation.registry import register_trigger
from soconnective.automation.timed_registry import register_timed
from soconnective.automation.triggers import on_change, on_event

_TIMES = ("starts_at", "ends_at")

register_trigger(
    on_event("appointment.scheduled", "an appointment is scheduled", "Appointments", "calendar", ("appointment",)),
    on_event("appointment.rescheduled", "an appointment is moved to another time", "Appointments", "calendar", ("appointment.starts_at", "appointment.ends_at")),
    on_event("appointment.cancelled", "an appointment is cancelled", "Appointments", "x", ("appointment.status=cancelled",)),
    on_change(
        "appointment.updated", "an appointment is changed", "Appointments", "edit", others=_TIMES, people_ids="people"
    ),
    on_event("appointment.deleted", "an appointment is deleted", "Appointments", "trash"),
)  # fmt: skip
register_timed("appointment", "an appointment", "Appointments")

"""What appointments offer to rules."""

from __future__ import annotations

from soconnective.automation.contracts import Trigger
from soconnective.automation.registry import register_trigger


class AppointmentScheduled(Trigger):
    type_id = "appointment.scheduled"
    record_type = "appointment"
    label = "an appointment is scheduled"
    group = "Appointments"
    icon = "calendar"


register_trigger(AppointmentScheduled)

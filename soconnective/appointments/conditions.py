"""What can be asked of appointments, in rules and in filters."""

from __future__ import annotations

from soconnective.appointments.models import Appointment
from soconnective.core.conditions import Field, register_fields

register_fields(
    "appointment",
    Field("title", "title", "text", lambda: Appointment.title),
    Field("starts_at", "starts", "moment", lambda: Appointment.starts_at),
    Field("ends_at", "ends", "moment", lambda: Appointment.ends_at),
    Field("place", "place", "text", lambda: Appointment.place),
    Field(
        "status", "status", "choice", lambda: Appointment.status,
        choices=lambda: (("scheduled", "scheduled"), ("done", "done"), ("cancelled", "cancelled")),
    ),
    Field("owner_id", "owner", "person", lambda: Appointment.owner_id, shown="owner"),
    Field("deal_id", "deal", "record", lambda: Appointment.deal_id, record_type="deal", shown="deal"),
    Field("contact_id", "contact", "record", lambda: Appointment.contact_id, record_type="contact", shown="contact"),
)  # fmt: skip

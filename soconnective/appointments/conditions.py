"""What can be asked of appointments, in rules and in filters."""

from __future__ import annotations

from soconnective.appointments.models import Appointment
from soconnective.core.conditions import Field, register_fields, through
from soconnective.deals.conditions import DEAL_STATUSES, stage_names
from soconnective.deals.models import Deal

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
    Field("deal_amount", "deal's amount", "number", lambda: through(Appointment.deal_id, Deal, Deal.amount), is_related=True),
    Field(
        "deal_stage_id", "deal's stage", "choice", lambda: through(Appointment.deal_id, Deal, Deal.stage_id),
        choices=lambda: tuple(stage_names().items()), is_related=True, reference="stage",
    ),
    Field(
        "deal_status", "deal's status", "choice", lambda: through(Appointment.deal_id, Deal, Deal.status),
        choices=lambda: DEAL_STATUSES, is_related=True,
    ),
)  # fmt: skip

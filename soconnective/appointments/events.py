"""The facts that appointments announce, and what fires when.

| what was saved                            | events |
| --- | --- |
| a new appointment                         | appointment.scheduled |
| a new one that is done or cancelled       | appointment.updated |
| another start or end while scheduled      | appointment.rescheduled |
| scheduled or done → cancelled             | appointment.cancelled |
| cancelled or done → scheduled             | appointment.scheduled |
| done, or any other value                  | appointment.updated |
| deleted                                   | appointment.deleted |
"""

from __future__ import annotations

from typing import Any

from soconnective.appointments.models import Appointment, AppointmentPerson
from soconnective.contacts.models import Contact
from soconnective.core.db import db, plain
from soconnective.core.registry import person
from soconnective.deals.models import Deal
from soconnective.events import Change, Part, Watch, declare, watch

SCHEDULED = declare(
    "appointment.scheduled",
    "appointment",
    "Appointment scheduled",
    sent_when="An appointment is saved for the first time, or stands again after it was cancelled or done.",
    not_when="Another time for one that stands is appointment.rescheduled.",
)
RESCHEDULED = declare(
    "appointment.rescheduled",
    "appointment",
    "Appointment moved",
    sent_when="The start or end of a scheduled appointment changed.",
    not_when="Not for another place or title: that is appointment.updated.",
)
CANCELLED = declare(
    "appointment.cancelled",
    "appointment",
    "Appointment cancelled",
    sent_when="An appointment was cancelled.",
    not_when="Not when it is deleted or done.",
)
UPDATED = declare(
    "appointment.updated",
    "appointment",
    "Appointment changed",
    sent_when="It was marked done, or a title, text, place, owner, person or link changed; or it was new and already done or cancelled.",
    not_when="Not for its time while it is scheduled: that is appointment.rescheduled.",
)
DELETED = declare(
    "appointment.deleted",
    "appointment",
    "Appointment deleted",
    sent_when="An appointment was deleted, with the values it had.",
    not_when="Not when it is cancelled.",
)


def classify(change: Change) -> list[str]:
    """The rows of the table above."""
    if change.kind == "created":
        status = change.fields.get("status", (None, "scheduled"))[1]
        return ["appointment.scheduled"] if status == "scheduled" else ["appointment.updated"]
    if change.kind == "deleted":
        return ["appointment.deleted"]
    found = []
    others = set(change.fields) - {"starts_at", "ends_at", "status"}
    status = change.fields["status"][1] if "status" in change.fields else None
    if status == "scheduled":
        found.append("appointment.scheduled")
    elif status == "cancelled":
        found.append("appointment.cancelled")
    elif "starts_at" in change.fields or "ends_at" in change.fields:
        found.append(
            "appointment.rescheduled" if change.record.status == "scheduled" else "appointment.updated"
        )
    if (others or status == "done") and "appointment.updated" not in found:
        found.append("appointment.updated")
    return found


def snapshot(appointment: Appointment) -> dict[str, Any]:
    deal = db.session.get(Deal, appointment.deal_id) if appointment.deal_id is not None else None
    contact = db.session.get(Contact, appointment.contact_id) if appointment.contact_id is not None else None
    owner = person(appointment.owner_id)
    return {
        "id": appointment.id,
        "appointment_id": appointment.id,
        "title": appointment.title,
        "starts_at": plain(appointment.starts_at),
        "ends_at": plain(appointment.ends_at),
        "place": appointment.place,
        "status": appointment.status,
        "owner": owner.name if owner else None,
        "owner_id": appointment.owner_id,
        "deal": deal.title if deal else None,
        "deal_id": appointment.deal_id,
        "deal_amount": plain(deal.amount) if deal else None,
        "deal_stage_id": deal.stage_id if deal else None,
        "deal_status": deal.status if deal else None,
        "contact": contact.name if contact else None,
        "contact_id": appointment.contact_id,
    }


watch(
    Watch(
        Appointment,
        "appointment",
        ("title", "details", "starts_at", "ends_at", "place", "status", "owner_id", "deal_id", "contact_id"),
        classify,
        snapshot,
        {"deal_id": "deal", "contact_id": "contact"},
        (
            Part(
                AppointmentPerson,
                "appointment_id",
                "people_ids",
                lambda row: row.contact_id,
                ("contact_id", "contact"),
            ),
        ),
    )
)

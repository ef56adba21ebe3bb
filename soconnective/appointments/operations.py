"""Every write to appointments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from soconnective.appointments.models import Appointment, AppointmentPerson
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused

_COLUMNS = ("title", "details", "starts_at", "ends_at", "place", "owner_id", "deal_id", "contact_id")


def schedule_appointment(
    title: str, starts_at: datetime, ends_at: datetime, *, people_ids: Sequence[int] = (), **values: Any
) -> Appointment:
    """A new appointment between two UTC moments; raises `Refused` at "ends_at" when it ends before it begins."""
    actor = current_actor()
    appointment = Appointment(
        created_by_kind=actor.kind, created_by_id=actor.id, created_by_name=actor.name, status="scheduled"
    )
    _assign(appointment, {"title": title, "starts_at": starts_at, "ends_at": ends_at, **values})
    db.session.add(appointment)
    db.session.flush()
    if people_ids:
        _set_people(appointment, people_ids)
    return appointment


def update_appointment(
    appointment: Appointment, *, people_ids: Sequence[int] | None = None, **values: Any
) -> Appointment:
    _assign(appointment, values)
    if people_ids is not None:
        _set_people(appointment, people_ids)
    return appointment


def set_status(appointment: Appointment, status: str) -> Appointment:
    """scheduled, done or cancelled."""
    appointment.status = status
    return appointment


def delete_appointment(appointment: Appointment) -> None:
    db.session.delete(appointment)


def _assign(appointment: Appointment, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name not in _COLUMNS:
            raise TypeError(f"an appointment has no {name}")
        setattr(appointment, name, value)
    if appointment.ends_at <= appointment.starts_at:
        raise Refused("The end comes before the start.", "ends_at")


def _set_people(appointment: Appointment, contact_ids: Sequence[int]) -> None:
    wanted = list(dict.fromkeys(contact_ids))
    rows = {row.contact_id: row for row in appointment.people}
    if set(rows) != set(wanted):
        appointment.people = [
            rows.get(contact_id) or AppointmentPerson(contact_id=contact_id) for contact_id in wanted
        ]
        db.session.flush()

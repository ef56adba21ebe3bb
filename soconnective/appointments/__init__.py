"""Appointments: a time, a place, and who is there.

Owns `appointments` and `appointment_people`. Knows nothing of tasks or notes.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, g, url_for
from sqlalchemy import func, or_, select

from soconnective.appointments import actions, automation, conditions, events, recipes, views
from soconnective.appointments.models import Appointment, AppointmentPerson
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.registry import (
    Dependant,
    Holding,
    NavItem,
    NewItem,
    Panel,
    RecordType,
    Search,
    SearchHit,
    registry,
)
from soconnective.core.search import among, matching

__all__ = ["actions", "automation", "conditions", "events", "init_app", "recipes"]


def init_app(app: Flask) -> None:
    app.register_blueprint(views.bp)
    registry.add(
        RecordType(
            "appointment",
            "Appointment",
            "Appointments",
            "calendar",
            Appointment,
            lambda row_id: url_for("appointments.show", appointment_id=row_id),
            lambda row: row.title,
            (
                ("title", "title"),
                ("starts_at", "start"),
                ("ends_at", "end"),
                ("place", "place"),
                ("owner", "owner"),
                ("deal", "deal"),
                ("contact", "contact"),
            ),
            apart=("starts_at", "deal_id", "contact_id"),
        ),
        NavItem("appointments", "Appointments", "appointments.index", "calendar", 50),
        NewItem("appointment", "Appointment", "appointments.new", "calendar", 50, _for_record),
        Panel(
            "appointments",
            "deal",
            15,
            "appointments/_panel.html",
            lambda r: _panel(Appointment.deal_id == r.id, deal_id=r.id),
        ),
        Panel(
            "appointments-of-contact",
            "contact",
            15,
            "appointments/_panel.html",
            lambda r: _panel(_with_contact(r.id), contact_id=r.id),
        ),
        Panel("home-appointments", "home", 20, "appointments/_home.html", _coming),
        Dependant(
            "appointments",
            "deal",
            "appointments",
            "kept, without the deal",
            lambda r: _count(Appointment.deal_id == r.id),
            lambda r: _release_deal(r.id),
        ),
        Dependant(
            "appointments-of-contact",
            "contact",
            "appointments",
            "kept, without the contact",
            lambda r: _count(_with_contact(r.id)),
            lambda r: _release_contact(r.id),
        ),
        Search("appointments", "Appointments", 50, _find),
        Holding(
            "appointments",
            "coming appointments",
            lambda p: _count(Appointment.owner_id == p, Appointment.starts_at > clock.now()),
            _hand_over,
        ),
    )


def _with_contact(contact_id: int) -> Any:
    ids = select(AppointmentPerson.appointment_id).where(AppointmentPerson.contact_id == contact_id)
    return or_(Appointment.contact_id == contact_id, Appointment.id.in_(ids))


def _for_record(record_type: str, record_id: int) -> dict[str, Any] | None:
    return {f"{record_type}_id": record_id} if record_type in ("deal", "contact") else None


def _panel(condition: Any, **links: Any) -> dict[str, Any]:
    rows = db.session.scalars(
        select(Appointment).where(condition).order_by(Appointment.starts_at.desc()).limit(10)
    ).all()
    return {"appointments": rows, "new_url": url_for("appointments.new", **links)}


def _coming(_record: Any) -> dict[str, Any]:
    rows = db.session.scalars(
        select(Appointment)
        .where(
            Appointment.owner_id == g.person.id,
            Appointment.status == "scheduled",
            Appointment.ends_at > clock.now(),
        )
        .order_by(Appointment.starts_at)
        .limit(6)
    ).all()
    return {"appointments": rows}


def _count(*conditions: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(Appointment).where(*conditions)) or 0


def _release_deal(deal_id: int) -> None:
    for appointment in db.session.scalars(select(Appointment).where(Appointment.deal_id == deal_id)):
        appointment.deal_id = None


def _release_contact(contact_id: int) -> None:
    for appointment in db.session.scalars(select(Appointment).where(_with_contact(contact_id))):
        if appointment.contact_id == contact_id:
            appointment.contact_id = None
        appointment.people = [row for row in appointment.people if row.contact_id != contact_id]


def _hand_over(person_id: int, to_id: int | None) -> None:
    rows = db.session.scalars(
        select(Appointment).where(Appointment.owner_id == person_id, Appointment.starts_at > clock.now())
    )
    for appointment in rows:
        appointment.owner_id = to_id


def _find(words: str, limit: int) -> list[SearchHit]:
    found = matching("appointment", words)
    if found is None:
        return []
    rows = db.session.scalars(
        select(Appointment)
        .where(among(Appointment.id, found))
        .order_by(Appointment.starts_at.desc())
        .limit(limit)
    )
    return [
        SearchHit(a.title, a.place or "", url_for("appointments.show", appointment_id=a.id), "calendar")
        for a in rows
    ]

"""Appointments: a time, a place, and who is there."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from soconnective.contacts.models import Contact
from soconnective.core.model import (
    Base,
    BigId,
    CreatedBy,
    TenantOwned,
    Timestamped,
    UtcDateTime,
    Versioned,
    tenant_reference,
    tenant_table,
)
from soconnective.core.search import searchable
from soconnective.deals.models import Deal

STATUSES = {"scheduled": "Scheduled", "done": "Done", "cancelled": "Cancelled"}


class Appointment(TenantOwned, Timestamped, Versioned, CreatedBy, Base):
    __tablename__ = "appointments"
    __table_args__ = tenant_table(
        tenant_reference("owner_id", "memberships", "user_id"),
        tenant_reference("deal_id", "deals"),
        tenant_reference("contact_id", "contacts"),
        CheckConstraint("status IN ('scheduled', 'done', 'cancelled')", name="status"),
        CheckConstraint("ends_at > starts_at", name="order"),
        Index("ix_appointments_starts", "tenant_id", "starts_at", "id"),
        Index("ix_appointments_owner", "tenant_id", "owner_id", "starts_at"),
        Index("ix_appointments_deal", "tenant_id", "deal_id"),
        Index("ix_appointments_contact", "tenant_id", "contact_id"),
    )

    title: Mapped[str] = mapped_column(String(200))
    details: Mapped[str | None] = mapped_column(Text)
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    place: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(10), default="scheduled")
    owner_id: Mapped[int | None] = mapped_column(BigId)
    deal_id: Mapped[int | None] = mapped_column(BigId)
    contact_id: Mapped[int | None] = mapped_column(BigId)

    deal: Mapped[Deal | None] = relationship(primaryjoin="foreign(Appointment.deal_id) == Deal.id")
    contact: Mapped[Contact | None] = relationship(
        primaryjoin="foreign(Appointment.contact_id) == Contact.id"
    )
    people: Mapped[list[AppointmentPerson]] = relationship(
        primaryjoin="foreign(AppointmentPerson.appointment_id) == Appointment.id",
        order_by="AppointmentPerson.id",
        cascade="all, delete-orphan",
        back_populates="appointment",
    )


class AppointmentPerson(TenantOwned, Base):
    """A further person who takes part, beside the one the appointment is with."""

    __tablename__ = "appointment_people"
    __table_args__ = tenant_table(
        tenant_reference("appointment_id", "appointments"),
        tenant_reference("contact_id", "contacts"),
        UniqueConstraint("tenant_id", "appointment_id", "contact_id"),
        Index("ix_appointment_people_contact", "tenant_id", "contact_id"),
    )

    appointment_id: Mapped[int] = mapped_column(BigId)
    contact_id: Mapped[int] = mapped_column(BigId)

    appointment: Mapped[Appointment] = relationship(
        primaryjoin="foreign(AppointmentPerson.appointment_id) == Appointment.id", back_populates="people"
    )
    contact: Mapped[Contact] = relationship(primaryjoin="foreign(AppointmentPerson.contact_id) == Contact.id")


searchable(Appointment, "appointment", lambda row: [row.title, row.place])

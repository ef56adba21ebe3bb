"""People, companies, and the identities (addresses, numbers, handles) that lead to a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Connection, Index, String, Text, select, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from soconnective.contacts.identities import phone_words
from soconnective.core.model import (
    Base,
    BigId,
    CreatedBy,
    TenantOwned,
    Timestamped,
    Versioned,
    tenant_reference,
    tenant_table,
)
from soconnective.core.search import searchable
from soconnective.tags.models import RecordTag, Tagged, record_tag_table

_UNIQUE_KINDS = "kind IN ('email', 'handle') AND NOT is_shared"


class Company(TenantOwned, Timestamped, Versioned, CreatedBy, Tagged, Base):
    __tablename__ = "companies"
    __table_args__ = tenant_table(
        tenant_reference("owner_id", "memberships", "user_id"),
        Index("ix_companies_name", "tenant_id", "name", "id"),
        Index("ix_companies_created", "tenant_id", "created_at", "id"),
        Index("ix_companies_owner", "tenant_id", "owner_id"),
        Index("uq_companies_domain", "tenant_id", "domain", unique=True),
    )

    name: Mapped[str] = mapped_column(String(200))
    domain: Mapped[str | None] = mapped_column(String(253))
    phone: Mapped[str | None] = mapped_column(String(60))
    about: Mapped[str | None] = mapped_column(Text)
    owner_id: Mapped[int | None] = mapped_column(BigId)

    tag_rows: Mapped[list[CompanyTag]] = relationship(
        primaryjoin="foreign(CompanyTag.company_id) == Company.id",
        order_by="CompanyTag.id",
        cascade="all, delete-orphan",
        back_populates="company",
    )


class Contact(TenantOwned, Timestamped, Versioned, CreatedBy, Tagged, Base):
    """A person. `name` is kept as "First Last": what lists show and sort by."""

    __tablename__ = "contacts"
    __table_args__ = tenant_table(
        tenant_reference("company_id", "companies"),
        tenant_reference("owner_id", "memberships", "user_id"),
        Index("ix_contacts_name", "tenant_id", "name", "id"),
        Index("ix_contacts_created", "tenant_id", "created_at", "id"),
        Index("ix_contacts_updated", "tenant_id", "updated_at", "id"),
        Index("ix_contacts_company", "tenant_id", "company_id"),
        Index("ix_contacts_owner", "tenant_id", "owner_id", "name", "id"),
    )

    first_name: Mapped[str | None] = mapped_column(String(100))
    last_name: Mapped[str | None] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(201))
    job_title: Mapped[str | None] = mapped_column(String(120))
    company_id: Mapped[int | None] = mapped_column(BigId)
    owner_id: Mapped[int | None] = mapped_column(BigId)

    company: Mapped[Company | None] = relationship(primaryjoin="foreign(Contact.company_id) == Company.id")
    identities: Mapped[list[ContactIdentity]] = relationship(
        primaryjoin="foreign(ContactIdentity.contact_id) == Contact.id",
        order_by="ContactIdentity.id",
        cascade="all, delete-orphan",
        back_populates="contact",
    )
    tag_rows: Mapped[list[ContactTag]] = relationship(
        primaryjoin="foreign(ContactTag.contact_id) == Contact.id",
        order_by="ContactTag.id",
        cascade="all, delete-orphan",
        back_populates="contact",
    )

    def first(self, kind: str) -> str | None:
        """The first address of a kind (email, phone, handle), as typed."""
        return next((identity.value for identity in self.identities if identity.kind == kind), None)


class CompanyTag(RecordTag, Base):
    """A tag on a company."""

    __tablename__ = "company_tags"
    __table_args__ = record_tag_table("company_tags", "company_id", "companies")

    company_id: Mapped[int] = mapped_column(BigId)

    company: Mapped[Company] = relationship(
        primaryjoin="foreign(CompanyTag.company_id) == Company.id", back_populates="tag_rows"
    )


class ContactTag(RecordTag, Base):
    """A tag on a contact."""

    __tablename__ = "contact_tags"
    __table_args__ = record_tag_table("contact_tags", "contact_id", "contacts")

    contact_id: Mapped[int] = mapped_column(BigId)

    contact: Mapped[Contact] = relationship(
        primaryjoin="foreign(ContactTag.contact_id) == Contact.id", back_populates="tag_rows"
    )


class ContactIdentity(TenantOwned, Base):
    """One way to recognise a person.

    Mail addresses and handles that are not marked shared belong to one contact of the tenant; phone
    numbers and shared addresses may repeat and never identify alone.
    """

    __tablename__ = "contact_identities"
    __table_args__ = tenant_table(
        tenant_reference("contact_id", "contacts"),
        CheckConstraint("kind IN ('email', 'phone', 'handle')", name="kind"),
        Index("ix_contact_identities_contact", "tenant_id", "contact_id"),
        Index("ix_contact_identities_lookup", "tenant_id", "kind", "normalised"),
        Index(
            "uq_contact_identities_identifying",
            "tenant_id",
            "kind",
            "network",
            "normalised",
            unique=True,
            sqlite_where=text(_UNIQUE_KINDS),
            postgresql_where=text(_UNIQUE_KINDS),
        ),
    )

    contact_id: Mapped[int] = mapped_column(BigId)
    kind: Mapped[str] = mapped_column(String(10))
    network: Mapped[str] = mapped_column(String(20), default="")
    value: Mapped[str] = mapped_column(String(254))
    normalised: Mapped[str] = mapped_column(String(254))
    is_shared: Mapped[bool] = mapped_column(Boolean, default=False)

    contact: Mapped[Contact] = relationship(
        primaryjoin="foreign(ContactIdentity.contact_id) == Contact.id", back_populates="identities"
    )


def _texts(connection: Connection, tenant_id: int, ids: Sequence[int]) -> dict[int, list[str | None]]:
    """What a contact is found by: name, job title, and each address, number and handle."""
    people: Any = Contact.__table__.c
    ways: Any = ContactIdentity.__table__.c
    found: dict[int, list[str | None]] = {}
    rows = connection.execute(
        select(people.id, people.name, people.job_title).where(
            people.tenant_id == tenant_id, people.id.in_(ids)
        )
    )
    for row in rows:
        found[row.id] = [row.name, row.job_title]
    rows = connection.execute(
        select(ways.contact_id, ways.kind, ways.value, ways.normalised)
        .where(ways.tenant_id == tenant_id, ways.contact_id.in_(ids))
        .order_by(ways.id)
    )
    for row in rows:
        if row.contact_id in found:
            found[row.contact_id] += phone_words(row.normalised) if row.kind == "phone" else [row.value]
    return found


searchable(
    Contact,
    "contact",
    lambda row: [row.name, row.job_title],
    parts={ContactIdentity: "contact_id"},
    read=_texts,
)
searchable(Company, "company", lambda row: [row.name, row.domain])

"""What can be asked of people and companies, in rules and in filters."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from soconnective.contacts.events import COMPANIES, CONTACTS
from soconnective.contacts.models import Company, Contact, ContactIdentity
from soconnective.core.conditions import Field, register_fields, through
from soconnective.tags.queries import tag_field


def _first(kind: str) -> Any:
    """The first identity of a kind, as the snapshot has it."""
    return (
        select(ContactIdentity.value)
        .where(ContactIdentity.contact_id == Contact.id, ContactIdentity.kind == kind)
        .order_by(ContactIdentity.id)
        .limit(1)
        .correlate(Contact)
        .scalar_subquery()
    )


register_fields(
    "contact",
    Field("name", "name", "text", lambda: Contact.name),
    Field("first_name", "first name", "text", lambda: Contact.first_name),
    Field("last_name", "last name", "text", lambda: Contact.last_name),
    Field("email", "e-mail", "text", lambda: _first("email")),
    Field("phone", "phone", "text", lambda: _first("phone")),
    Field("job_title", "job title", "text", lambda: Contact.job_title),
    Field(
        "company_id", "company", "record", lambda: Contact.company_id, record_type="company", shown="company"
    ),
    Field("owner_id", "owner", "person", lambda: Contact.owner_id, shown="owner"),
    tag_field(CONTACTS),
    Field(
        "company_domain", "company's domain", "text",
        lambda: through(Contact.company_id, Company, Company.domain), is_related=True,
    ),
)  # fmt: skip
register_fields(
    "company",
    Field("name", "name", "text", lambda: Company.name),
    Field("domain", "domain", "text", lambda: Company.domain),
    Field("phone", "phone", "text", lambda: Company.phone),
    Field("owner_id", "owner", "person", lambda: Company.owner_id, shown="owner"),
    tag_field(COMPANIES),
)

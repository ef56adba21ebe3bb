"""The facts that people and companies announce."""

from __future__ import annotations

from typing import Any

from soconnective.contacts.models import Company, Contact, ContactIdentity
from soconnective.core.registry import people
from soconnective.events import Change, Part, Watch, declare, watch

CONTACT_CREATED = declare(
    "contact.created",
    "contact",
    "Contact created",
    sent_when="A contact is saved for the first time, its addresses included.",
    not_when="Addresses added later are contact.updated.",
)
CONTACT_UPDATED = declare(
    "contact.updated",
    "contact",
    "Contact changed",
    sent_when="A name, job title, company, owner or address of an existing contact changed.",
    not_when="Not when a save leaves every value as it was; not for tasks, notes or deals about the contact.",
)
CONTACT_DELETED = declare(
    "contact.deleted",
    "contact",
    "Contact deleted",
    sent_when="A contact was deleted, with the values it had.",
    not_when="Not when it is only taken off a deal.",
)
COMPANY_CREATED = declare(
    "company.created",
    "company",
    "Company created",
    sent_when="A company is saved for the first time.",
    not_when="Not when a contact is assigned to it.",
)
COMPANY_UPDATED = declare(
    "company.updated",
    "company",
    "Company changed",
    sent_when="A name, domain, phone, text or owner of an existing company changed.",
    not_when="Not when people or deals are assigned to it: those are changes of theirs.",
)
COMPANY_DELETED = declare(
    "company.deleted",
    "company",
    "Company deleted",
    sent_when="A company was deleted, with the values it had.",
    not_when="Its people are not deleted with it.",
)


def _classify(change: Change) -> list[str]:
    return [f"contact.{change.kind}"]


def _classify_company(change: Change) -> list[str]:
    return [f"company.{change.kind}"]


def contact_snapshot(contact: Contact) -> dict[str, Any]:
    owner = people().get(contact.owner_id or 0)
    return {
        "id": contact.id,
        "contact_id": contact.id,
        "name": contact.name,
        "first_name": contact.first_name,
        "last_name": contact.last_name,
        "email": contact.first("email"),
        "phone": contact.first("phone"),
        "job_title": contact.job_title,
        "company": contact.company.name if contact.company_id and contact.company else None,
        "company_id": contact.company_id,
        "company_domain": contact.company.domain if contact.company_id and contact.company else None,
        "owner": owner.name if owner else None,
        "owner_id": contact.owner_id,
    }


def company_snapshot(company: Company) -> dict[str, Any]:
    owner = people().get(company.owner_id or 0)
    return {
        "id": company.id,
        "company_id": company.id,
        "name": company.name,
        "domain": company.domain,
        "phone": company.phone,
        "owner": owner.name if owner else None,
        "owner_id": company.owner_id,
    }


watch(
    Watch(
        Contact,
        "contact",
        ("first_name", "last_name", "job_title", "company_id", "owner_id"),
        _classify,
        contact_snapshot,
        {"company_id": "company"},
        (Part(ContactIdentity, "contact_id", "identities", lambda row: row.value),),
    )
)
watch(
    Watch(
        Company,
        "company",
        ("name", "domain", "phone", "about", "owner_id"),
        _classify_company,
        company_snapshot,
    )
)

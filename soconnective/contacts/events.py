"""The facts that people and companies announce."""

from __future__ import annotations

from functools import partial
from typing import Any

from soconnective.contacts.models import Company, CompanyTag, Contact, ContactIdentity, ContactTag
from soconnective.core.registry import person
from soconnective.events import Change, Part, Watch, declare, watch
from soconnective.tags.facts import FIELD, tag_events, tag_part, tags_told
from soconnective.tags.taggable import Taggable, register_taggable

CONTACTS = register_taggable(Taggable("contact", Contact, ContactTag, "contact_id", "contacts.index"))
COMPANIES = register_taggable(Taggable("company", Company, CompanyTag, "company_id", "companies.index"))

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

CONTACT_TAG_ADDED = declare(
    "contact.tag_added",
    "contact",
    "Contact got a tag",
    sent_when="A contact has a tag, or several, that it did not have before the save; a new one with tags too.",
    not_when="Not when a tag is renamed or recoloured; it is no contact.updated.",
)
CONTACT_TAG_REMOVED = declare(
    "contact.tag_removed",
    "contact",
    "Contact lost a tag",
    sent_when="A contact lacks a tag, or several, that it had before the save; also when the tag itself was deleted.",
    not_when="Not when the contact is deleted; it is no contact.updated.",
)
COMPANY_TAG_ADDED = declare(
    "company.tag_added",
    "company",
    "Company got a tag",
    sent_when="A company has a tag, or several, that it did not have before the save; a new one with tags too.",
    not_when="Not when a tag is renamed or recoloured; it is no company.updated.",
)
COMPANY_TAG_REMOVED = declare(
    "company.tag_removed",
    "company",
    "Company lost a tag",
    sent_when="A company lacks a tag, or several, that it had before the save; also when the tag itself was deleted.",
    not_when="Not when the company is deleted; it is no company.updated.",
)


def _classify(record_type: str, change: Change) -> list[str]:
    """Created, changed or deleted; tags are told by events of their own."""
    is_told = change.kind != "updated" or bool(change.fields.keys() - {FIELD})
    return [*([f"{record_type}.{change.kind}"] if is_told else []), *tag_events(record_type, change)]


def contact_snapshot(contact: Contact) -> dict[str, Any]:
    owner = person(contact.owner_id)
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
        **tags_told(contact),
    }


def company_snapshot(company: Company) -> dict[str, Any]:
    owner = person(company.owner_id)
    return {
        "id": company.id,
        "company_id": company.id,
        "name": company.name,
        "domain": company.domain,
        "phone": company.phone,
        "owner": owner.name if owner else None,
        "owner_id": company.owner_id,
        **tags_told(company),
    }


watch(
    Watch(
        Contact,
        "contact",
        ("first_name", "last_name", "job_title", "company_id", "owner_id"),
        partial(_classify, "contact"),
        contact_snapshot,
        {"company_id": "company"},
        (Part(ContactIdentity, "contact_id", "identities", lambda row: row.value), tag_part(CONTACTS)),
    )
)
watch(
    Watch(
        Company,
        "company",
        ("name", "domain", "phone", "about", "owner_id"),
        partial(_classify, "company"),
        company_snapshot,
        parts=(tag_part(COMPANIES),),
    )
)

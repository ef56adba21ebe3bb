"""Every write to people, companies and identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from soconnective.contacts.identities import normalise, normalise_domain
from soconnective.contacts.models import Company, Contact, ContactIdentity
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.registry import registry
from soconnective.tags.operations import set_tags


@dataclass(frozen=True, slots=True)
class Identity:
    """An address as typed: kind email, phone or handle; `network` for handles only."""

    kind: str
    value: str
    network: str = ""
    is_shared: bool = False


def create_contact(
    first_name: str | None = None,
    last_name: str | None = None,
    *,
    job_title: str | None = None,
    company_id: int | None = None,
    owner_id: int | None = None,
    identities: Sequence[Identity] = (),
    tag_ids: Sequence[int] | None = None,
    new_tags: str | None = None,
) -> Contact:
    """A new person; raises `Refused` at "last_name" without any name, at "identities-N" for a clash."""
    contact = Contact(job_title=job_title, company_id=company_id, owner_id=owner_id, **_made_by())
    _set_name(contact, first_name, last_name)
    db.session.add(contact)
    db.session.flush()
    _set_identities(contact, identities)
    set_tags(contact, tag_ids, new_tags)
    return contact


def update_contact(contact: Contact, identities: Sequence[Identity] | None = None, **values: Any) -> Contact:
    """Change the given columns; `identities` and `tag_ids`, where given, replace the whole list."""
    if "first_name" in values or "last_name" in values:
        _set_name(
            contact, values.pop("first_name", contact.first_name), values.pop("last_name", contact.last_name)
        )
    for name in ("job_title", "company_id", "owner_id"):
        if name in values:
            setattr(contact, name, values[name])
    if identities is not None:
        _set_identities(contact, identities)
    set_tags(contact, values.get("tag_ids"), values.get("new_tags"))
    return contact


def delete_contact(contact: Contact) -> None:
    """Delete a person; what hangs on them is released first, through the ORM, so that events fire."""
    for dependant in registry.dependants_of("contact"):
        dependant.release(contact)
    db.session.flush()
    db.session.delete(contact)


def create_company(name: str, **values: Any) -> Company:
    tags = {key: values.pop(key) for key in ("tag_ids", "new_tags") if key in values}
    company = Company(name=name, **_made_by())
    db.session.add(update_company(company, **values))
    db.session.flush()
    set_tags(company, **{"tag_ids": None, **tags})
    return company


def update_company(company: Company, **values: Any) -> Company:
    """Change the given columns and tags; raises `Refused` at "domain" for one that is no domain or already taken."""
    if values.get("domain"):
        values["domain"] = normalise_domain(values["domain"])
        with db.session.no_autoflush:
            other = db.session.scalar(select(Company).where(Company.domain == values["domain"]))
        if other is not None and other is not company:
            link = (f"Open {other.name}", "companies.show", {"company_id": other.id})
            raise Refused(f"{values['domain']} already belongs to {other.name}.", "domain", link)
    for name in ("name", "domain", "phone", "about", "owner_id"):
        if name in values:
            setattr(company, name, values[name])
    set_tags(company, values.get("tag_ids"), values.get("new_tags"))
    return company


def delete_company(company: Company) -> None:
    """Delete a company; its people and deals are kept without it."""
    for dependant in registry.dependants_of("company"):
        dependant.release(company)
    db.session.flush()
    db.session.delete(company)


def _set_name(contact: Contact, first_name: str | None, last_name: str | None) -> None:
    name = " ".join(part for part in (first_name, last_name) if part)
    if not name:
        raise Refused("A contact needs a first or a last name.", "last_name")
    contact.first_name, contact.last_name, contact.name = first_name, last_name, name


def _set_identities(contact: Contact, wanted: Sequence[Identity]) -> None:
    """Keep rows that stay the same, so that only real changes are told."""
    kept: list[ContactIdentity] = []
    old = list(contact.identities)
    seen: set[tuple[str, str, str]] = set()
    for index, identity in enumerate(wanted):
        field = f"identities-{index}"
        network = identity.network if identity.kind == "handle" else ""
        try:
            normalised = normalise(identity.kind, identity.value)
        except Refused as refused:
            raise Refused(refused.message, field) from None
        key = (identity.kind, network, normalised)
        if key in seen:
            continue
        seen.add(key)
        if identity.kind != "phone" and not identity.is_shared:
            _require_free(contact, key, field, identity.value)
        row = next((r for r in old if (r.kind, r.network, r.normalised) == key), None) or ContactIdentity()
        row.kind, row.network, row.normalised = key
        row.value, row.is_shared = identity.value, identity.is_shared
        kept.append(row)
    contact.identities = kept
    db.session.flush()


def _require_free(contact: Contact, key: tuple[str, str, str], field: str, value: str) -> None:
    kind, network, normalised = key
    with db.session.no_autoflush:
        other = db.session.scalar(
            select(Contact)
            .join(ContactIdentity, ContactIdentity.contact_id == Contact.id)
            .where(
                ContactIdentity.kind == kind,
                ContactIdentity.network == network,
                ContactIdentity.normalised == normalised,
                ContactIdentity.is_shared.is_(False),
                Contact.id != contact.id,
            )
        )
    if other is not None:
        link = (f"Open {other.name}", "contacts.show", {"contact_id": other.id})
        raise Refused(
            f"{value} already belongs to {other.name}. Mark it as shared if both use it.", field, link
        )


def _made_by() -> dict[str, Any]:
    actor = current_actor()
    return {"created_by_kind": actor.kind, "created_by_id": actor.id, "created_by_name": actor.name}

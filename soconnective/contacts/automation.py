"""What people and companies offer to rules."""

from __future__ import annotations

from soconnective.automation.registry import register_trigger
from soconnective.automation.timed_registry import register_timed
from soconnective.automation.triggers import on_change, on_event
from soconnective.automation.writable import Writable, register_writable
from soconnective.contacts.operations import update_company, update_contact

register_writable(
    Writable("contact", update_contact, ("first_name", "last_name", "job_title"), (), "owner_id"),
    Writable("company", update_company, ("name", "domain", "phone"), ("name",), "owner_id"),
)
register_trigger(
    on_event("contact.created", "a contact is created", "Contacts", "users"),
    on_change("contact.updated", "a contact is changed", "Contacts", "edit", identities="e-mail or phone"),
    on_event("contact.deleted", "a contact is deleted", "Contacts", "trash"),
    on_event("company.created", "a company is created", "Companies", "building"),
    on_change("company.updated", "a company is changed", "Companies", "edit"),
    on_event("company.deleted", "a company is deleted", "Companies", "trash"),
)
register_timed("contact", "a contact", "Contacts", has_dates=False)
register_timed("company", "a company", "Companies", has_dates=False)

"""What people and companies offer to rules."""

from __future__ import annotations

from soconnective.automation.registry import register_trigger
from soconnective.automation.timed_registry import register_timed
from soconnective.automation.triggers import on_change, on_event
from soconnective.automation.undo_run import Undoable, register_undoable
from soconnective.automation.writable import Writable, register_writable
from soconnective.contacts.operations import delete_company, delete_contact, update_company, update_contact
from soconnective.tags.facts import FIELD
from soconnective.tags.triggers import on_tags
from soconnective.tags.undo import TAG_LISTS

register_writable(
    Writable("contact", update_contact, ("first_name", "last_name", "job_title"), (), "owner_id"),
    Writable("company", update_company, ("name", "domain", "phone"), ("name",), "owner_id"),
)
register_undoable(
    Undoable(
        "contact",
        delete_contact,
        lambda contact, values: update_contact(contact, **values),
        ("first_name", "last_name", "job_title", "company_id", "owner_id"),
        ("name",),
        TAG_LISTS,
    ),
    Undoable(
        "company",
        delete_company,
        lambda company, values: update_company(company, **values),
        ("name", "domain", "phone", "about", "owner_id"),
        lists=TAG_LISTS,
    ),
)
register_trigger(
    on_event("contact.created", "a contact is created", "Contacts", "users"),
    on_change(
        "contact.updated",
        "a contact is changed",
        "Contacts",
        "edit",
        others=(FIELD,),
        identities="e-mail or phone",
    ),
    on_event("contact.deleted", "a contact is deleted", "Contacts", "trash"),
    on_event("company.created", "a company is created", "Companies", "building"),
    on_change("company.updated", "a company is changed", "Companies", "edit", others=(FIELD,)),
    on_event("company.deleted", "a company is deleted", "Companies", "trash"),
    *on_tags("contact", "a contact", "Contacts"),
    *on_tags("company", "a company", "Companies"),
)
register_timed("contact", "a contact", "Contacts", has_dates=False)
register_timed("company", "a company", "Companies", has_dates=False)

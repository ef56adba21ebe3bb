"""Contacts can be written to: at the first address of the kind that is asked for."""

from __future__ import annotations

from soconnective.contacts.models import Contact
from soconnective.core.db import db
from soconnective.mail import Addressee, Recipient, register_addressee


def _find(kind: str, contact_id: int) -> Recipient | None:
    contact = db.session.get(Contact, contact_id)
    if contact is None:
        return None
    return Recipient(contact.first(kind) or "", contact.name, ("contact", contact.id))


register_addressee(Addressee("contact", _find))

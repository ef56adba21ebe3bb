"""What people offer to rules."""

from __future__ import annotations

from soconnective.automation.contracts import Trigger
from soconnective.automation.registry import register_trigger


class ContactCreated(Trigger):
    type_id = "contact.created"
    record_type = "contact"
    label = "a contact is created"
    group = "Contacts"
    icon = "users"


register_trigger(ContactCreated)

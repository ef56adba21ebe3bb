"""What rules may do with people: find the one that a webhook is about, or make it."""

from __future__ import annotations

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from wtforms import Form, StringField
from wtforms.validators import Length

from soconnective.automation import merge
from soconnective.automation.contracts import (
    Action,
    ActionFailed,
    Made,
    RunContext,
    Scope,
    Settings,
    StepResult,
)
from soconnective.automation.registry import register_action
from soconnective.contacts.identities import normalise
from soconnective.contacts.models import Contact, ContactIdentity
from soconnective.contacts.operations import Identity, create_contact, update_contact
from soconnective.core.db import db, savepoint
from soconnective.core.errors import Refused
from soconnective.core.forms import clean_text
from soconnective.webhooks.models import WebhookCall

LENGTH = 200
NAME = 100


class FindContactSettings(Settings):
    """Texts with merge fields; at least one of e-mail and phone."""

    email: str | None = Field(None, max_length=LENGTH)
    phone: str | None = Field(None, max_length=LENGTH)
    first_name: str | None = Field(None, max_length=LENGTH)
    last_name: str | None = Field(None, max_length=LENGTH)


class FindContactForm(Form):  # type: ignore[misc]
    email = StringField("E-mail", filters=[clean_text], validators=[Length(max=LENGTH)], description="Like {{ webhook.email }}.")  # fmt: skip
    phone = StringField("Phone", filters=[clean_text], validators=[Length(max=LENGTH)])
    first_name = StringField("First name", filters=[clean_text], validators=[Length(max=LENGTH)])
    last_name = StringField("Last name, or all of it", filters=[clean_text], validators=[Length(max=LENGTH)])


class FindContact(Action):
    """Finds by e-mail address; where the call has none, by a phone number that only one has; else makes a new one.

    Two contacts are never merged, and what a contact has is never overwritten. What follows (create deal,
    create task, log note) belongs to that contact.
    """

    type_id = "find_or_create_contact"
    label = "Find or create the contact"
    group = "Contacts"
    icon = "user-plus"
    Settings = FindContactSettings
    form = FindContactForm
    writes = ("contact",)

    def run(self, context: RunContext) -> StepResult:
        call = (
            db.session.get(WebhookCall, context.event.record_id)
            if context.event.record_type == "webhook"
            else None
        )
        if call is None:
            raise ActionFailed("This action belongs to rules about a webhook that is received.")
        texts = {
            name: merge.render(getattr(self.settings, name) or "", context.fields).strip()
            for name in ("email", "phone", "first_name", "last_name")
        }
        remarks: list[str] = []
        ways = _identities(texts, remarks)
        contact, said = _find(ways, remarks), "contact found"
        if contact is None:
            contact, said = _create(ways, texts)
        else:
            _name_it(contact, texts)
        call.contact_id = contact.id
        verb = "created" if said == "contact created" else "found"
        return StepResult(said, (Made("contact", contact, contact.name, verb),), tuple(remarks))

    def describe(self) -> str:
        by = " and ".join(filter(None, [self.settings.email, self.settings.phone]))
        return f"find or create the contact of {by}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        found = []
        if scope.record_type not in (None, "webhook"):
            found.append(("", "Only rules about a webhook that is received can look for its contact."))
        if not self.settings.email and not self.settings.phone:
            found.append(("email", "Write where the e-mail address or the phone number is."))
        for name in ("email", "phone", "first_name", "last_name"):
            problems = merge.problems(getattr(self.settings, name) or "", scope.record_type)
            found += [(name, problem) for problem in problems]
        return found


def _identities(texts: dict[str, str], remarks: list[str]) -> dict[str, str]:
    """The e-mail address and the phone number that can be read, in normal form; a bad one is remarked on if the other is good."""
    found: dict[str, str] = {}
    said = []
    for kind in ("email", "phone"):
        if texts[kind]:
            try:
                found[kind] = normalise(kind, texts[kind])
            except Refused as refused:
                said.append(refused.message)
    if not found:
        raise ActionFailed(
            said[0] if said else "There is neither an e-mail address nor a phone number in it."
        )
    remarks += said
    return found


def _find(ways: dict[str, str], remarks: list[str]) -> Contact | None:
    if "email" in ways:
        found = _with("email", ways["email"])
        if found:
            return found[0]
    if "phone" not in ways:
        return None
    same = _with("phone", ways["phone"])
    if "email" not in ways and len(same) > 1:
        raise ActionFailed(f"{len(same)} contacts have this phone number, so it does not tell who it is.")
    if "email" not in ways and same and ways["phone"].startswith("+"):
        remarks.append("found by the phone number alone")
        return same[0]
    if same:
        remarks.append(f"{same[0].name} has the same phone number; nobody was merged")
    return None


def _with(kind: str, normalised: str) -> list[Contact]:
    statement = (
        select(Contact)
        .join(ContactIdentity, ContactIdentity.contact_id == Contact.id)
        .where(
            ContactIdentity.kind == kind,
            ContactIdentity.normalised == normalised,
            ContactIdentity.is_shared.is_(False),
        )
        .order_by(Contact.id)
        .limit(5)
    )
    return list(db.session.scalars(statement).unique())


def _create(ways: dict[str, str], texts: dict[str, str]) -> tuple[Contact, str]:
    """A new contact; if another call makes the same one in this moment, that one."""
    first, last = texts["first_name"][:NAME], texts["last_name"][:NAME]
    if not first and not last:
        last = texts["email"][:NAME] if "email" in ways else texts["phone"][:NAME]
    identities = [Identity(kind, texts[kind][:254]) for kind in ways]
    try:
        with savepoint(db.session()):
            return create_contact(first or None, last or None, identities=identities), "contact created"
    except (IntegrityError, Refused):
        found = _with("email", ways["email"]) if "email" in ways else []
        if not found:
            raise
        return found[0], "contact found"


def _name_it(contact: Contact, texts: dict[str, str]) -> None:
    """A contact that was called by its address, for want of a name, gets the name that is known now."""
    first, last = texts["first_name"][:NAME], texts["last_name"][:NAME]
    if (
        (first or last)
        and contact.first_name is None
        and contact.last_name in (texts["email"], texts["phone"])
    ):
        update_contact(contact, first_name=first or None, last_name=last or None)


register_action(FindContact)

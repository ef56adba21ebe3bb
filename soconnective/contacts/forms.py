"""Forms of people and companies."""

from __future__ import annotations

from typing import Any

from flask import g, request
from wtforms import (
    BooleanField,
    FieldList,
    Form,
    FormField,
    SelectChoice,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.validators import InputRequired, Length

from soconnective.contacts.identities import KINDS, NETWORKS
from soconnective.contacts.operations import Identity
from soconnective.contacts.queries import company_choices
from soconnective.core.fields import IdField, PersonField
from soconnective.core.forms import clean_text, refuse_nul
from soconnective.tags.forms import TaggedForm

MAX_ROWS = 20


class IdentityRow(Form):  # type: ignore[misc]
    kind = SelectField("Kind", choices=[SelectChoice(k, v) for k, v in KINDS.items()], default="email")
    network = SelectField(
        "Network", choices=[SelectChoice(k, v) for k, v in NETWORKS.items()], default="other"
    )
    value = StringField("Address", filters=[clean_text], validators=[Length(max=254), refuse_nul])
    is_shared = BooleanField("shared with others")


class Rows(FieldList):  # type: ignore[misc]
    """Rows by small plain indexes only: a crafted index is ignored, too many rows are an error."""

    def _extract_indices(self, prefix: str, formdata: Any) -> Any:
        yield from super_indices(prefix, formdata)


def super_indices(prefix: str, formdata: Any) -> list[int]:
    """The distinct indexes of `prefix-N-...` among the posted names, N one to four ASCII digits."""
    found = set()
    for name in formdata:
        if name.startswith(prefix + "-"):
            text = name[len(prefix) + 1 :].split("-", 1)[0]
            if text.isascii() and text.isdigit() and len(text) <= 4:
                found.add(int(text))
    return sorted(found)


class ContactForm(TaggedForm):
    first_name = StringField("First name", validators=[Length(max=100)])
    last_name = StringField("Last name", validators=[Length(max=100)])
    email = StringField("E-mail", validators=[Length(max=254)])
    phone = StringField("Phone", validators=[Length(max=60)])
    job_title = StringField("Job title", validators=[Length(max=120)])
    company_id = IdField("Company", blank="no company", record_type="company")
    owner_id = PersonField("Owner")
    identities = Rows(FormField(IdentityRow))

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        if obj is not None and request.method == "GET":
            kwargs.setdefault("email", obj.first("email"))
            kwargs.setdefault("phone", obj.first("phone"))
            first = {obj.first("email"), obj.first("phone")}
            kwargs.setdefault(
                "identities",
                [row for row in obj.identities if row.kind == "handle" or row.value not in first],
            )
        elif obj is None:
            kwargs.setdefault("owner_id", g.person.id)
        self.too_many = request.method == "POST" and len(super_indices("identities", request.form)) > MAX_ROWS
        super().__init__(*args, obj=_Shown(obj) if obj is not None else None, **kwargs)
        self.record = obj
        self.company_id.offer(company_choices(self.company_id.data or (obj.company_id if obj else None)))
        self.owner_id.offer_people(obj.owner_id if obj else None)

    def validate(self, extra_validators: Any = None) -> bool:
        if self.too_many:
            self.form_problem = f"At most {MAX_ROWS} addresses fit on one contact."
            super().validate(extra_validators)
            return False
        return super().validate(extra_validators)

    def posted(self) -> dict[str, Any]:
        """Arguments for the operations: the two plain fields first, then the rows."""
        found = []
        if self.email.data:
            found.append(Identity("email", self.email.data, is_shared=self._was_shared("email")))
        if self.phone.data:
            found.append(Identity("phone", self.phone.data))
        self.offset = len(found)
        for row in self.identities:
            if row.form.value.data:
                network = row.form.network.data if row.form.kind.data == "handle" else ""
                found.append(
                    Identity(row.form.kind.data, row.form.value.data, network, bool(row.form.is_shared.data))
                )
        return {
            "first_name": self.first_name.data,
            "last_name": self.last_name.data,
            "job_title": self.job_title.data,
            "company_id": self.company_id.data,
            "owner_id": self.owner_id.data,
            "identities": found,
            "tag_ids": self.tag_ids.data,
            "new_tags": self.new_tags.data,
        }

    def _was_shared(self, kind: str) -> bool:
        row = next((row for row in self.record.identities if row.kind == kind), None) if self.record else None
        return bool(row and row.is_shared and row.value == self.email.data)

    def _refuse(self, refused: Any) -> None:
        """An operation names the address by its place: find the field that it came from."""
        if refused.field and refused.field.startswith("identities-"):
            index = int(refused.field.split("-")[1])
            plain = [self.email] if self.email.data else []
            plain += [self.phone] if self.phone.data else []
            filled = [row.form.value for row in self.identities if row.form.value.data]
            field = [*plain, *filled][index]
            self.status = 422
            field.errors = [*field.errors, refused.message]
            self._offer(refused)
            return
        super()._refuse(refused)


class _Shown:
    """The contact for WTForms, without its identities: those are given as plain fields and rows."""

    def __init__(self, contact: Any) -> None:
        for name in ("first_name", "last_name", "job_title", "company_id", "owner_id", "tag_ids", "version"):
            setattr(self, name, getattr(contact, name))


class CompanyForm(TaggedForm):
    name = StringField("Name", validators=[InputRequired("Give the company a name."), Length(max=200)])
    domain = StringField("Domain", validators=[Length(max=253)])
    phone = StringField("Phone", validators=[Length(max=60)])
    owner_id = PersonField("Owner")
    about = TextAreaField("About", validators=[Length(max=20_000)])

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        if obj is None:
            kwargs.setdefault("owner_id", g.person.id)
        super().__init__(*args, obj=obj, **kwargs)
        self.owner_id.offer_people(obj.owner_id if obj else None)

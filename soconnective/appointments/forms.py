"""The form of an appointment: wall-clock times in the workspace's zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import g
from wtforms import DateTimeLocalField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, ValidationError

from soconnective.contacts.queries import contact_choices
from soconnective.core import clock
from soconnective.core.fields import IdField, IdsField, PersonField
from soconnective.core.forms import RecordForm
from soconnective.core.workspace import current_workspace
from soconnective.deals.queries import deal_choices

FORMATS = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]


def _sane(_form: Any, field: Any) -> None:
    if isinstance(field.data, datetime) and not 1900 <= field.data.year < 2200:
        raise ValidationError("Choose a date between 1900 and 2199.")


class AppointmentForm(RecordForm):
    title = StringField("Title", validators=[InputRequired("What is it about?"), Length(max=200)])
    starts_at = DateTimeLocalField(
        "Starts", format=FORMATS, validators=[InputRequired("When does it start?"), _sane]
    )
    ends_at = DateTimeLocalField(
        "Ends", format=FORMATS, validators=[InputRequired("When does it end?"), _sane]
    )
    place = StringField("Place", validators=[Length(max=200)])
    owner_id = PersonField("Owner")
    contact_id = IdField("With", blank="nobody", record_type="contact")
    people_ids = IdsField("Further people", record_type="contact")
    deal_id = IdField("Deal", blank="no deal", record_type="deal")
    details = TextAreaField("Details", validators=[Length(max=20_000)])

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        zone = current_workspace().timezone
        if obj is None:
            kwargs.setdefault("owner_id", g.person.id)
        else:
            kwargs.setdefault("people_ids", [row.contact_id for row in obj.people])
        super().__init__(*args, obj=_Local(obj, zone) if obj is not None else None, **kwargs)
        self.record = obj
        self.owner_id.offer_people(obj.owner_id if obj else None)
        offered = contact_choices(self.contact_id.data)
        known = {row[0] for row in offered}
        offered += [
            (row.contact_id, row.contact.name)
            for row in (obj.people if obj else ())
            if row.contact_id not in known
        ]
        self.contact_id.offer(offered)
        self.people_ids.offer(offered)
        self.deal_id.offer(deal_choices(self.deal_id.data))

    def posted(self) -> dict[str, Any]:
        zone = current_workspace().timezone
        values = self.values()
        for name in ("starts_at", "ends_at"):
            values[name] = clock.from_local(values[name].replace(tzinfo=None), zone)
        values["people_ids"] = [row for row in values["people_ids"] or [] if row != values["contact_id"]]
        return values


class _Local:
    """An appointment as its form shows it: times on the workspace's wall clock."""

    def __init__(self, appointment: Any, zone: str) -> None:
        for name in ("title", "place", "owner_id", "contact_id", "deal_id", "details", "version"):
            setattr(self, name, getattr(appointment, name))
        self.starts_at = clock.local(appointment.starts_at, zone).replace(tzinfo=None)
        self.ends_at = clock.local(appointment.ends_at, zone).replace(tzinfo=None)

"""The form of a task."""

from __future__ import annotations

from typing import Any

from flask import g
from wtforms import SelectChoice, SelectField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from soconnective.contacts.queries import contact_choices
from soconnective.core.fields import DayField, IdField, PersonField
from soconnective.core.forms import RecordForm
from soconnective.deals.queries import deal_choices
from soconnective.tasks.models import PRIORITIES


class TaskForm(RecordForm):
    title = StringField("Title", validators=[InputRequired("Say what is to be done."), Length(max=200)])
    due_on = DayField("Due")
    assignee_id = PersonField("Assigned to")
    priority = SelectField(
        "Priority", choices=[SelectChoice(k, v) for k, v in PRIORITIES.items()], default="normal"
    )
    deal_id = IdField("Deal", blank="no deal", record_type="deal")
    contact_id = IdField("Contact", blank="no contact", record_type="contact")
    details = TextAreaField("Details", validators=[Length(max=20_000)])

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        if obj is None:
            kwargs.setdefault("assignee_id", g.person.id)
        super().__init__(*args, obj=obj, **kwargs)
        self.assignee_id.offer_people(obj.assignee_id if obj else None)
        self.deal_id.offer(deal_choices(self.deal_id.data))
        self.contact_id.offer(contact_choices(self.contact_id.data))

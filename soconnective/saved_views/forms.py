"""Forms of saved views. What is filtered stands in hidden fields, as the list wrote it."""

from __future__ import annotations

from wtforms import BooleanField, HiddenField, StringField
from wtforms.validators import InputRequired, Length

from soconnective.core.forms import RecordForm
from soconnective.saved_views.models import NAME_LENGTH


class NameForm(RecordForm):
    name = StringField("Name", validators=[InputRequired("Give the view a name."), Length(max=NAME_LENGTH)])


class FilterForm(RecordForm):
    """What the list asks now, to be kept."""

    conditions = HiddenField("Filter")
    sort = HiddenField("Order")


class NewViewForm(FilterForm, NameForm):
    record_type = HiddenField("List")
    is_shared = BooleanField("Share it with the workspace")

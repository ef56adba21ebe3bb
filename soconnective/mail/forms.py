"""The forms of the mail account and of templates."""

from __future__ import annotations

from typing import Any

from wtforms import (
    BooleanField,
    IntegerField,
    PasswordField,
    SelectChoice,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.validators import InputRequired, Length, NumberRange, Regexp

from soconnective.core.forms import RecordForm
from soconnective.mail.message import SUBJECT_LENGTH
from soconnective.mail.models import SECURITY
from soconnective.mail.templates import Known, record_types

BODY_LENGTH = 20_000


class AccountForm(RecordForm):
    host = StringField("Mail server", validators=[InputRequired("Write the server's name."), Length(max=253)])
    port = IntegerField(
        "Port", default=587, validators=[InputRequired("Write the port."), NumberRange(1, 65535, "Choose 1 to 65535.")]
    )  # fmt: skip
    security = SelectField(
        "Encryption", choices=[SelectChoice(k, v) for k, v in SECURITY.items()], default="starttls"
    )
    username = StringField("User name", validators=[Length(max=254)])
    password = PasswordField(
        "Password",
        validators=[Length(max=500), Regexp(r"^[ -~]*$", message="Only letters, digits and signs of ASCII can be told to a mail server.")],
        render_kw={"autocomplete": "new-password"},
    )  # fmt: skip
    from_address = StringField(
        "Sent from", validators=[InputRequired("Write the address that mail comes from."), Length(max=254)]
    )
    from_name = StringField("Name beside it", validators=[Length(max=120)])
    hourly_cap = IntegerField(
        "Mails an hour, at most", default=200,
        validators=[InputRequired("Write a number."), NumberRange(1, 10_000, "Choose 1 to 10,000.")],
    )  # fmt: skip


class TemplateForm(RecordForm):
    name = StringField("Name", validators=[InputRequired("Give the template a name."), Length(max=120)])
    record_type = SelectField("For rules about", default="contact")
    subject = StringField(
        "Subject", validators=[InputRequired("Write the subject."), Length(max=SUBJECT_LENGTH)]
    )
    body = TextAreaField("Text", validators=[Length(max=BODY_LENGTH)])
    html = TextAreaField(
        "HTML, if it should look different",
        validators=[Length(max=BODY_LENGTH)],
        render_kw={"spellcheck": "false"},
    )
    has_images = BooleanField("Images from the web may stand in the HTML")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.record_type.choices = [SelectChoice(name, label) for name, label in record_types()]

    def texts(self) -> Known:
        """What was typed, as a template."""
        typed: dict[str, Any] = {name: value or "" for name, value in self.values().items()}
        return Known(**{**typed, "has_images": bool(self.has_images.data)})

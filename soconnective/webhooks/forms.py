"""The forms of webhooks."""

from __future__ import annotations

from typing import Any

from wtforms import BooleanField, PasswordField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from soconnective.core.forms import RecordForm
from soconnective.webhooks.mapping import mapping_text


class EndpointForm(RecordForm):
    name = StringField("Name", validators=[InputRequired("Give the endpoint a name."), Length(max=120)])
    url = StringField(
        "Address", validators=[InputRequired("Write the address that is called."), Length(max=2000)]
    )


class RotateForm(RecordForm):
    keeps_old = BooleanField("The old secret works too for another 24 hours", default=True)


class HookForm(RecordForm):
    """`signing_password`: the secret of the other side; empty keeps what is there."""

    name = StringField("Name", validators=[InputRequired("Give the webhook a name."), Length(max=120)])
    mapping = TextAreaField("Fields", validators=[Length(max=6000)])
    id_path = StringField("Where the call's id is", validators=[Length(max=200)])
    is_signed = BooleanField("Calls must be signed (Standard Webhooks)")
    signing_password = PasswordField("Signing secret", validators=[Length(max=200)])

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, obj=obj, **kwargs)
        if isinstance(self.mapping.data, list):
            self.mapping.data = mapping_text(self.mapping.data)

    def settings(self, has_secret: bool = False) -> dict[str, Any]:
        return {
            "mapping": self.mapping.data,
            "id_path": self.id_path.data,
            "is_signed": self.is_signed.data,
            "secret": (self.signing_password.data or "").strip() or None,
            "has_secret": has_secret,
        }

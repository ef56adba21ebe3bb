"""Forms of set-up, invitations, members and one's own account."""

from __future__ import annotations

from typing import Any

from wtforms import PasswordField, SelectChoice, SelectField, StringField
from wtforms.validators import EqualTo, InputRequired, Length

from soconnective.core.access import ROLES
from soconnective.core.clock import zone_names
from soconnective.core.formats import currencies
from soconnective.core.forms import RecordForm

ROLE_TEXTS = {
    "owner": "Owner: everything, owners included",
    "admin": "Admin: rules, pipelines, members",
    "member": "Member: works with records",
    "viewer": "Viewer: sees, changes nothing",
}


def zone_choices() -> list[SelectChoice]:
    return [SelectChoice(name, name.replace("_", " ")) for name in zone_names()]


def currency_choices() -> list[SelectChoice]:
    return [SelectChoice(code, f"{code} · {name}") for code, name in currencies()]


class WorkspaceFields(RecordForm):
    name = StringField(
        "Workspace name", validators=[InputRequired("Give the workspace a name."), Length(max=120)]
    )
    currency = SelectField("Currency", default="EUR")
    timezone = SelectField("Time zone", default="UTC")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.currency.choices = currency_choices()
        self.timezone.choices = zone_choices()


class NewPersonForm(RecordForm):
    person_name = StringField("Your name", validators=[InputRequired("Write your name."), Length(max=120)])
    password = PasswordField("Password", validators=[InputRequired("Choose a password."), Length(max=128)])
    password_again = PasswordField(
        "Password again", validators=[EqualTo("password", "The two passwords differ.")]
    )


class SetupForm(WorkspaceFields):
    person_name = StringField("Your name", validators=[InputRequired("Write your name."), Length(max=120)])
    email = StringField(
        "Your e-mail address", validators=[InputRequired("Write your e-mail address."), Length(max=255)]
    )
    password = PasswordField("Password", validators=[InputRequired("Choose a password."), Length(max=128)])
    password_again = PasswordField(
        "Password again", validators=[EqualTo("password", "The two passwords differ.")]
    )
    code = StringField(
        "Set-up code", validators=[InputRequired("The code stands on the console."), Length(max=40)]
    )


class InviteForm(RecordForm):
    email = StringField("E-mail address", validators=[InputRequired("Whom do you invite?"), Length(max=255)])
    role = SelectField("Role", default="member")

    def __init__(self, *args: Any, acting_role: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.role.choices = _roles(acting_role)


class RoleForm(RecordForm):
    role = SelectField("Role")

    def __init__(self, *args: Any, acting_role: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.role.choices = _roles(acting_role)


class HandOverForm(RecordForm):
    to_id = SelectField("Give it to")

    def __init__(
        self,
        *args: Any,
        people: list[tuple[int, str]],
        nobody: str = "nobody: leave it without an owner",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.to_id.choices = [SelectChoice("", nobody)] + [
            SelectChoice(str(person_id), name) for person_id, name in people
        ]


class AccountForm(RecordForm):
    name = StringField("Your name", validators=[InputRequired("Write your name."), Length(max=120)])


def _roles(acting_role: str) -> list[SelectChoice]:
    return [
        SelectChoice(role, ROLE_TEXTS[role]) for role in ROLES if role != "owner" or acting_role == "owner"
    ]

"""The form of what a person wants to be told of: two boxes for each kind."""

from __future__ import annotations

from wtforms import BooleanField

from soconnective.core.forms import RecordForm
from soconnective.notifications.kinds import kinds
from soconnective.notifications.operations import choice_of


class ChoicesForm(RecordForm):
    """Made by `choices_form`, with the fields `<kind>-app` and `<kind>-mail`."""

    kept: dict[str, tuple[bool, bool]]

    def wanted(self, can_mail: bool) -> dict[str, tuple[bool, bool]]:
        """By kind; without a way to send mail that box is not on the page, and stays as it was."""
        return {
            name: (
                bool(self[f"{name}-app"].data),
                bool(self[f"{name}-mail"].data) if can_mail else self.kept[name][1],
            )
            for name in kinds()
        }


def choices_form(person_id: int) -> ChoicesForm:
    kept = {name: choice_of(person_id, kind) for name, kind in kinds().items()}
    fields = {"kept": kept}
    for name, kind in kinds().items():
        fields[f"{name}-app"] = BooleanField(f"{kind.label}: in the app", default=kept[name][0])
        fields[f"{name}-mail"] = BooleanField(f"{kind.label}: by mail", default=kept[name][1])
    made = type("OwnChoicesForm", (ChoicesForm,), fields)
    return made()  # type: ignore[no-any-return]

"""The action *Notify somebody*: the record's owner, a fixed person, or all admins."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from wtforms import Form, SelectChoice, SelectField, TextAreaField
from wtforms.validators import InputRequired, Length

from soconnective.automation import merge
from soconnective.automation.contracts import (
    Action,
    ActionFailed,
    RunContext,
    Scope,
    Settings,
    StepResult,
)
from soconnective.automation.registry import register_action
from soconnective.automation.writable import writable
from soconnective.core.fields import PersonField
from soconnective.core.forms import clean_text
from soconnective.core.registry import Person, active_people, people, registry
from soconnective.core.words import told
from soconnective.notifications.audience import admins
from soconnective.notifications.kinds import Kind, mail_trouble, register_kind
from soconnective.notifications.operations import notify, who_want_mail

TEMPLATE_LENGTH = 2000
WHO = {"owner": "the record's owner", "person": "a fixed person", "admins": "all admins and owners"}
MESSAGE = Kind("message", "A rule tells you something", "By the step “Notify somebody” of a rule.", "bolt")


class NotifyUserSettings(Settings):
    """text: with merge fields; its first line is the title. person_id: for a fixed person."""

    who: Literal["owner", "person", "admins"] = "owner"
    person_id: int | None = Field(None, ge=1, lt=2**62)
    text: str = Field(min_length=1, max_length=TEMPLATE_LENGTH)


class NotifyUserForm(Form):  # type: ignore[misc]
    who = SelectField(
        "Whom", choices=[SelectChoice(name, label) for name, label in WHO.items()], default="owner"
    )
    person_id = PersonField(
        "Fixed person", blank="choose a person", render_kw={"data-only-when": "who=person"}
    )
    text = TextAreaField(
        "Text",
        description="The first line is what stands at the bell; it leads to the record.",
        filters=[clean_text],
        validators=[InputRequired("Write what they are told."), Length(max=TEMPLATE_LENGTH)],
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person_id.offer_people(self.person_id.data)


class NotifyUser(Action):
    """Tells people of the record, as each of them wants to be told."""

    type_id = "notify_user"
    label = "Notify somebody"
    group = "People"
    icon = "bell"
    Settings = NotifyUserSettings
    form = NotifyUserForm
    writes = ("notification",)
    only_adds = True

    def run(self, context: RunContext) -> StepResult:
        text = merge.render(self.settings.text, context.fields).strip()
        if not text:
            raise ActionFailed("The text is empty once its fields are filled in.")
        title, _line_end, rest = text.partition("\n")
        about = (context.event.record_type, context.event.record_id)
        persons = self._persons(context)
        told = [p for p in persons if notify(p.id, MESSAGE.name, title, rest.strip(), about=about)]
        silent = tuple(f"{p.name} does not want to be told of this" for p in persons if p not in told)
        if not told:
            return StepResult("nobody notified", (), silent)
        names = told[0].name if len(told) == 1 else f"{len(told)} people"
        return StepResult(f"{names} notified", (), silent)

    def _persons(self, context: RunContext) -> list[Person]:
        if self.settings.who == "admins":
            return admins()
        wanted = self.settings.person_id if self.settings.who == "person" else _owner_of(context)
        person = people().get(wanted or 0)
        if person is None or not person.is_active:
            name = person.name if person else "The person to notify"
            raise ActionFailed(f"{name} is no longer an active member.")
        return [person]

    def warnings(self) -> list[str]:
        """Where somebody whom it may tell wants to be told by mail, and none might get out."""
        trouble = mail_trouble()
        if trouble is None:
            return []
        if self.settings.who == "person":
            whom = {self.settings.person_id}
        else:
            whom = {p.id for p in (admins() if self.settings.who == "admins" else active_people())}
        found = [people()[person_id].name for person_id in sorted(who_want_mail(MESSAGE.name) & whom)]
        if not found:
            return []
        names = found[0] if len(found) == 1 else f"{found[0]} and {len(found) - 1} more"
        return [f"{names} chose to be told by mail too. {trouble}"]

    def describe(self) -> str:
        who = WHO[self.settings.who]
        if self.settings.who == "person":
            person = people().get(self.settings.person_id or 0)
            who = person.name if person else "⚠ somebody who is gone"
        return f"notify {who}: {told(self.settings.text)}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        found = [("text", problem) for problem in merge.problems(self.settings.text, scope.record_type)]
        if self.settings.who == "person":
            person = people().get(self.settings.person_id or 0)
            if person is None:
                found.append(("person_id", "Choose whom to notify."))
            elif not person.is_active:
                found.append(
                    ("person_id", f"{person.name} is no longer an active member. Choose somebody else.")
                )
        return found


def _owner_of(context: RunContext) -> int:
    """The owner of the event's record, a task's assignee among them; raises `ActionFailed` where there is none."""
    kind = context.event.record_type
    item, snapshot = writable(kind), context.event.snapshot
    owner_id = snapshot.get(item.owner if item and item.owner else "owner_id", snapshot.get("owner_id"))
    if owner_id is None:
        raise ActionFailed(f"The {registry.record_types[kind].label.lower()} has no owner to notify.")
    return int(owner_id)


register_kind(MESSAGE)
register_action(NotifyUser)

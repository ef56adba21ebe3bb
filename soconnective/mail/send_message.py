"""The actions *Send …*: one class for each channel, made from the channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field as Setting
from wtforms import Form, SelectChoice, SelectField, StringField, TextAreaField
from wtforms.validators import Length

from soconnective.automation import merge
from soconnective.automation.contracts import (
    Action,
    ActionFailed,
    BrokenPiece,
    RunContext,
    Scope,
    Settings,
    StepResult,
)
from soconnective.automation.references import Reference, register_reference
from soconnective.automation.registry import register_action
from soconnective.core.errors import Refused
from soconnective.core.fields import IdField
from soconnective.core.forms import clean_text
from soconnective.core.registry import people, registry
from soconnective.core.words import marked, told
from soconnective.mail import markup
from soconnective.mail.channels import Channel, Recipient, addressee, addressees, reached, register_channel
from soconnective.mail.plain import text_of
from soconnective.mail.templates import Known, known_templates, text_problems

SUBJECT_LENGTH = 300
ADDRESS_LENGTH = 300
TEMPLATE_GONE = "The template does not exist any more. Choose another one."


class SendMessageSettings(Settings):
    """to: a record type that has an address, "owner" or "address". A template's texts come before one's own.

    html: beside the text, or in its place; only where the channel takes it.
    """

    to: str = Setting("contact", min_length=1, max_length=40)
    address: str | None = Setting(None, max_length=ADDRESS_LENGTH)
    template_id: int | None = Setting(None, ge=1, lt=2**62)
    subject: str | None = Setting(None, max_length=SUBJECT_LENGTH)
    body: str | None = Setting(None, max_length=20_000)
    html: str | None = Setting(None, max_length=20_000)


class _TemplateField(IdField):
    """A template for the rule's kind of record; one that is gone is shown as such and refused."""

    def offer_templates(self, record_type: str | None) -> None:
        known = known_templates()
        fitting = [(i, one.name) for i, one in known.items() if one.record_type == record_type]
        self.offer(fitting)
        if self.data is not None and self.data not in dict(fitting):
            other = known.get(self.data)
            name = f"{other.name} (for another kind of record)" if other else "⚠ a template that is gone"
            self.choices = [*self.choices, SelectChoice(str(self.data), name)]


class SendMessage(Action):
    """Writes to somebody over `channel`, in the run's transaction; the channel's job sends it afterwards."""

    channel: ClassVar[Channel]
    Settings = SendMessageSettings
    references: ClassVar[Mapping[str, str]] = {"template_id": "template"}
    group = "Messages"

    @classmethod
    def form_for(cls, scope: Scope, values: Mapping[str, Any]) -> type[Form]:
        channel = cls.channel
        whom = {**addressees(scope)}
        if channel.address_kind == "email":  # what members sign in with
            whom["owner"] = "the record's owner"
        whom["address"] = f"a fixed {channel.address_label}"
        wanted = values.get("to")
        if wanted and wanted not in whom:
            whom[wanted] = "⚠ somebody it cannot reach"

        class SendMessageForm(Form):  # type: ignore[misc]
            to = SelectField(
                "To", choices=[SelectChoice(k, v) for k, v in whom.items()], validate_choice=False
            )
            address = StringField(
                channel.address_label.capitalize(), filters=[clean_text], validators=[Length(max=ADDRESS_LENGTH)],
                render_kw={"data-only-when": "to=address"},
            )  # fmt: skip
            template_id = _TemplateField("Template", blank="none: write it here")
            if channel.has_subject:
                subject = StringField(
                    "Subject", filters=[clean_text], validators=[Length(max=SUBJECT_LENGTH)],
                    render_kw={"data-only-when": "template_id="},
                )  # fmt: skip
            body = TextAreaField(
                "Text", filters=[clean_text], validators=[Length(max=channel.text_length)],
                render_kw={"data-only-when": "template_id="},
            )  # fmt: skip
            if channel.has_html:
                html = TextAreaField(
                    "HTML, if it should look different", filters=[clean_text], validators=[Length(max=channel.text_length)],
                    render_kw={"data-only-when": "template_id=", "spellcheck": "false"},
                )  # fmt: skip

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.template_id.offer_templates(scope.record_type)

        return SendMessageForm

    def run(self, context: RunContext) -> StepResult:
        texts = self._texts()
        to = self._recipient(context)
        subject = " ".join(merge.render(texts.subject, context.fields).split())
        text = merge.render(texts.body, context.fields).strip()
        own = markup.filled(texts.html, context.fields, texts.has_images)
        if self.channel.has_subject and not subject:
            raise ActionFailed("The subject is empty once its fields are filled in.")
        if not text and (texts.body or not text_of(own.html)):
            raise ActionFailed("The text is empty once its fields are filled in.")
        sent = self.channel.send(to, subject, text, context, own.html)
        return replace(sent, remarks=(*sent.remarks, *own.left_out))

    def _texts(self) -> Known:
        """What is said, with its merge fields: the template's, or one's own."""
        s = self.settings
        if s.template_id is None:
            return Known("", "", s.subject or "", s.body or "", s.html or "")
        template = self._template
        if template is None:
            raise BrokenPiece(TEMPLATE_GONE)
        return template if self.channel.has_html else replace(template, html="")

    def _recipient(self, context: RunContext) -> Recipient:
        to, own = self.settings.to, registry.record_types[context.event.record_type].label.lower()
        if to == "address":
            return Recipient(merge.render(self.settings.address or "", context.fields).strip())
        if to == "owner":
            return _owner(context, own)
        kind, found = registry.record_types.get(to), addressee(to)
        if kind is None or found is None:
            raise ActionFailed("Nobody of this kind can be written to any more.")
        record_id = reached(context, to)
        if record_id is None:
            raise ActionFailed(f"The {own} has no {kind.label.lower()}.")
        recipient = found.find(self.channel.address_kind, record_id)
        if recipient is None:
            raise ActionFailed(f"The {kind.label.lower()} is gone.")
        if not recipient.address:
            raise ActionFailed(
                f"{recipient.name or 'The ' + kind.label.lower()} has no {self.channel.address_label}."
            )
        return recipient

    @property
    def _template(self) -> Known | None:
        return known_templates().get(self.settings.template_id or 0)

    @property
    def broken(self) -> str | None:
        is_gone = self.settings.template_id is not None and self._template is None
        return TEMPLATE_GONE if is_gone else None

    def warnings(self) -> list[str]:
        said = self.channel.trouble()
        return [said] if said else []

    def describe(self) -> str:
        s = self.settings
        kind = registry.record_types.get(s.to)
        whom = {"owner": "the record's owner", "address": s.address or "⚠ nobody"}.get(
            s.to, f"the {kind.label.lower()}" if kind else "⚠ somebody who is gone"
        )
        if s.template_id is not None:
            template = self._template
            return f"{self.channel.verb} from template {f'“{template.name}”' if template else '⚠ that is gone'} to {whom}"
        subject = f"{told(s.subject or '')} " if self.channel.has_subject else ""
        parts = [f"text {told(s.body, 80)}"] if s.body else []
        parts += [f"its own HTML {marked(s.html)}"] if s.html else []
        with_texts = f"with {' and '.join(parts)} " if parts else ""
        return f"{self.channel.verb} {subject}{with_texts}to {whom}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        return [*self._check_whom(scope), *self._check_texts(scope)]

    def _check_whom(self, scope: Scope) -> list[tuple[str, str]]:
        to, address = self.settings.to, self.settings.address or ""
        if (to == "owner" and self.channel.address_kind == "email") or (
            to != "address" and to in addressees(scope)
        ):
            return []
        if to != "address":
            why = (
                "Who is deleted cannot be written to"
                if to == scope.record_type
                else "A rule about this cannot reach them"
            )
            return [("to", f"{why}. Choose somebody else.")]
        if not address:
            return [("address", f"Write the {self.channel.address_label}.")]
        if "{" in address:
            return [("address", problem) for problem in merge.problems(address, scope.record_type)]
        try:
            self.channel.clean(address)
        except Refused as refused:
            return [("address", refused.message)]
        return []

    def _check_texts(self, scope: Scope) -> list[tuple[str, str]]:
        s, record_type = self.settings, scope.record_type
        if s.template_id is not None:
            template = self._template
            if template is None:
                return [("template_id", TEMPLATE_GONE)]
            if template.record_type != record_type:
                return [("template_id", "This template is for another kind of record. Choose another one.")]
            if not (template.body or self.channel.has_html):
                return [("template_id", "This template has HTML only. Choose one with a text.")]
            return [("template_id", f"In the template: {said}") for _field, said in text_problems(template)]
        texts = Known("", record_type or "", s.subject or "", s.body or "", s.html or "")
        found = text_problems(texts)
        if self.channel.has_subject and not s.subject:
            found.append(("subject", "Write the subject, or choose a template."))
        if s.html and not self.channel.has_html:
            found.append(("html", "This way of sending takes no HTML."))
        if not (s.body or s.html):
            found.append(("body", "Write the text, or choose a template."))
        return found


def offer(channel: Channel) -> type[SendMessage]:
    """Register `channel`, and the action that sends over it: `send_<name>`."""
    register_channel(channel)
    made = type(
        f"Send{channel.name.title()}",
        (SendMessage,),
        {
            "__doc__": SendMessage.__doc__,
            "channel": channel,
            "type_id": f"send_{channel.name}",
            "label": channel.label,
            "icon": channel.icon,
            "writes": (channel.name,),
        },
    )
    register_action(made)
    return made


register_reference(
    Reference("template", "template", lambda: sorted((i, one.name) for i, one in known_templates().items()))
)


def _owner(context: RunContext, own: str) -> Recipient:
    """The owner is reached at the address that they sign in with."""
    owner_id = context.event.snapshot.get("owner_id")
    person = people().get(owner_id or 0)
    if person is None:
        raise ActionFailed(f"The {own} has no owner.")
    if not person.is_active:
        raise ActionFailed(f"The owner, {person.name}, is no longer an active member.")
    return Recipient(person.email, person.name)

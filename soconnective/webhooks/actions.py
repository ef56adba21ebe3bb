"""The action *Call a webhook*: writes a message and its job in the run's transaction; a worker sends it later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Literal

from pydantic import Field
from wtforms import Form, SelectChoice, SelectField, TextAreaField
from wtforms.validators import InputRequired, Length

from soconnective.automation import merge
from soconnective.automation.contracts import (
    Action,
    ActionFailed,
    Made,
    RunContext,
    Scope,
    Settings,
    StepResult,
)
from soconnective.automation.registry import register_action
from soconnective.automation.trace import clean
from soconnective.core.fields import IdField
from soconnective.core.forms import clean_text
from soconnective.core.words import told
from soconnective.webhooks import queries
from soconnective.webhooks.mapping import is_too_deep
from soconnective.webhooks.operations import deliver

TEMPLATE_LENGTH = 20_000
_GONE = "This endpoint does not exist any more. Choose another one."


class CallWebhookSettings(Settings):
    """template: JSON text whose texts may have merge fields; used where `content` is "own"."""

    endpoint_id: int = Field(ge=1, lt=2**62)
    content: Literal["record", "own"] = "record"
    template: str | None = Field(None, max_length=TEMPLATE_LENGTH)


class CallWebhookForm(Form):  # type: ignore[misc]
    endpoint_id = IdField(
        "Endpoint",
        blank="choose an endpoint",
        validators=[InputRequired("Choose an endpoint. They are made in Settings, Webhooks.")],
    )
    content = SelectField(
        "What is sent",
        choices=[
            SelectChoice("record", "what happened, and the record"),
            SelectChoice("own", "my own JSON"),
        ],
        default="record",
    )
    template = TextAreaField(
        "JSON",
        filters=[clean_text],
        validators=[Length(max=TEMPLATE_LENGTH)],
        description='Merge fields stand inside texts, like {"rule": "{{ rule.name }}"}.',
        render_kw={"data-only-when": "content=own"},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.endpoint_id.offer((row.id, row.name) for row in queries.endpoints())
        if self.endpoint_id.data is not None and queries.endpoint(self.endpoint_id.data) is None:
            choice = SelectChoice(str(self.endpoint_id.data), "⚠ an endpoint that is gone")
            self.endpoint_id.choices = [*self.endpoint_id.choices, choice]


class CallWebhook(Action):
    """Tells another program what happened. The run says that the message is on its way; its page says what came of it."""

    type_id = "call_webhook"
    label = "Call a webhook"
    group = "Webhooks"
    icon = "world"
    Settings = CallWebhookSettings
    form = CallWebhookForm
    references = {"endpoint_id": "endpoint"}
    writes = ("delivery",)
    only_adds = True

    def run(self, context: RunContext) -> StepResult:
        endpoint = queries.endpoint(self.settings.endpoint_id)
        if endpoint is None:
            raise ActionFailed("The webhook's endpoint was deleted.")
        if not endpoint.is_active:
            raise ActionFailed(f"The endpoint “{endpoint.name}” is switched off.")
        if self.settings.content == "own":
            filled = _filled(_parsed(self.settings.template or ""), context.fields)
            delivery = deliver(endpoint, context.event.name, lambda _id: clean(filled), context.event)
        else:
            delivery = deliver(
                endpoint, context.event.name, lambda key: clean(_told(context, key)), context.event
            )
        said = f"{context.event.name} to {endpoint.name}"
        return StepResult("webhook on its way", (Made("webhook_delivery", delivery, said, "sent"),))

    def warnings(self) -> list[str]:
        endpoint = queries.endpoint(self.settings.endpoint_id)
        if endpoint is None or endpoint.is_active:
            return []
        return [
            f"The endpoint “{endpoint.name}” is switched off. {endpoint.off_because} Switch it on in Settings → Webhooks.".replace(
                "  ", " "
            )
        ]

    def describe(self) -> str:
        endpoint = queries.endpoint(self.settings.endpoint_id)
        name = f"“{endpoint.name}”" if endpoint else "⚠ an endpoint that is gone"
        own = (
            f" with its own JSON {told(self.settings.template or '', 80)}"
            if self.settings.content == "own"
            else ""
        )
        return f"call webhook {name}{own}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        found = []
        if queries.endpoint(self.settings.endpoint_id) is None:
            found.append(("endpoint_id", _GONE))
        if self.settings.content == "own":
            found += [
                ("template", problem) for problem in _problems(self.settings.template, scope.record_type)
            ]
        return found


def _told(context: RunContext, key: str) -> dict[str, Any]:
    """What happened, as the other side reads it."""
    event = context.event
    return {
        "type": event.name,
        "id": key,
        "occurred_at": event.occurred_at.isoformat(),
        "record_type": event.record_type,
        "record_id": event.record_id,
        "record": event.snapshot,
        "changes": event.changes,
        "actor": {"kind": event.actor.kind, "name": event.actor.name},
        "rule": {"name": context.rule_name, "version": context.rule_version},
    }


def _parsed(template: str) -> Any:
    """The template as JSON; raises `ActionFailed` in words."""
    try:
        parsed = json.loads(template, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ActionFailed("The JSON is nested too deeply.") from None
    except ValueError as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise ActionFailed(f"This is not JSON{where}. Merge fields stand inside quotes.") from None
    if is_too_deep(parsed):
        raise ActionFailed("The JSON is nested too deeply.")
    return parsed


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _finite(text: str) -> float:
    """A number that JSON can hold again: 1e400 would become one that it cannot."""
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return number


def _filled(value: Any, fields: Mapping[str, Mapping[str, Any]]) -> Any:
    """Each text of the JSON filled by itself: what a field holds can never become a part of the JSON."""
    if isinstance(value, str):
        return merge.render(value, fields)
    if isinstance(value, dict):
        return {name: _filled(item, fields) for name, item in value.items()}
    return [_filled(item, fields) for item in value] if isinstance(value, list) else value


def _problems(template: str | None, record_type: str | None) -> list[str]:
    if not template:
        return ["Write the JSON that is sent."]
    try:
        texts = list(_texts(_parsed(template)))
    except ActionFailed as failed:
        return [str(failed)]
    return list(dict.fromkeys(problem for text in texts for problem in merge.problems(text, record_type)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item)
            if "{{" in name or "{%" in name:
                raise ActionFailed("Merge fields stand in values, not in names.")
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


register_action(CallWebhook)

"""What webhooks offer to rules: the trigger *a webhook is received*, and what can be asked of a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field as Setting
from wtforms import Form, SelectChoice

from soconnective.automation.contracts import Check, Scope, Settings, Trigger, Verdict
from soconnective.automation.references import Reference, register_reference
from soconnective.automation.registry import register_trigger
from soconnective.core.conditions import Field, register_fields, register_more_fields
from soconnective.core.fields import IdField
from soconnective.events import DomainEvent
from soconnective.webhooks import queries
from soconnective.webhooks.models import WebhookCall


class ReceivedSettings(Settings):
    """hook_id: None means any of them."""

    hook_id: int | None = Setting(None, ge=1, lt=2**62)


class ReceivedForm(Form):  # type: ignore[misc]
    hook_id = IdField(
        "Which webhook",
        blank="any",
        description="They are made in Settings, Webhooks; each has its own address.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hook_id.offer((row.id, row.name) for row in queries.hooks())
        if self.hook_id.data is not None and queries.hook(self.hook_id.data) is None:
            self.hook_id.choices = [
                *self.hook_id.choices,
                SelectChoice(str(self.hook_id.data), "⚠ a webhook that is gone"),
            ]


class WebhookReceived(Trigger):
    type_id = "webhook.received"
    record_type = "webhook"
    label = "a webhook is received"
    group = "Webhooks"
    icon = "world"
    Settings = ReceivedSettings
    form = ReceivedForm
    references = {"hook_id": "hook"}

    def heard(self) -> Sequence[str]:
        """Nothing that a rule writes starts it."""
        return ()

    def match(self, event: DomainEvent) -> Verdict:
        wanted = self.settings.hook_id
        if wanted is None:
            return Verdict(True)
        if event.snapshot.get("hook_id") == wanted:
            came = str(event.snapshot.get("title"))
            return Verdict(True, (Check("hook_id", "Webhook", came, came, True),))
        hook = queries.hook(wanted)
        said = f"“{hook.name}”" if hook else "one that is gone"
        return Verdict(False, (Check("hook_id", "Webhook", said, f"“{event.snapshot.get('title')}”", False),))

    def warnings(self) -> list[str]:
        hook = queries.hook(self.settings.hook_id) if self.settings.hook_id is not None else None
        if hook is None or hook.is_active:
            return []
        return [
            f"The webhook “{hook.name}” is switched off, so nothing starts this rule. Switch it on in Settings → Webhooks."
        ]

    def describe(self) -> str:
        if self.settings.hook_id is None:
            return self.label
        hook = queries.hook(self.settings.hook_id)
        return f"the webhook “{hook.name}” is received" if hook else "⚠ a webhook that is gone is received"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        if self.settings.hook_id is None or queries.hook(self.settings.hook_id) is not None:
            return []
        return [("hook_id", "This webhook does not exist any more. Choose another one.")]


def by_id(rows: list[Any]) -> list[Any]:
    """In an order that stays when one of them is renamed."""
    return sorted(rows, key=lambda row: row.id)


def _mapped_fields() -> list[Field]:
    return [
        Field(name, f"{name} (from {path})", "text", lambda name=name: WebhookCall.fields[name].as_string())  # type: ignore[misc]
        for name, path in queries.mapped_names().items()
    ]


register_fields(
    "webhook",
    Field("hook_id", "webhook", "choice", lambda: WebhookCall.hook_id, choices=lambda: [(str(h.id), h.name) for h in queries.hooks()], shown="title", reference="hook"),
    Field("external_id", "id of the call", "text", lambda: WebhookCall.external_id),
    Field("received_at", "received", "moment", lambda: WebhookCall.received_at),
    Field("contact_id", "contact", "record", lambda: WebhookCall.contact_id, record_type="contact", shown="contact"),
)  # fmt: skip
register_more_fields("webhook", _mapped_fields)
register_reference(
    Reference("hook", "webhook", lambda: ((row.id, row.name) for row in by_id(queries.hooks()))),
    Reference("endpoint", "endpoint", lambda: ((row.id, row.name) for row in by_id(queries.endpoints()))),
)
register_trigger(WebhookReceived)

"""The fact that webhooks announce, and the record type "webhook": a call as rules see it.

| what was saved         | events |
| --- | --- |
| a call that came       | webhook.received |
| a call again (same id) | none: it is not saved |
| deleted as old         | none |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from soconnective.core.db import db, plain
from soconnective.core.registry import people, registry
from soconnective.core.tenancy import has_tenant
from soconnective.events import Change, Watch, declare, watch
from soconnective.webhooks.models import WebhookCall, WebhookHook
from soconnective.webhooks.queries import mapped_names

WEBHOOK_RECEIVED = declare(
    "webhook.received",
    "webhook",
    "Webhook received",
    sent_when="A call to one of the workspace's secret addresses was accepted and stored.",
    not_when="Not for a call whose id came before, nor for one that was refused.",
)
OWN = (
    ("title", "name of the webhook"),
    ("external_id", "the call's id"),
    ("received_at", "received at"),
    ("contact", "contact that was found"),
)


class CallFields(Sequence[tuple[str, str]]):
    """(name, label) of what a call holds: the same for all, and what this workspace's mappings name."""

    def _all(self) -> list[tuple[str, str]]:
        return [*OWN, *(mapped_names().items() if has_tenant() else ())]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, str]]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._all()[index]


def classify(change: Change) -> list[str]:
    """The rows of the table above."""
    return ["webhook.received"] if change.kind == "created" else []


def snapshot(call: WebhookCall) -> dict[str, Any]:
    """What the mapping found, and the contact that a rule found for it, if it is still there."""
    hook = db.session.get(WebhookHook, call.hook_id)
    kind = registry.record_types.get("contact")
    contact = kind.get(call.contact_id) if kind and call.contact_id is not None else None
    owner = people().get(getattr(contact, "owner_id", None) or 0)
    return {
        **call.fields,
        "id": call.id,
        "hook_id": call.hook_id,
        "title": hook.name if hook else None,
        "external_id": call.external_id,
        "received_at": plain(call.received_at),
        "contact_id": contact.id if contact else None,
        "contact": kind.title(contact) if kind and contact else None,
        "company_id": getattr(contact, "company_id", None),
        "owner_id": owner.id if owner else None,
        "owner": owner.name if owner else None,
    }


watch(Watch(WebhookCall, "webhook", ("hook_id", "external_id"), classify, snapshot))

"""Webhooks, out and in: what rules tell other programs, and what other programs tell rules.

Owns `webhook_endpoints` and `webhook_deliveries` (out), `webhook_hooks`, `webhook_calls` and `webhook_refusals` (in). Hands *Call a
webhook* and *a webhook is received* to the rules. Only `client` leaves the house, and only from a job.
Knows nothing of contacts, deals or any other area.
"""

from __future__ import annotations

from flask import Flask, url_for

from soconnective.config import BadSettings
from soconnective.core.registry import RecordType, SettingsSection, registry
from soconnective.webhooks import actions, automation, events, hook_views, inbound, sending, upkeep, views
from soconnective.webhooks.addresses import allowed_of
from soconnective.webhooks.models import WebhookCall, WebhookDelivery

__all__ = ["actions", "automation", "events", "init_app", "sending", "upkeep"]


def init_app(app: Flask) -> None:
    try:
        allowed_of(app.config["SOCONNECTIVE_WEBHOOK_ALLOW"])
    except ValueError as error:
        raise BadSettings(f"SOCONNECTIVE_WEBHOOK_ALLOW: {error}") from None
    for blueprint in (views.bp, hook_views.bp, inbound.bp):
        app.register_blueprint(blueprint)
    registry.add(
        RecordType(
            "webhook",
            "Webhook",
            "Webhooks",
            "world",
            WebhookCall,
            lambda row_id: url_for("webhook_hooks.call", call_id=row_id),
            lambda row: f"call {row.external_id or row.id}",
            events.CallFields(),
            apart=("hook_id", "received_at"),
        ),
        RecordType(
            "webhook_delivery",
            "Webhook",
            "Webhooks",
            "world",
            WebhookDelivery,
            lambda row_id: url_for("webhooks.delivery", delivery_id=row_id),
            lambda row: row.title,
        ),
        SettingsSection(
            "webhooks",
            "Webhooks",
            "webhooks.index",
            "world",
            45,
            "webhooks.edit",
            "Where rules send messages to, and addresses that start them.",
        ),
    )

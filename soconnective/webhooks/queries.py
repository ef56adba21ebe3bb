"""Reads of webhooks that more than one place needs. What was deleted is not there."""

from __future__ import annotations

from datetime import datetime

from flask import abort
from sqlalchemy import select

from soconnective.core.db import db
from soconnective.webhooks.models import WebhookCall, WebhookDelivery, WebhookEndpoint, WebhookHook


def endpoints() -> list[WebhookEndpoint]:
    rows = select(WebhookEndpoint).where(WebhookEndpoint.deleted_at.is_(None))
    return sorted(db.session.scalars(rows), key=lambda row: row.name.casefold())


def endpoint(endpoint_id: int) -> WebhookEndpoint | None:
    found = db.session.get(WebhookEndpoint, endpoint_id)
    return found if found is not None and found.deleted_at is None else None


def get_endpoint(endpoint_id: int) -> WebhookEndpoint:
    return endpoint(endpoint_id) or abort(404)


def last_delivered(endpoint: WebhookEndpoint) -> datetime | None:
    """When the other side last took a message."""
    taken = select(WebhookDelivery.tried_at).where(
        WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.state == "delivered"
    )
    return db.session.scalar(taken.order_by(WebhookDelivery.id.desc()).limit(1))


def last_received(hook: WebhookHook) -> datetime | None:
    """When the last call came."""
    came = select(WebhookCall.received_at).where(WebhookCall.hook_id == hook.id)
    return db.session.scalar(came.order_by(WebhookCall.id.desc()).limit(1))


def get_delivery(delivery_id: int) -> WebhookDelivery:
    return db.session.get(WebhookDelivery, delivery_id) or abort(404)


def hooks() -> list[WebhookHook]:
    rows = select(WebhookHook).where(WebhookHook.deleted_at.is_(None))
    return sorted(db.session.scalars(rows), key=lambda row: row.name.casefold())


def hook(hook_id: int) -> WebhookHook | None:
    found = db.session.get(WebhookHook, hook_id)
    return found if found is not None and found.deleted_at is None else None


def get_hook(hook_id: int) -> WebhookHook:
    return hook(hook_id) or abort(404)


def get_call(call_id: int) -> WebhookCall:
    return db.session.get(WebhookCall, call_id) or abort(404)


def mapped_names() -> dict[str, str]:
    """The fields that the mappings of all hooks name, with where they come from."""
    found: dict[str, str] = {}
    for row in hooks():
        for name, *rest in row.mapping:
            found.setdefault(name, " in ".join(rest))
    return found

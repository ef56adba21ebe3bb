"""Every write to endpoints and deliveries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from flask import current_app

from soconnective.core import clock
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.secrets import SecretLost, keep_secret, open_secret
from soconnective.core.tenancy import current_tenant_id
from soconnective.events import DomainEvent
from soconnective.jobs import Job, enqueue
from soconnective.jobs.queue import run_again
from soconnective.webhooks.addresses import Allowed, Blocked, allowed_of, target_of
from soconnective.webhooks.causes import mark
from soconnective.webhooks.models import WebhookDelivery, WebhookEndpoint
from soconnective.webhooks.signatures import new_secret

KIND = "deliver_webhook"
LONGEST_BODY = 64 * 1024
OVERLAP = timedelta(hours=24)


def allowed() -> Allowed:
    """The operator's allow-list."""
    return allowed_of(current_app.config["SOCONNECTIVE_WEBHOOK_ALLOW"])


def create_endpoint(name: str, url: str) -> WebhookEndpoint:
    """A new endpoint with a secret; raises `Refused` at "url" for an address that may not be called."""
    endpoint = WebhookEndpoint(name=name, url=_checked(url))
    db.session.add(endpoint)
    db.session.flush()
    rotate_secret(endpoint)
    return endpoint


def update_endpoint(endpoint: WebhookEndpoint, name: str, url: str) -> bool:
    """Rename it or change its address; whether it has a new secret: another address never gets the old one's."""
    endpoint.name = name
    written = _checked(url)
    if written == endpoint.url:
        return False
    endpoint.url = written
    rotate_secret(endpoint)
    return True


def rotate_secret(endpoint: WebhookEndpoint, *, keeps_old: bool = False) -> None:
    """A new secret in place of the old one, which signs too for `OVERLAP`, or nothing any more."""
    old = _readable(endpoint.secret_name) if keeps_old else None
    keep_secret(endpoint.old_secret_name, old)
    endpoint.old_secret_until = clock.now() + OVERLAP if old else None
    keep_secret(endpoint.secret_name, new_secret())
    endpoint.updated_at = clock.now()


def switch_endpoint(endpoint: WebhookEndpoint, is_active: bool, because: str = "") -> None:
    endpoint.is_active, endpoint.off_because = is_active, because


def delete_endpoint(endpoint: WebhookEndpoint) -> None:
    """It is gone for rules and pages, and its secret for good; its deliveries stay until they are old."""
    endpoint.deleted_at, endpoint.is_active = clock.now(), False
    keep_secret(endpoint.secret_name, None)
    forget_old_secret(endpoint)


def forget_old_secret(endpoint: WebhookEndpoint) -> None:
    keep_secret(endpoint.old_secret_name, None)
    endpoint.old_secret_until = None


def signing_secrets(endpoint: WebhookEndpoint) -> list[str]:
    """What signs now: the secret, and the one before for as long as it does. Empty if it cannot be read."""
    secret = _readable(endpoint.secret_name)
    if secret is None:
        return []
    is_kept = endpoint.old_secret_until is not None and clock.now() < endpoint.old_secret_until
    old = _readable(endpoint.old_secret_name) if is_kept else None
    return [secret, old] if old else [secret]


def _readable(name: str) -> str | None:
    try:
        return open_secret(name)
    except SecretLost:
        return None


def deliver(
    endpoint: WebhookEndpoint,
    event_name: str,
    body: Callable[[str], Any],
    event: DomainEvent | None = None,
) -> WebhookDelivery:
    """Write a message and the job that sends it, both in this transaction. `body(id)` is the message with its id."""
    job = enqueue(
        KIND,
        {"about": f"{event_name} to {endpoint.name}"},
        about=(event.record_type, event.record_id) if event else None,
        event_id=event.id if event else None,
    )
    text = json.dumps(body(job.key), ensure_ascii=False, separators=(",", ":"))
    if len(text.encode("utf-8", "replace")) > LONGEST_BODY:
        raise Refused(f"The message is larger than {LONGEST_BODY // 1024} kB.")
    delivery = WebhookDelivery(
        endpoint_id=endpoint.id,
        key=job.key,
        event_name=event_name,
        event_id=event.id if event else None,
        cause=mark(event) if event else "",
        body=text,
    )
    db.session.add(delivery)
    return delivery


def try_endpoint(endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Send a signed `ping`, so that the other side can be tried out."""
    if not endpoint.is_active:
        raise Refused("The endpoint is switched off. Switch it on first.")
    return deliver(endpoint, "ping", _ping)


def _ping(message_id: str) -> Mapping[str, Any]:
    return {
        "type": "ping",
        "id": message_id,
        "occurred_at": clock.now().isoformat(),
        "sent_by": current_actor().name,
        "workspace_id": current_tenant_id(),
    }


def deliver_again(delivery: WebhookDelivery, job: Job | None) -> None:
    """One that was given up is sent once more, under the same id. Raises `Refused`."""
    if delivery.state != "failed" or job is None:
        raise Refused("Only a message that was given up lately can be sent again.")
    run_again(job)
    delivery.state, delivery.said = "waiting", ""


def _checked(url: str) -> str:
    try:
        return target_of(url.strip(), allowed()).url
    except Blocked as blocked:
        raise Refused(str(blocked), "url") from None

"""The job that sends a message: signed anew at each attempt, always under the same id.

2xx is delivered. 410 says that nobody listens there any more: the endpoint is switched off. 429, 408, 5xx,
silence and broken connections are tried again, when the other side says so or later and later. Whatever else
is answered will not get better by repeating it, so it is given up, in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from sqlalchemy import select

from soconnective.automation.undelivered import Undelivered, tell_delivered, tell_undelivered
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.jobs import GiveUp, Job, OutsideJob, RetryLater, register_job
from soconnective.webhooks.addresses import Allowed, Blocked
from soconnective.webhooks.causes import HEADER
from soconnective.webhooks.client import Answer, Caps, NoAnswer, post
from soconnective.webhooks.models import WebhookDelivery, WebhookEndpoint
from soconnective.webhooks.operations import KIND, allowed, signing_secrets, switch_endpoint
from soconnective.webhooks.signatures import signed_headers

CAPS = Caps()
LATEST = 6 * 3600.0  # seconds: whoever asks for more patience than this gets this
GONE = "The other side said that this address is gone (410)."


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be sent, as plain values. Its secrets are not in its `repr`, which may get into a log."""

    delivery_id: int
    url: str
    secrets: tuple[str, ...]
    body: bytes
    cause: str
    allowed: Allowed

    def __repr__(self) -> str:
        return f"Message({self.delivery_id})"


@register_job
class DeliverWebhook(OutsideJob):
    kind, label = KIND, "Call a webhook"
    most_attempts = 10
    pause = 20.0

    def describe(self, payload: Mapping[str, object]) -> str:
        return str(payload.get("about", ""))

    def prepare(self, job: Job) -> Message:
        delivery = delivery_of(job)
        if delivery is None:
            raise GiveUp("the message is not there any more")
        endpoint = db.session.get_one(WebhookEndpoint, delivery.endpoint_id)
        if endpoint.deleted_at is not None or not endpoint.is_active:
            raise GiveUp(
                "The endpoint was deleted." if endpoint.deleted_at else "The endpoint is switched off."
            )
        secrets = signing_secrets(endpoint)
        if not secrets:
            raise GiveUp("The endpoint's secret cannot be read. Make a new one on its page.")
        delivery.state, delivery.attempts, delivery.tried_at = "waiting", delivery.attempts + 1, clock.now()
        return Message(
            delivery.id,
            endpoint.url,
            tuple(secrets),
            delivery.body.encode("utf-8", "replace"),
            delivery.cause,
            allowed(),
        )

    def send(self, prepared: Message, key: str) -> Answer:
        secret, *older = prepared.secrets
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "SoConnective",
            **signed_headers(secret, key, int(clock.now().timestamp()), prepared.body, *older),
            **({HEADER: prepared.cause} if prepared.cause else {}),
        }
        try:
            answer = post(prepared.url, prepared.body, headers, prepared.allowed, CAPS)
        except Blocked as blocked:
            raise GiveUp(str(blocked)) from None
        except NoAnswer as silence:
            _say(prepared.delivery_id, None, str(silence))
            raise RetryLater(str(silence)) from None
        if 200 <= answer.status < 300:
            return answer
        words = _words(answer.status)
        _say(prepared.delivery_id, answer.status, words)
        if answer.status in (408, 425, 429) or answer.status >= 500:
            raise RetryLater(words, retry_after(answer.headers.get("retry-after", ""), clock.now()))
        raise GiveUp(words)

    def record(self, job: Job, result: Answer) -> None:
        delivery = delivery_of(job)
        if delivery is not None:
            delivery.state, delivery.response_code, delivery.said = "delivered", result.status, ""
            if (rule_id := _rule_of(job)) is not None:
                title = _title(job, delivery)
                tell_delivered(delivery.event_id, rule_id, "webhook_delivery", delivery.id, title)

    def gave_up(self, job: Job, reason: str) -> None:
        delivery = delivery_of(job)
        if delivery is not None:
            delivery.state, delivery.said = "failed", reason
            if (rule_id := _rule_of(job)) is not None:
                title = _title(job, delivery)
                what = Undelivered(rule_id, "webhook_delivery", delivery.id, title, reason)
                tell_undelivered(delivery.event_id, what)


def _rule_of(job: Job) -> int | None:
    return job.actor_id if job.actor_kind == "automation" else None


def _title(job: Job, delivery: WebhookDelivery) -> str:
    return str(job.payload.get("about", delivery.event_name))


def delivery_of(job: Job) -> WebhookDelivery | None:
    return db.session.scalars(select(WebhookDelivery).where(WebhookDelivery.key == job.key)).first()


def _say(delivery_id: int, status: int | None, words: str) -> None:
    """Write down at once what was answered, in a transaction of its own: the attempt's is rolled back."""
    with write_transaction():
        delivery = db.session.get(WebhookDelivery, delivery_id)
        if delivery is None:
            return
        delivery.response_code, delivery.said = status, words
        if status == 410:
            endpoint = db.session.get_one(WebhookEndpoint, delivery.endpoint_id)
            switch_endpoint(endpoint, False, GONE)


def _words(status: int) -> str:
    if status == 410:
        return f"{GONE} The endpoint is switched off."
    if 300 <= status < 400:
        return f"The other side answered {status}, which leads elsewhere. Redirects are not followed: write the final address."
    if status in (401, 403):
        return f"The other side answered {status}: it does not accept this call. Does it know the endpoint's secret?"
    return f"The other side answered {status}."


def retry_after(said: str, now: datetime) -> float | None:
    """Seconds to wait, as the other side asks for: a number or a date. None if it says nothing that can be read."""
    said = said.strip()
    if said.isascii() and said.isdigit() and len(said) < 10:
        return min(float(said), LATEST)
    try:
        moment = parsedate_to_datetime(said)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 1.0), LATEST)

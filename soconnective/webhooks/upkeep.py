"""Calls, refusals and deliveries are kept for a while, so that people can see what came and went, and then deleted.

Old secrets that sign nothing any more are forgotten.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from soconnective.core import clock
from soconnective.core.db import db
from soconnective.jobs import Again, Job, JobKind, register_daily
from soconnective.webhooks.models import WebhookCall, WebhookDelivery, WebhookEndpoint, WebhookRefusal
from soconnective.webhooks.operations import forget_old_secret

KEPT = timedelta(days=90)
SLICE = 500


@register_daily
class PruneWebhooks(JobKind):
    """Deletes a workspace's old calls and deliveries, a slice at a time, and secrets whose time is over."""

    kind, label = "prune_webhooks", "Forget old webhooks"

    def run(self, job: Job) -> Again | None:
        before = clock.now() - KEPT
        for endpoint in db.session.scalars(
            select(WebhookEndpoint).where(WebhookEndpoint.old_secret_until < clock.now())
        ):
            forget_old_secret(endpoint)
        statements = (
            select(WebhookCall).where(WebhookCall.received_at < before),
            select(WebhookRefusal).where(WebhookRefusal.at < before),
            select(WebhookDelivery).where(
                WebhookDelivery.created_at < before, WebhookDelivery.state != "waiting"
            ),
        )
        is_full = False
        for statement in statements:
            rows = list(db.session.scalars(statement.limit(SLICE)))
            for row in rows:
                db.session.delete(row)
            is_full = is_full or len(rows) == SLICE
        return Again(job.payload) if is_full else None

"""Notifications are kept for a while, read or not, and then deleted by a job, a slice at a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import current_app

from soconnective.core import clock
from soconnective.jobs import Again, Job, JobKind, Tick, register_job, register_tick
from soconnective.jobs.upkeep import enqueue_everywhere, prune
from soconnective.notifications.models import Notification

SLICE = 1000


@register_job
class PruneNotifications(JobKind):
    kind, label = "prune_notifications", "Forget old notifications"

    def run(self, job: Job) -> Again | None:
        table: Any = Notification.__table__
        days = current_app.config["SOCONNECTIVE_KEEP_NOTIFICATIONS_DAYS"]
        is_old = table.c.created_at < clock.now() - timedelta(days=days)
        return Again(job.payload) if prune(table, SLICE, is_old) else None


def _prune(now: datetime) -> None:
    enqueue_everywhere(PruneNotifications.kind, f"{PruneNotifications.kind}-{now:%Y-%m-%d}")


register_tick(Tick("prune_notifications", timedelta(hours=6), _prune))

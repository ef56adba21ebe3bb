"""Notifications are kept for a while, read or not, and then deleted by a job, a slice at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import current_app

from soconnective.core import clock
from soconnective.jobs import Again, Job, JobKind, register_daily
from soconnective.jobs.upkeep import prune
from soconnective.notifications.models import Notification

SLICE = 1000


@register_daily
class PruneNotifications(JobKind):
    kind, label = "prune_notifications", "Forget old notifications"

    def run(self, job: Job) -> Again | None:
        table: Any = Notification.__table__
        days = current_app.config["SOCONNECTIVE_KEEP_NOTIFICATIONS_DAYS"]
        is_old = table.c.created_at < clock.now() - timedelta(days=days)
        return Again(job.payload) if prune(table, SLICE, is_old) else None

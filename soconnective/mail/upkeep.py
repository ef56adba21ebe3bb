"""Old mails are forgotten: those held back after a month, the others after a year."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from soconnective.core import clock
from soconnective.jobs import Again, Job, JobKind
from soconnective.jobs.upkeep import prune
from soconnective.mail.models import MailMessage

KEPT = {"suppressed": timedelta(days=30), "sent": timedelta(days=365), "failed": timedelta(days=365)}
SLICE = 1000


class PruneMail(JobKind):
    """Deletes a workspace's old mails, a slice at a time; what waits is never among them."""

    kind, label = "prune_mail", "Forget old mails"

    def run(self, job: Job) -> Again | None:
        table: Any = MailMessage.__table__
        c = table.c
        for state, kept in KEPT.items():
            if prune(table, SLICE, c.state == state, c.created_at < clock.now() - kept):
                return Again(job.payload)
        return None

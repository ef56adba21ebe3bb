"""Jobs for the crash proof: one whose effect is a row, one whose effect leaves the house (a line in a file)."""

from __future__ import annotations

import os
import secrets
from typing import Any

from soconnective.contacts.operations import create_company
from soconnective.jobs import Again, JobKind, OutsideJob
from soconnective.jobs.models import Job
from soconnective.webhooks.sending import DeliverWebhook


class InsideErrand(JobKind):
    """Makes a company; an errand of several parts makes one in each."""

    kind, label = "inside_errand", "An errand inside"

    def run(self, job: Job) -> Again | None:
        left = job.payload["parts"]
        create_company(f"inside {job.payload['number']} part {left}")
        return Again({**job.payload, "parts": left - 1}) if left > 1 else None


class OutsideErrand(OutsideJob):
    """Writes a line to a file that stands for the other side, then makes a company."""

    kind, label = "outside_errand", "An errand outside"

    def prepare(self, job: Job) -> dict[str, Any]:
        return dict(job.payload)

    def send(self, prepared: Any, key: str) -> str:
        handle = os.open(prepared["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{key} {prepared['number']}\n".encode())
        os.close(handle)
        return str(prepared["number"])

    def record(self, job: Job, result: str) -> None:
        create_company(f"outside {result}")


def careless_perform(*args: Any, **options: Any) -> None:
    """Planted: saves what a waiting run goes on to do before the run says so."""
    from soconnective.automation.attempt import perform
    from soconnective.core.db import db

    perform(*args, **options)
    db.session.commit()


class CarelessErrand(InsideErrand):
    """Planted: saves its effect before the job is finished."""

    def run(self, job: Job) -> Again | None:
        from soconnective.core.db import db

        found = super().run(job)
        db.session.commit()
        return found


class CarelessDelivery(DeliverWebhook):
    """Planted: each attempt has an id of its own, so that the other side cannot tell a second one."""

    def send(self, prepared: Any, key: str) -> Any:
        return super().send(prepared, f"{key}-{secrets.token_hex(4)}")

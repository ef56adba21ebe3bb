"""Kinds of jobs for the tests, and a worker that is turned by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flask import Flask

from soconnective.contacts.operations import create_company
from soconnective.jobs import Again, GiveUp, JobKind, OutsideJob, RetryLater, Worker, kinds, register_job
from soconnective.jobs.models import Job


class MakeCompany(JobKind):
    """Makes the company that its payload names; what goes wrong is planted in `plant`."""

    kind, label = "make_company", "Make a company"
    plant: Any = None
    buried: list[str] = []

    def describe(self, payload: Mapping[str, Any]) -> str:
        return str(payload["name"])

    def run(self, job: Job) -> Again | None:
        create_company(job.payload["name"])
        if type(self).plant is not None:
            return type(self).plant(job)  # type: ignore[no-any-return]
        return None

    def gave_up(self, job: Job, reason: str) -> None:
        type(self).buried.append(reason)


class Send(OutsideJob):
    """Sends a word to a list that stands for the outside."""

    kind, label = "send_word", "Send a word"
    outside: list[tuple[str, str]] = []
    plant: Any = None

    def prepare(self, job: Job) -> str:
        return str(job.payload["word"])

    def send(self, prepared: str, key: str) -> str:
        type(self).outside.append((key, prepared))
        if type(self).plant is not None:
            type(self).plant()
        return prepared.upper()

    def record(self, job: Job, result: str) -> None:
        create_company(result)


@pytest.fixture(autouse=True)
def pieces() -> Iterator[None]:
    for piece in (MakeCompany, Send):
        register_job(piece)
        piece.plant = None
    MakeCompany.buried, Send.outside = [], []
    yield
    for piece in (MakeCompany, Send):
        kinds._kinds.pop(piece.kind, None)


@pytest.fixture
def worker(app: Flask) -> Worker:
    return Worker(app, poll=0.01)


def give_up(_job: Any = None) -> None:
    raise GiveUp("it will never work")


def retry(seconds: float | None = None) -> Any:
    def plant(_job: Any = None) -> None:
        raise RetryLater("not now", seconds)

    return plant

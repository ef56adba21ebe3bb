"""What a job is to those who write one: its kind, and the ways in which it can end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from soconnective.jobs.models import Job


class RetryLater(Exception):
    """It did not work this time. `seconds` says when to try again (else the back-off does)."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


class GiveUp(Exception):
    """It will never work; the message says why, to people."""


@dataclass(frozen=True, slots=True)
class Again:
    """Returned by a job that has more to do: go on with `payload`, at `at` (None: at once)."""

    payload: Mapping[str, Any]
    at: datetime | None = None


class JobKind:
    """A kind of job. `run` is called in the transaction that also finishes the job: both happen, or neither.

    `label` is what people read. `most_attempts` failures make it dead; between them is `pause` seconds,
    doubled each time up to `longest_pause`, with jitter.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    most_attempts: ClassVar[int] = 3
    pause: ClassVar[float] = 10.0
    longest_pause: ClassVar[float] = 3600.0

    def describe(self, payload: Mapping[str, Any]) -> str:
        """What this one is about, in a few words."""
        return ""

    def run(self, job: Job) -> Again | None:
        raise NotImplementedError

    def gave_up(self, job: Job, reason: str) -> None:
        """Called in the transaction in which the job becomes dead: whoever waits for it can be told."""


class OutsideJob(JobKind):
    """A job whose effect leaves the house: nothing is sent while a transaction is open.

    `prepare` reads what is to be sent, as plain values; `send` sends it, with the job's `key` so that the
    other side can tell a second attempt; `record` writes down what came of it, in the transaction that
    finishes the job, and may say that there is more to do (`Again`). A worker that dies between the two sends
    again, with the same key.
    """

    most_attempts = 8
    pause = 15.0

    def prepare(self, job: Job) -> Any:
        raise NotImplementedError

    def send(self, prepared: Any, key: str) -> Any:
        raise NotImplementedError

    def record(self, job: Job, result: Any) -> Again | None:
        raise NotImplementedError


@dataclass(frozen=True)
class Tick:
    """Something that the scheduler does every so often, in one worker at a time.

    `run(now)` makes its own transactions. It must find out itself what is due: a tick may come late.
    """

    name: str
    every: timedelta
    run: Callable[[datetime], None]


_kinds: dict[str, JobKind] = {}
_ticks: dict[str, Tick] = {}


def register_job(kind: type[JobKind]) -> type[JobKind]:
    _kinds[kind.kind] = kind()
    return kind


def register_tick(tick: Tick) -> None:
    _ticks[tick.name] = tick


def job_kind(name: str) -> JobKind | None:
    return _kinds.get(name)


def job_kinds() -> dict[str, JobKind]:
    return dict(_kinds)


def ticks() -> list[Tick]:
    return list(_ticks.values())

"""The queue: enqueued in the caller's transaction, claimed with a lease, finished behind a fence.

A claim is one statement: it takes due rows (`next_at` is the due time of a ready job and the end of the
lease of a running one), counts the attempt before anything runs, and hands out a new token. Rows that
another worker is claiming are passed over (SKIP LOCKED; SQLite has one writer anyway).
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, select, text, update
from sqlalchemy.exc import IntegrityError

from soconnective.core import clock
from soconnective.core.access import Actor, current_actor
from soconnective.core.db import db, read_transaction, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import current_tenant_id
from soconnective.jobs.kinds import GiveUp, JobKind, RetryLater, job_kind
from soconnective.jobs.models import LIVE, Job

LEASE = timedelta(seconds=120)
MOST_DEATHS = 3
LOST = "the worker was lost while it ran this"
CLAIMS = "soconnective.claims"  # row-level security shows every workspace's jobs to a transaction with this setting
_j: Any = Job.__table__.c


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a worker holds until `until`; `token` proves it."""

    id: int
    tenant_id: int
    kind: str
    token: int
    state: str
    until: datetime


def enqueue(
    kind: str,
    payload: Mapping[str, Any] | None = None,
    *,
    at: datetime | None = None,
    key: str | None = None,
    about: tuple[str, int] | None = None,
    event_id: int | None = None,
    actor: Actor | None = None,
) -> Job:
    """Add a job to the current transaction, to run at `at` (None: as soon as it is committed).

    With a `key` that exists in this workspace already, that job is returned and nothing is added. Raises
    `KeyError` for a kind that nobody registered.
    """
    if job_kind(kind) is None:
        raise KeyError(kind)
    if key is not None and (found := _with_key(key)) is not None:
        return found
    actor = actor or current_actor()
    job = Job(
        tenant_id=current_tenant_id(),
        kind=kind,
        key=key or f"{kind}-{secrets.token_hex(16)}",
        payload=dict(payload or {}),
        next_at=at or clock.now(),
        record_type=about[0] if about else None,
        record_id=about[1] if about else None,
        event_id=event_id,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
    )
    if key is None:
        db.session.add(job)
        return job
    try:
        with db.session.begin_nested():
            db.session.add(job)
    except IntegrityError:  # another worker enqueued it in this moment
        if (found := _with_key(key)) is None:
            raise
        return found
    return job


def _with_key(key: str) -> Job | None:
    return db.session.scalars(select(Job).where(Job.key == key)).first()


def cancel(job: Job) -> None:
    """Take a job back that has not begun. Raises `Refused`."""
    if job.state not in ("ready", "dead"):
        raise Refused("It is running or has ended already.")
    job.state, job.finished_at = "cancelled", clock.now()


def run_again(job: Job) -> None:
    """Let a job that was given up run once more, with all its attempts. Raises `Refused`."""
    if job.state != "dead":
        raise Refused("Only what was given up can be run again.")
    job.state, job.next_at, job.finished_at = "ready", clock.now(), None
    job.attempts = job.deaths = 0


# --- what workers do: across the workspaces, before one of them is entered --------------------------


def _across(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT set_config('{CLAIMS}', 'on', true)"))


def due_in() -> float | None:
    """Seconds until the next job is due (negative: it is late), or None if there is none. A read."""
    with read_transaction():
        connection = db.session.connection()
        _across(connection)
        first = connection.execute(select(func.min(_j.next_at)).where(LIVE)).scalar()
    return None if first is None else (first - clock.now()).total_seconds()


def claim(worker: str, limit: int) -> list[Claim]:
    """Take up to `limit` due jobs for `worker`, earliest first. What killed its workers becomes dead here."""
    now = clock.now()
    until = now + LEASE
    due = (
        select(_j.id)
        .where(LIVE, _j.next_at <= now)
        .order_by(_j.next_at, _j.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
        .prefix_with("MATERIALIZED")
    )
    was_running = _j.state == "running"
    is_dead = was_running & (_j.deaths + 1 >= MOST_DEATHS)
    statement = (
        update(Job.__table__)  # type: ignore[arg-type]
        .where(_j.id.in_(select(due.c.id)))
        .values(
            state=case((is_dead, "dead"), else_="running"),
            finished_at=case((is_dead, now), else_=None),
            deaths=_j.deaths + case((was_running, 1), else_=0),
            error=case((was_running, LOST), else_=_j.error),
            attempts=_j.attempts + 1,
            token=_j.token + 1,
            worker=worker,
            next_at=until,
        )
        .returning(_j.id, _j.tenant_id, _j.kind, _j.token, _j.state)
    )
    with write_transaction():
        connection = db.session.connection()
        _across(connection)
        rows = connection.execute(statement).all()
    return [
        Claim(r.id, r.tenant_id, r.kind, r.token, r.state, until) for r in sorted(rows, key=lambda r: r.id)
    ]


def give_back(claims: list[Claim]) -> None:
    """Return jobs that were claimed and never begun: they are due again, and it was no attempt."""
    for one in claims:
        _fenced(one, {"state": "ready", "next_at": clock.now(), "attempts": _j.attempts - 1, "worker": None})


def postpone(claim: Claim, kind: JobKind | None, error: BaseException, reason: str) -> str:
    """After a failure: ready again once its pause is over, or dead. Returns the state ("lost": not ours any more)."""
    with write_transaction():
        job = hold(claim)
        if job is None:
            return "lost"
        job.error, job.worker = reason, None
        if kind is None or not may_retry(kind, job, error):
            job.state, job.finished_at = "dead", clock.now()
            if kind is not None:
                kind.gave_up(job, reason)
        else:
            job.state, job.next_at = "ready", clock.now() + timedelta(seconds=pause(kind, job, error))
        return job.state


def may_retry(kind: JobKind, job: Job, error: BaseException) -> bool:
    return not isinstance(error, GiveUp) and job.attempts < kind.most_attempts


def pause(kind: JobKind, job: Job, error: BaseException) -> float:
    """Seconds until the next attempt: doubled each time, and spread so that not all come back at once."""
    if isinstance(error, RetryLater) and error.seconds is not None:
        return max(error.seconds, 1.0)
    whole = min(kind.pause * 2 ** (job.attempts - 1), kind.longest_pause)
    return float(whole * random.uniform(0.5, 1.5))


def hold(claim: Claim) -> Job | None:
    """The job's row, locked for this transaction, if the claim still holds; else None."""
    job = db.session.get(Job, claim.id, with_for_update=True, populate_existing=True)
    if job is None or job.token != claim.token or job.state != "running":
        return None
    return job


def _fenced(claim: Claim, values: dict[str, Any]) -> None:
    with write_transaction():
        connection = db.session.connection()
        _across(connection)
        mine = (_j.id == claim.id) & (_j.token == claim.token) & (_j.state == "running")
        connection.execute(update(Job.__table__).where(mine).values(values))  # type: ignore[arg-type]

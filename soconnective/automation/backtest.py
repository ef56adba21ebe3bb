"""A backtest: what a rule would have said of the last events, and what it would have done.

The job works between its transactions. It reads a part of the events, tries the rule on each in slices of at
most a tenth of a second or so, every slice a transaction that is rolled back, and writes down what came of it
in a transaction of its own. So nothing stays of what is tried, and nobody waits for it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import current_app
from sqlalchemy import func, insert, select

from soconnective.automation.candidates import Rule
from soconnective.automation.definition import Definition, parse
from soconnective.automation.engine import Bounds, Chain
from soconnective.automation.execution import Job as Performance
from soconnective.automation.execution import may_share
from soconnective.automation.models import Automation
from soconnective.automation.sweep_models import Sweep, SweepRow
from soconnective.automation.sweeps import begin, end, held
from soconnective.automation.trace import MAX_DETAIL, Run, clean
from soconnective.automation.trial import Busy, as_rule, attempt, attempt_together, judge
from soconnective.core import clock
from soconnective.core.db import db, discarded_transaction
from soconnective.core.errors import Refused
from soconnective.core.registry import registry
from soconnective.core.tenancy import current_tenant_id
from soconnective.events import DomainEvent, EventRow
from soconnective.jobs import Again, Job, OutsideJob, register_job

MOST_EVENTS, MOST_DAYS = 10_000, 90
PART = 500  # events read at once
SLICE = 0.08  # seconds in one transaction; a trial that has begun ends first
TURN = 1.5  # seconds between two signs of progress
BREATH = 0.01  # seconds between slices, for those who wait to write
TOGETHER = 10  # events whose trials may share a savepoint
PATIENCE = 40  # tries of an event whose record somebody is changing
KEPT = 200  # rows of each outcome
GONE = "it matched; what it would have done cannot be tried, since its record is gone"
WEEK = timedelta(weeks=1)
DAY = timedelta(days=1)
# outcome: how people read it
OUTCOMES = {
    "succeeded": "would have run",
    "partly_succeeded": "would have run in part",
    "failed": "would have failed",
    "gone": "matched; its record is gone",
    "cancelled": "would have ended early",
    "skipped": "would have been stopped",
    "not_matched": "did not match",
}
RUNS = ("succeeded", "partly_succeeded", "failed", "gone", "cancelled")


def start_backtest(
    definition: Definition, rule: Automation | None, *, events: int | None = None, days: int | None = None
) -> Sweep:
    """Begin a backtest on the last `events`, or on those of the last `days`. Raises `Refused`."""
    if definition.broken:
        raise Refused(f"It cannot be tested: {definition.broken}.")
    now = clock.now()
    mine = select(EventRow.id, EventRow.occurred_at).where(EventRow.name == definition.trigger.type_id)
    if days is not None:
        mine = mine.where(EventRow.occurred_at >= now - days * DAY)
    newest = mine.order_by(EventRow.id.desc()).limit(events or MOST_EVENTS).subquery()
    total, first, last, since = db.session.execute(
        select(func.count(), func.min(newest.c.id), func.max(newest.c.id), func.min(newest.c.occurred_at))
    ).one()
    if not total:
        raise Refused("Nothing of this kind has happened yet, so there is nothing to test it on.", "number")
    is_all = total < (events or MOST_EVENTS)
    if is_all:  # then the time without any counts, too
        oldest = db.session.scalar(select(EventRow.occurred_at).order_by(EventRow.id).limit(1))
        since = min(oldest or since, since)
        since = max(since, now - days * DAY) if days is not None else since
    return begin(
        Backtest.kind,
        "backtest",
        definition,
        rule,
        asked=f"the last {days} days" if days is not None else f"the last {events:,} events",
        total=total,
        last_id=first - 1,
        until_id=last,
        since=since,
    )


def runs_a_week(sweep: Sweep) -> float:
    """How often it would have run in a week, from what was looked at so far."""
    number = sum(sweep.counts.get(outcome, 0) for outcome in RUNS)
    share = sweep.done / sweep.total if sweep.total else 1
    span = max((sweep.started_at - sweep.since) * share, DAY)
    return float(number / (span / WEEK))


@dataclass(slots=True)
class Part:
    """What one turn of the job works on."""

    rule: Rule
    is_draft: bool
    events: list[DomainEvent]
    chain: Chain
    root_id: int | None
    room: Counter[str]  # rows that may still be kept, by outcome
    alive: set[int] = field(default_factory=set)  # the records that exist still


@dataclass(slots=True)
class Found:
    """What came of a turn."""

    done: int = 0
    last_id: int = 0
    root_id: int | None = None
    ran: list[list[Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rows: list[dict[str, Any]] = field(default_factory=list)


@register_job
class Backtest(OutsideJob):
    """Nothing leaves the house here; it is the way of a job that works while no transaction is open."""

    kind = "automation.backtest"
    label = "Backtest a rule"
    most_attempts = 3

    def describe(self, payload: Mapping[str, Any]) -> str:
        sweep = db.session.get(Sweep, payload.get("sweep_id") or 0)
        return parse(sweep.definition).name if sweep else "a backtest that is gone"

    def prepare(self, job: Job) -> Part | None:
        sweep = held(job.payload["sweep_id"])
        if sweep is None:
            return None
        definition = parse(sweep.definition)
        rows = db.session.scalars(
            select(EventRow)
            .where(
                EventRow.name == definition.trigger.type_id,
                EventRow.id > sweep.last_id,
                EventRow.id <= sweep.until_id,
                EventRow.occurred_at >= sweep.since,
            )
            .order_by(EventRow.id)
            .limit(PART)
        )
        kept = (
            select(SweepRow.outcome, func.count())
            .where(SweepRow.sweep_id == sweep.id)
            .group_by(SweepRow.outcome)
        )
        room = Counter(dict.fromkeys(OUTCOMES, KEPT))
        room.subtract({row[0]: row[1] for row in db.session.execute(kept)})
        rule = Rule(sweep.automation_id or 0, sweep.number or 0, definition)
        chain = _chain()
        chain.ran = {(rule.id, kind, record_id) for kind, record_id in job.payload.get("ran", ())}
        return Part(
            rule,
            sweep.automation_id is None,
            [row.as_event() for row in rows],
            chain,
            job.payload.get("root"),
            room,
        )

    def send(self, prepared: Part | None, key: str) -> Found | None:
        return None if prepared is None else work(prepared)

    def record(self, job: Job, result: Found | None) -> Again | None:
        sweep = held(job.payload["sweep_id"])
        if sweep is None or result is None:
            return None
        sweep.counts = dict(Counter(sweep.counts) + result.counts)
        if result.rows:
            common = {"tenant_id": current_tenant_id(), "sweep_id": sweep.id}
            rows = [{**common, **row} for row in result.rows]
            db.session.connection().execute(insert(SweepRow.__table__), rows)  # type: ignore[arg-type]
        sweep.done += result.done
        if not result.done:
            end(sweep, "done")
            return None
        sweep.last_id = result.last_id
        return Again({"sweep_id": sweep.id, "root": result.root_id, "ran": result.ran})

    def gave_up(self, job: Job, reason: str) -> None:
        sweep = held(job.payload["sweep_id"])
        if sweep is not None:
            end(sweep, "failed", reason)


def _chain() -> Chain:
    """The bounds that the stored events tell of: how deep they stand, and what has run for them before."""
    depth = current_app.config["SOCONNECTIVE_RULE_DEPTH"]
    endless = 10**9
    return Chain(Bounds(depth, runs=endless, actions=endless, seconds=endless))


def work(part: Part) -> Found:
    """Slice after slice, until the turn is over or the part is through."""
    found = Found(root_id=part.root_id)
    waiting, tries = list(reversed(part.events)), 0
    until = time.monotonic() + TURN
    size = TOGETHER if may_share(part.rule.definition) else 1
    while waiting and time.monotonic() < until:
        try:
            _slice(part, waiting, found, 1 if tries else size)
            tries = 0
        except Busy:
            tries += 1
            if tries >= PATIENCE:
                event = waiting.pop()
                run = Run(
                    event,
                    part.rule.id,
                    part.rule.number,
                    "failed",
                    "its record was being changed all the time",
                )
                _keep(part, found, event, run, ())
            time.sleep(BREATH * 5)
        time.sleep(BREATH)
    found.ran = [[kind, record_id] for _rule, kind, record_id in part.chain.ran]
    return found


def _slice(part: Part, waiting: list[DomainEvent], found: Found, size: int) -> None:
    """Try events in one transaction that is rolled back, each in a savepoint of its own or some in one."""
    with discarded_transaction():
        rule = as_rule(part.rule.definition, None) if part.is_draft else part.rule
        until = time.monotonic() + SLICE
        try:
            while waiting and time.monotonic() < until:
                kept = set(part.chain.ran), found.root_id
                try:
                    jobs = _judged(part, rule, waiting[: -size - 1 : -1], found)
                    _perform([job for job in jobs if not job.run.outcome])
                except Busy:  # all of them again, then
                    part.chain.ran, found.root_id = kept
                    raise
                for job in jobs:
                    _keep(part, found, waiting.pop(), job.run, job.caused)
        finally:
            db.session.expunge_all()


def _judged(part: Part, rule: Rule, events: Sequence[DomainEvent], found: Found) -> list[Performance]:
    """What the engine would have said of `events`: those that match and may run have no outcome yet."""
    session, jobs = db.session(), []
    part.alive = part.alive or _alive(part.events)
    for event in events:
        root_id = event.root_id or event.id
        if root_id != found.root_id:
            found.root_id = root_id
            part.chain.ran.clear()
        with clock.at(event.occurred_at):
            run = judge(session, rule, event)
        if not run.outcome:
            if reason := part.chain.stopped(event, part.rule):
                run.outcome, run.detail = "skipped", f"stopped: {reason}"
            else:
                part.chain.count(event, part.rule)
        if not run.outcome and not event.name.endswith(".deleted") and event.record_id not in part.alive:
            run.outcome, run.detail = "gone", GONE
        jobs.append(Performance(event, rule, run, is_trial=True))
    return jobs


def _perform(jobs: list[Performance]) -> None:
    session = db.session()
    if len(jobs) > 1 and attempt_together(session, jobs):  # more than one: they may share
        return
    for job in jobs:
        with clock.at(job.event.occurred_at):
            attempt(session, job)


def _alive(events: Sequence[DomainEvent]) -> set[int]:
    """Which of the records exist still."""
    kind = registry.record_types.get(events[0].record_type)
    if kind is None:
        return set()
    ids = {event.record_id for event in events}
    return set(db.session.scalars(select(kind.model.id).where(kind.model.id.in_(ids))))


def is_gone(event: DomainEvent) -> bool:
    """Whether the record is no more: what a rule would do with it cannot be tried."""
    kind = registry.record_types.get(event.record_type)
    return not event.name.endswith(".deleted") and (kind is None or kind.get(event.record_id) is None)


def _keep(part: Part, found: Found, event: DomainEvent, run: Run, caused: Sequence[DomainEvent]) -> None:
    found.done += 1
    found.last_id = event.id or 0
    found.counts[run.outcome] += 1
    part.room[run.outcome] -= 1
    if part.room[run.outcome] < 0:
        return
    further = list(dict.fromkeys(fact.name for fact in caused))
    found.rows.append(
        {
            "event_id": event.id,
            "record_type": event.record_type,
            "record_id": event.record_id,
            "title": clean(title_of(event.snapshot))[:200],
            "occurred_at": event.occurred_at,
            "outcome": run.outcome,
            "detail": clean(run.detail)[:MAX_DETAIL],
            "trace": clean({"checks": run.checks, "steps": run.steps, "further": further}),
        }
    )


def title_of(snapshot: Mapping[str, Any]) -> str:
    """How people call the record of a snapshot."""
    return str(snapshot.get("title") or snapshot.get("name") or snapshot.get("body") or "")

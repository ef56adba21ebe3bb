"""A backtest: what a rule would have said of the last events, and what it would have done.

The job works between its transactions. It reads a part of the events, tries the rule on each in slices of at
most a tenth of a second or so, every slice a transaction that is rolled back, and writes down what came of it
in a transaction of its own. So nothing stays of what is tried, and nobody waits for it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import current_app
from sqlalchemy import func, insert, select

from soconnective.automation.candidates import Rule
from soconnective.automation.definition import Definition, parse
from soconnective.automation.engine import Bounds, Chain
from soconnective.automation.execution import Job as Performance
from soconnective.automation.models import Automation
from soconnective.automation.sweep_models import Sweep, SweepRow
from soconnective.automation.sweeps import begin, end, held
from soconnective.automation.trace import MAX_DETAIL, clean
from soconnective.automation.trial import Busy, Trial, as_rule, attempt, judge
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
BREATH = 0.005  # seconds between slices, for those who wait to write
PATIENCE = 40  # tries of an event whose record somebody is changing
KEPT = 200  # rows of each outcome
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
    while waiting and time.monotonic() < until:
        try:
            _slice(part, waiting, found)
            tries = 0
        except Busy:
            tries += 1
            if tries >= PATIENCE:
                _keep(part, found, waiting.pop(), "failed", "its record was being changed all the time")
            time.sleep(BREATH * 5)
        time.sleep(BREATH)
    found.ran = [[kind, record_id] for _rule, kind, record_id in part.chain.ran]
    return found


def _slice(part: Part, waiting: list[DomainEvent], found: Found) -> None:
    """Try event after event in one transaction that is rolled back, each in a savepoint of its own."""
    with discarded_transaction():
        rule = as_rule(part.rule.definition, None) if part.is_draft else part.rule
        until = time.monotonic() + SLICE
        try:
            while waiting and time.monotonic() < until:
                tried, why = _try(part, rule, waiting[-1], found)
                _keep(part, found, waiting.pop(), tried.run.outcome, why or tried.run.detail, tried)
        finally:
            db.session.expunge_all()


def _try(part: Part, rule: Rule, event: DomainEvent, found: Found) -> tuple[Trial, str]:
    """What the engine would have said and done."""
    root_id = event.root_id or event.id
    if root_id != found.root_id:
        found.root_id = root_id
        part.chain.ran.clear()
    session = db.session()
    with clock.at(event.occurred_at):
        run = judge(session, rule, event)
        job = Performance(event, rule, run)
        if run.outcome:
            return Trial(run), ""
        if reason := part.chain.stopped(event, part.rule):
            run.outcome = "skipped"
            return Trial(run), f"stopped: {reason}"
        if is_gone(event):
            run.outcome = "gone"
            part.chain.count(event, part.rule)
            return Trial(run), "it matched; what it would have done cannot be tried, since its record is gone"
        attempt(session, job)
        part.chain.count(event, part.rule)
        return Trial(run, tuple(dict.fromkeys(fact.name for fact in job.caused))), ""


def is_gone(event: DomainEvent) -> bool:
    """Whether the record is no more: what a rule would do with it cannot be tried."""
    kind = registry.record_types.get(event.record_type)
    return not event.name.endswith(".deleted") and (kind is None or kind.get(event.record_id) is None)


def _keep(
    part: Part, found: Found, event: DomainEvent, outcome: str, detail: str, tried: Trial | None = None
) -> None:
    found.done += 1
    found.last_id = event.id or 0
    found.counts[outcome] += 1
    part.room[outcome] -= 1
    if part.room[outcome] < 0:
        return
    trace = {"checks": tried.run.checks, "steps": tried.run.steps, "further": tried.further} if tried else {}
    found.rows.append(
        {
            "event_id": event.id,
            "record_type": event.record_type,
            "record_id": event.record_id,
            "title": clean(title_of(event.snapshot))[:200],
            "occurred_at": event.occurred_at,
            "outcome": outcome,
            "detail": clean(detail)[:MAX_DETAIL],
            "trace": clean(trace),
        }
    )


def title_of(snapshot: Mapping[str, Any]) -> str:
    """How people call the record of a snapshot."""
    return str(snapshot.get("title") or snapshot.get("name") or snapshot.get("body") or "")

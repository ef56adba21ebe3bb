"""Firing what is due: the tick takes due rows and enqueues a job for each, which tells the event to its rule.

A row is taken in the transaction that enqueues its job, and fired in the transaction that stores the event and the
run: two workers, or one that dies, fire it once. What it is due for is reckoned again then, so that a record changed
behind our back, a rule switched off, another time zone or other hours are respected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from soconnective.automation.due import FIRE, SCHEDULE, due_of, mark_fired, value_text
from soconnective.automation.due_missed import is_over
from soconnective.automation.due_models import EVERY_RECORD, PLANNED, AutomationDue, due
from soconnective.automation.due_plan import rule_of, values_of
from soconnective.automation.hours import work_hours
from soconnective.automation.models import Automation
from soconnective.automation.queries import rule_in_words
from soconnective.automation.timed import Timed, addressed_event, schedule_actor
from soconnective.core import clock
from soconnective.core.access import Actor
from soconnective.core.db import db, read_transaction, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.core.workspace import workspace_ids
from soconnective.events import tell
from soconnective.jobs import Again, Job, JobKind, Tick, enqueue, register_daily, register_job, register_tick
from soconnective.jobs.upkeep import prune

SLICE = 200
MOST_SLICES = 20  # of one workspace in one tick: then it is the others' turn
KEPT = timedelta(days=400)
ACTOR = Actor("schedule", None, "Schedule")
_c: Any = due.c


def take_due(now: datetime) -> int:
    """Enqueue a job for each row that is due, workspace by workspace; returns how many."""
    taken = 0
    for tenant_id in workspace_ids():
        with acting_in(tenant_id):
            with read_transaction():
                is_due = db.session.execute(_due(tenant_id, now).limit(1)).first() is not None
            for _ in range(MOST_SLICES if is_due else 0):
                with write_transaction():
                    found = _take(tenant_id, now)
                taken += found
                if found < SLICE:
                    break
    return taken


def _due(tenant_id: int, now: datetime) -> Any:
    return select(_c.id).where(_c.tenant_id == tenant_id, PLANNED, _c.at <= now).order_by(_c.at, _c.id)


def _take(tenant_id: int, now: datetime) -> int:
    first = (
        _due(tenant_id, now)
        .limit(SLICE)
        .with_for_update(skip_locked=True)
        .cte("first")
        .prefix_with("MATERIALIZED")
    )
    statement = (
        update(due)
        .where(_c.tenant_id == tenant_id, _c.id.in_(select(first.c.id)))
        .values(state="taken")
        .returning(_c.id, _c.automation_id, _c.record_type, _c.record_id)
    )
    rows = db.session.connection().execute(statement).all()
    for row in sorted(rows, key=lambda row: row.id):
        is_one = row.record_id != EVERY_RECORD
        enqueue(
            FIRE if is_one else SCHEDULE,
            {"due_id": row.id, "automation_id": row.automation_id},
            about=(row.record_type, row.record_id) if is_one else None,
            actor=ACTOR,
        )
    return len(rows)


def held(job: Job) -> AutomationDue | None:
    """The due row of a job, locked, if it still is to be fired."""
    return db.session.scalars(
        select(AutomationDue)
        .where(AutomationDue.id == job.payload["due_id"], AutomationDue.state == "taken")
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()


@register_job
class FireDue(JobKind):
    """Tells the event of one due row; the rule runs in this transaction, fenced as ever.

    A rule that is off meanwhile is asked, and its run says that it was off. The row of one that is paused is held.
    """

    kind = FIRE
    label = "A rule is due"

    def describe(self, payload: Mapping[str, Any]) -> str:
        return rule_in_words(payload)

    def run(self, job: Job) -> None:
        row = held(job)
        if row is None:  # moved, taken back, or fired
            return
        found = db.session.get_one(Automation, row.automation_id)
        if found.holds:
            return
        rule = rule_of(found)
        trigger = rule.definition.trigger
        if found.deleted_at or not isinstance(trigger, Timed) or trigger.record_type != row.record_type:
            db.session.delete(row)
            return
        value = values_of(trigger, [row.record_id]).get(row.record_id)
        want = due_of(trigger, value, work_hours())
        is_to_come = want is not None and want[1] > clock.now()
        has_fired = want is not None and want[0] != row.due_value and _has_fired(row, value_text(value))
        if want is None or has_fired or (is_to_come and not found.looks):
            db.session.delete(row)
        elif is_to_come:
            row.due_value, row.at, row.state = want[0], want[1], "planned"
        else:
            actor = schedule_actor(rule.id, rule.definition.name)
            is_off = is_over(found, want[1])
            event = addressed_event(
                trigger.type_id, row.record_id, rule.id, actor, want[1], is_shown=not is_off
            )
            if event is None:
                db.session.delete(row)
                return
            mark_fired(db.session(), row.tenant_id, row.id)
            tell(db.session(), [replace(event, rules="log") if is_off else event])


def _has_fired(row: AutomationDue, value: str) -> bool:
    same = select(AutomationDue.id).where(
        AutomationDue.automation_id == row.automation_id,
        AutomationDue.record_type == row.record_type,
        AutomationDue.record_id == row.record_id,
        AutomationDue.due_value == value,
    )
    return db.session.scalars(same).first() is not None


class ForgetDue(JobKind):
    """Deletes rows that fired long ago; their moments are over, so they could not be planned again."""

    kind, label = "automation.forget_due", "Forget what was due long ago"

    def run(self, job: Job) -> Again | None:
        is_old = (_c.state == "fired", _c.fired_at < clock.now() - KEPT)
        return Again(job.payload) if prune(due, SLICE * 5, *is_old) else None


def _tick(now: datetime) -> None:
    take_due(now)


register_tick(Tick("automation_due", timedelta(seconds=30), _tick))
register_daily(ForgetDue, "forget_due")

"""Running a schedule: every record that fits the rule's conditions, in slices, one addressed event each."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from soconnective.automation.candidates import Rule
from soconnective.automation.due import SCHEDULE, fire_once, mark_fired
from soconnective.automation.due_fire import held
from soconnective.automation.due_missed import is_over
from soconnective.automation.due_plan import plan_next, rule_of
from soconnective.automation.models import Automation
from soconnective.automation.queries import rule_in_words
from soconnective.automation.timed import addressed_event, schedule_actor
from soconnective.automation.timed_schedule import ScheduleDue
from soconnective.automation.waiting import LOOK_AGAIN
from soconnective.core import clock
from soconnective.core.conditions import Now, where
from soconnective.core.conditions.evaluate import CannotTell
from soconnective.core.db import db
from soconnective.core.registry import registry
from soconnective.core.tenancy import current_tenant_id
from soconnective.core.workspace import current_workspace
from soconnective.events import tell
from soconnective.jobs import Again, Job, JobKind, register_job

SLICE = 25  # records in one transaction: each runs the rule's steps in it


@register_job
class RunSchedule(JobKind):
    """A slice a time; the slice, what the rule did in it, and where to go on are one transaction."""

    kind = SCHEDULE
    label = "A rule's schedule"

    def describe(self, payload: Mapping[str, Any]) -> str:
        return f"{rule_in_words(payload)}, {payload.get('done', 0):,} records so far"

    def run(self, job: Job) -> Again | None:
        moment = job.payload.get("moment")
        row = held(job) if moment is None else None
        if moment is None and row is None:
            return None
        found = db.session.get_one(Automation, int(job.payload["automation_id"]))
        if (
            found.holds
        ):  # its row stays as it is; the rest of what was begun is looked at again, or when it is resumed
            return Again(job.payload, clock.now() + LOOK_AGAIN) if moment else None
        rule = rule_of(found)
        trigger = rule.definition.trigger
        if found.deleted_at is not None or not isinstance(trigger, ScheduleDue):
            if row is not None:
                db.session.delete(row)
            return None
        if row is not None:
            mark_fired(db.session(), row.tenant_id, row.id)
            if found.looks:
                plan_next(rule, trigger)
            if found.looks and is_over(found, row.at):  # counted, see there
                return None
        at = row.at if row is not None else datetime.fromisoformat(str(moment))
        ids = _next_ids(rule, trigger.record_type, int(job.payload.get("after", 0)))
        _tell(rule, trigger, ids, at, found.looks)
        if len(ids) < SLICE:
            return None
        done = job.payload.get("done", 0) + len(ids)
        return Again({**job.payload, "moment": at.isoformat(), "after": ids[-1], "done": done})


def _next_ids(rule: Rule, record_type: str, after: int) -> list[int]:
    """The next records that fit. What SQL cannot be asked (who did it) is judged by the engine alone."""
    model: Any = registry.record_types[record_type].model
    conditions = rule.definition.conditions
    now = Now(clock.now(), current_workspace().timezone)
    statement = select(model.id).where(model.id > after).order_by(model.id).limit(SLICE)
    with suppress(CannotTell):
        statement = statement.where(where(conditions.tree, conditions.fields, now))
    return list(db.session.scalars(statement))


def _tell(rule: Rule, trigger: ScheduleDue, ids: list[int], at: datetime, looks: bool) -> None:
    """A rule that was switched off when this had begun is only asked: each run says that it was off."""
    session, actor = db.session(), schedule_actor(rule.id, rule.definition.name)
    wants = dict.fromkeys(ids, (at.isoformat(), at))
    for record_id in fire_once(session, current_tenant_id(), trigger.record_type, wants, rule):
        event = addressed_event(trigger.type_id, record_id, rule.id, actor, at, is_shown=False)
        if event is not None:
            tell(session, [event if looks else replace(event, rules="log")])

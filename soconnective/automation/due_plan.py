"""Planning for what exists already: when a rule is switched on or saved, or the workspace's clock or hours change.

A job goes over the records of the kind in slices. The rule's conditions are not asked: they are judged when it fires.
Moments to come are planned; one that is over already is not, so that switching a rule on never floods the past.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from soconnective.automation.candidates import Rule
from soconnective.automation.definition import parse
from soconnective.automation.due import PLAN, SCHEDULE, Wants, due_of, plan_again, plan_one, settle
from soconnective.automation.due_missed import Gap, end_of
from soconnective.automation.due_models import EVERY_RECORD, LIVE, due
from soconnective.automation.hours import work_hours
from soconnective.automation.models import Automation, AutomationVersion
from soconnective.automation.queries import rule_in_words
from soconnective.automation.registry import trigger_types
from soconnective.automation.timed import Timed
from soconnective.automation.timed_dates import DateReached
from soconnective.automation.timed_schedule import ScheduleDue
from soconnective.automation.timed_silence import WentSilent, last_activities
from soconnective.core import clock
from soconnective.core.conditions import fields_of
from soconnective.core.db import db, plain
from soconnective.core.registry import registry
from soconnective.core.tenancy import current_tenant_id
from soconnective.jobs import Again, Job, JobKind, enqueue, register_job

SLICE = 500
OVER = 2**62  # where a job stands that has seen every record
_c: Any = due.c


def is_timed(trigger: str) -> bool:
    """Whether rules with this trigger have due rows."""
    cls = trigger_types().get(trigger)
    return cls is not None and issubclass(cls, Timed | ScheduleDue)


def rule_changed(rule: Automation, trigger_before: str = "", **marks: str) -> None:
    """A rule was saved or switched: let a job plan, or take back, what it waits for. `marks` is said by `switch`."""
    if is_timed(rule.trigger) or is_timed(trigger_before):
        enqueue(PLAN, {"automation_id": rule.id, "since": plain(clock.now()), **marks})


def plan_all() -> None:
    """Plan every rule of the workspace that looks anew: its time zone or business hours changed."""
    for rule in db.session.scalars(select(Automation).where(Automation.is_active | Automation.is_shadow)):
        rule_changed(rule)


def rule_of(found: Automation) -> Rule:
    """The rule as it is now, whatever state it is in."""
    version = db.session.scalars(
        select(AutomationVersion).where(
            AutomationVersion.automation_id == found.id, AutomationVersion.number == found.definition_number
        )
    ).one()
    return Rule(found.id, version.number, parse(version.definition), found.is_shadow)


@register_job
class PlanDue(JobKind):
    """One rule, all records or one (`record_id`); `after` is the record with which the last slice ended.

    What has become due `since` it was asked for is planned too, and fires late: the job itself may come late. Since a
    rule was paused, if it was `resumed`; what fell due between `off_since` and `since` is written down as skipped.
    """

    kind = PLAN
    label = "Plan when a rule is due"

    def describe(self, payload: Mapping[str, Any]) -> str:
        return rule_in_words(
            payload, f", {payload['done']:,} records looked at" if payload.get("done") else ""
        )

    def run(self, job: Job) -> Again | None:
        found = db.session.get(Automation, int(job.payload["automation_id"]))
        if found is None or found.deleted_at is not None or not is_timed(found.trigger):
            return _take_back(job)
        if found.holds:  # it is all looked at again when the rule is resumed
            return None
        if not found.looks:
            plan_again(db.session(), found.tenant_id, found.id)
            return _take_back(job, _c.at > datetime.fromisoformat(job.payload["since"]))
        since = datetime.fromisoformat(job.payload["since"])
        return self._plan(job, rule_of(found), max(since, end_of(found) or since))

    def _plan(self, job: Job, rule: Rule, since: datetime) -> Again | None:
        trigger = rule.definition.trigger
        stale = (_c.number != rule.number, _c.at > clock.now())
        if "resumed" in job.payload and "after" not in job.payload:
            resume(rule)
        gap = Gap.of(job.payload) if job.payload.get("after") != OVER else None
        if isinstance(trigger, ScheduleDue):
            _plan_schedule(rule, trigger, since)
            if gap is not None:
                gap.close(rule, trigger)
            return _take_back(job, *stale)
        if not isinstance(trigger, Timed):  # it does not read any more
            return _take_back(job)
        if (one := job.payload.get("record_id")) is not None:
            _plan(rule, trigger, [int(one)], since)
            return None
        ids = _next_ids(trigger, int(job.payload.get("after", 0)), gap.start if gap else since)
        wants = _plan(rule, trigger, ids, since)
        if gap is not None:
            gap.look(rule, trigger, wants)
        if len(ids) < SLICE:
            if gap is not None:
                gap.close(rule, trigger)
            return _take_back(job, *stale)
        done = job.payload.get("done", 0) + len(ids)
        return Again({**job.payload, **(gap.so_far if gap else {}), "after": ids[-1], "done": done})


def _next_ids(trigger: Timed, after: int, since: datetime) -> list[int]:
    model: Any = registry.record_types[trigger.record_type].model
    statement = select(model.id).where(model.id > after).order_by(model.id).limit(SLICE)
    if isinstance(trigger, DateReached):
        column = _column(trigger)
        if column is None:
            return []
        statement = statement.where(column >= trigger.earliest(since))
    return list(db.session.scalars(statement))


def _column(trigger: DateReached) -> Any:
    known = fields_of(trigger.record_type).get(trigger.settings.field or "")
    return known.column() if known is not None and known.column is not None else None


def _plan(rule: Rule, trigger: Timed, ids: list[int], since: datetime) -> Wants:
    session, hours = db.session(), work_hours()
    values = values_of(trigger, ids)
    wants = {(rule.id, one): due_of(trigger, values.get(one), hours) for one in ids}
    settle(session, current_tenant_id(), trigger.record_type, wants, {rule.id: rule.number}, since)
    return wants


def values_of(trigger: Timed, ids: list[int]) -> dict[int, Any]:
    """What each of these records is due for, as it is now."""
    if isinstance(trigger, WentSilent):
        return dict(last_activities(db.session(), trigger.record_type, ids))
    model: Any = registry.record_types[trigger.record_type].model
    column = _column(trigger) if isinstance(trigger, DateReached) else None
    if column is None:
        return {}
    rows = db.session.execute(select(model.id, column.label("value")).where(model.id.in_(ids)))
    return {row.id: row.value for row in rows}


def _plan_schedule(rule: Rule, trigger: ScheduleDue, since: datetime) -> None:
    """One row for the next moment of the schedule. One that is due already stays: it comes, late."""
    at = trigger.next_after(since, work_hours())
    wants: Wants = {(rule.id, EVERY_RECORD): (at.isoformat(), at) if at else None}
    settle(db.session(), current_tenant_id(), trigger.record_type, wants, {rule.id: rule.number}, since)


def plan_next(rule: Rule, trigger: ScheduleDue) -> None:
    """After a schedule has fired: its next moment, once, however many were missed."""
    if (at := trigger.next_after(clock.now(), work_hours())) is not None:
        plan_one(
            db.session(), current_tenant_id(), trigger.record_type, EVERY_RECORD, rule, (at.isoformat(), at)
        )


def resume(rule: Rule) -> None:
    """Let come what was held while the rule was paused: due rows, and the rest of a schedule."""
    plan_again(db.session(), current_tenant_id(), rule.id)
    for job in db.session.scalars(select(Job).where(Job.kind == SCHEDULE, Job.state == "ready")):
        if job.payload["automation_id"] == rule.id:
            job.next_at = clock.now()


def _take_back(job: Job, *which: Any) -> Again | None:
    """Delete what the rule waits for no more: all of it, or `which`."""
    stale = (
        _c.tenant_id == current_tenant_id(),
        _c.automation_id == job.payload["automation_id"],
        LIVE,
        *which,
    )
    some = select(_c.id).where(*stale).limit(SLICE)
    gone = db.session.connection().execute(delete(due).where(_c.id.in_(some.scalar_subquery())))
    if gone.rowcount < SLICE:
        return None
    return Again({**job.payload, "after": OVER})

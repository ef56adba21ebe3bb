"""The job that goes on with a waiting run: the same version of the rule, the record as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from time import perf_counter
from typing import Any

from flask import current_app
from sqlalchemy import select

from soconnective.automation import engine
from soconnective.automation.attempt import perform, rule_at, stored_event, with_record_of_now
from soconnective.automation.candidates import Rule
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.timed import LATE, span_text
from soconnective.automation.trace import Run
from soconnective.automation.trouble import Failure, tell_trouble
from soconnective.automation.waiting import KIND, LOOK_AGAIN, end, hold, is_catching_up
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.events import DomainEvent
from soconnective.jobs import Again, Job, JobKind, register_job


@register_job
class GoOn(JobKind):
    """Performs the steps behind a wait, inside a savepoint as ever; a failure is a failed run, not a failed job."""

    kind = KIND
    label = "Go on with a waiting run"
    most_attempts = 5

    def describe(self, payload: Mapping[str, Any]) -> str:
        rule = db.session.get(Automation, payload.get("automation_id") or 0)
        return rule.name if rule else "a rule that is gone"

    def run(self, job: Job) -> Again | None:
        run = _waiting(job)
        if run is None:
            return None
        if job.payload.get("held") and is_catching_up(job.payload["automation_id"]):
            return Again(job.payload, clock.now() + LOOK_AGAIN)
        return go_on(run, job.payload)

    def gave_up(self, job: Job, reason: str) -> None:
        run = _waiting(job)
        if run is not None:
            run.outcome, run.planned_at, run.waits_for = "failed", None, None
            run.detail = f"it could not go on: {reason}"
            failure = Failure(run.automation_id, run.automation_number, run.event_id, "failed", run.detail)
            db.session.flush()
            tell_trouble(db.session(), [failure], [])


def _waiting(job: Job) -> AutomationRun | None:
    """The run that the job is for, locked, if it still waits, or if it was given up while it waited."""
    run = db.session.scalars(
        select(AutomationRun)
        .where(
            AutomationRun.event_id == job.payload["event_id"],
            AutomationRun.automation_id == job.payload["automation_id"],
            AutomationRun.attempt == job.payload.get("attempt", 0),
            AutomationRun.outcome.in_(("waiting", "failed")),
        )
        .with_for_update()
    ).first()
    is_open = run is not None and any(step["outcome"] == "waiting" for step in run.trace.get("steps", ()))
    return run if is_open else None


def go_on(run: AutomationRun, payload: Mapping[str, Any]) -> Again | None:
    """Go on with a waiting run as its job says; one whose rule is paused is held, which is said by an answer."""
    event = with_record_of_now(stored_event(run))
    now = db.session.get(Automation, run.automation_id)
    rule = rule_at(now.id, run.automation_number or 0) if now else None
    if event is None:
        end(run, "its record was deleted")
    elif now is None or rule is None or now.deleted_at is not None:
        end(run, "the rule was deleted")
    elif now.paused_at is not None:
        return Again({**payload, "held": True}, hold(run))
    else:
        _go_on(run, rule, event, payload)
    return None


def _go_on(row: AutomationRun, rule: Rule, event: DomainEvent, payload: Mapping[str, Any]) -> None:
    began = perf_counter()
    run = Run(
        event,
        rule.id,
        rule.number,
        steps=_passed(row.trace, _said(row, payload)),
        checks=row.trace.get("checks", []),
        attempt=row.attempt,
    )
    run.kept = len(run.steps)
    perform(run, rule, int(payload["step"]))
    made = run.as_row()
    for name in ("outcome", "detail", "trace", "planned_at", "waits_for"):
        setattr(row, name, made[name])
    row.milliseconds += (perf_counter() - began) * 1000
    engine.tell_of_later(db.session(), run, current_app.config["SOCONNECTIVE_BREAKER_FAILURES"])


def _said(row: AutomationRun, payload: Mapping[str, Any]) -> str:
    """How the wait ended; one that ended late says so."""
    said = "waited until it happened" if payload.get("woken") else "waited"
    late = clock.now() - row.planned_at if row.planned_at else timedelta()
    if payload.get("held"):
        return f"{said}; held while the rule was paused, {span_text(late)} late"
    return f"{said}; went on {span_text(late)} late" if late > LATE else said


def _passed(trace: Mapping[str, Any], said: str) -> list[dict[str, Any]]:
    """The steps so far, the wait among them over."""
    return [
        {**step, "text": said, "outcome": "succeeded"} if step["outcome"] == "waiting" else dict(step)
        for step in trace.get("steps", ())
    ]

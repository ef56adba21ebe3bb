"""The job that goes on with what a paused rule held: in the order in which it was to come, one run in a transaction.

It keeps to the breaker's limits: no more runs within a minute, the rule's live ones included, no more of one record, and as many failures one after
the other pause the rule again, with the rest still held. And the job that cancels what waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import select, tuple_

from soconnective.automation import breaker
from soconnective.automation.going_on import go_on
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.queries import rule_in_words
from soconnective.automation.trouble import Pause, tell_trouble
from soconnective.automation.waiting import CANCEL, CATCH_UP, KIND, cancel_some
from soconnective.core import clock
from soconnective.core.db import db, plain
from soconnective.jobs import Again, Job, JobKind, register_job

SLICE = 100  # runs that are looked up at a time
MINUTE = timedelta(minutes=1)
MOST = 1000  # runs within a minute where there is no limit


@register_job
class CatchUp(JobKind):
    """One held run a time. `ids` are the next ones, `after` the last that was looked up, `minute` what ran in it."""

    kind = CATCH_UP
    label = "Go on with what a paused rule held"
    most_attempts = 5

    def describe(self, payload: Mapping[str, Any]) -> str:
        return rule_in_words(payload, f", {payload['done']:,} so far" if payload.get("done") else "")

    def run(self, job: Job) -> Again | None:
        state = {"done": 0, "failed": 0, **job.payload}
        rule = db.session.get(Automation, state["automation_id"])
        if rule is None or rule.paused_at is not None:  # paused again: the rest is held on
            return None
        ids = list(state.get("ids") or _next_ids(state))
        if not ids:
            return None
        run, held = _held(ids[0])
        if run is not None and held is not None:
            if (again_at := _pace(state, run, rule)) is not None:
                return Again({**state, "ids": ids}, again_at)
            go_on(run, held.payload)
            held.state, held.finished_at = "done", clock.now()
            state["done"] += 1
            state["failed"] = state["failed"] + 1 if run.outcome == "failed" else 0
            if _pause_again(rule, run, state["failed"]):
                return None
        return Again({**state, "ids": ids[1:]})

    def gave_up(self, job: Job, reason: str) -> None:
        """One that cannot be gone on with stops no other: each goes on by its own job."""
        for held in db.session.scalars(select(Job).where(Job.kind == KIND, Job.state == "ready")):
            if held.payload.get("held") and held.payload["automation_id"] == job.payload["automation_id"]:
                held.next_at = clock.now()


def _next_ids(state: dict[str, Any]) -> list[int]:
    """The next waiting runs whose moment is over, the oldest moment first; `state` notes how far that is."""
    statement = select(AutomationRun.id, AutomationRun.planned_at).where(
        AutomationRun.automation_id == state["automation_id"],
        AutomationRun.outcome == "waiting",
        AutomationRun.planned_at <= clock.now(),
    )
    if "after" in state:
        at, run_id = state["after"]
        last = (datetime.fromisoformat(at), run_id)
        statement = statement.where(tuple_(AutomationRun.planned_at, AutomationRun.id) > last)
    rows = db.session.execute(
        statement.order_by(AutomationRun.planned_at, AutomationRun.id).limit(SLICE)
    ).all()
    if rows:
        state["after"] = [plain(rows[-1].planned_at), rows[-1].id]
    return [row.id for row in rows]


def _held(run_id: int) -> tuple[AutomationRun | None, Job | None]:
    """The run if it still waits, and its job if that is held, both locked; the run first, as who cancels it does."""
    run = db.session.scalars(
        select(AutomationRun)
        .where(AutomationRun.id == run_id, AutomationRun.outcome == "waiting")
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()
    if run is None:
        return None, None
    jobs = db.session.scalars(
        select(Job)
        .where(Job.kind == KIND, Job.state == "ready", Job.event_id == run.event_id)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    wanted = (run.automation_id, run.attempt, True)
    for job in jobs:
        p = job.payload
        if (p.get("automation_id"), p.get("attempt", 0), p.get("held", False)) == wanted:
            return run, job
    return run, None


def _pace(state: dict[str, Any], run: AutomationRun, rule: Automation) -> datetime | None:
    """When to go on if the limits of this minute are reached; else count `run` to it."""
    now, config = clock.now(), current_app.config
    minute = state.get("minute")
    if minute is None or now >= datetime.fromisoformat(minute["began"]) + MINUTE:
        minute = {"began": plain(now), "runs": 0, "records": {}}
    record = f"{run.record_type}-{run.record_id}"
    same, of_one = minute["records"].get(record, 0), config["SOCONNECTIVE_BREAKER_PER_RECORD"]
    live = _live(rule, now)
    all_same = same + sum(
        (row.record_type, row.record_id) == (run.record_type, run.record_id) for row in live
    )
    most = config["SOCONNECTIVE_BREAKER_PER_MINUTE"] or MOST
    if minute["runs"] + len(live) >= most or (of_one and all_same >= of_one):
        first = datetime.fromisoformat(minute["began"]) if minute["runs"] else now
        return min(first, *(row.started_at for row in live)) + MINUTE if live else first + MINUTE
    records = {**minute["records"], record: same + 1}
    state["minute"] = {"began": minute["began"], "runs": minute["runs"] + 1, "records": records}
    return None


def _live(rule: Automation, now: datetime) -> Sequence[Any]:
    """The runs of the last minute that nobody held: those that began since the rule was resumed."""
    lately = select(AutomationRun.started_at, AutomationRun.record_type, AutomationRun.record_id).where(
        AutomationRun.automation_id == rule.id,
        AutomationRun.outcome.in_(breaker.ACTED),
        AutomationRun.started_at > now - MINUTE,
    )
    if rule.activated_at is not None:
        lately = lately.where(AutomationRun.started_at >= rule.activated_at)
    return db.session.execute(lately.limit(MOST)).all()


def _pause_again(rule: Automation, run: AutomationRun, failed: int) -> bool:
    """Whether the held runs fail one after the other: then the rule is paused once more, also one that is off."""
    most = current_app.config["SOCONNECTIVE_BREAKER_FAILURES"]
    if not most or failed < most or rule.paused_at is not None:
        return rule.paused_at is not None
    session = db.session()
    session.flush()
    why = f"{failed} of the runs that it held failed one after the other, the last one with: {run.detail}"
    why = why[: breaker.LONGEST].rstrip(". ")  # it is told within a sentence
    if rule.is_active:
        pauses = breaker.pause(session, {rule.id: why})
    else:
        rule.paused_at, rule.paused_why = clock.now(), why
        pauses = [Pause(rule.id, why)]
    tell_trouble(session, [], pauses)
    return True


@register_job
class CancelWaiting(JobKind):
    kind = CANCEL
    label = "Cancel what waits"

    def describe(self, payload: Mapping[str, Any]) -> str:
        return rule_in_words(payload)

    def run(self, job: Job) -> Again | None:
        _ended, is_all = cancel_some(job.payload["automation_id"], job.payload["why"])
        return None if is_all else Again(job.payload)

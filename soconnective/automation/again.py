"""Running again: the stored event, a version of the rule that somebody chooses, the record as it is now.

Conditions are judged on the event as it was stored, so the verdict is the one of then; the steps see the
record as it is now, so what was mended since is used. Each is an attempt of its own, beside the live run.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from sqlalchemy import func, select

from soconnective.automation.attempt import perform, rule_at, stored_event, with_record_of_now
from soconnective.automation.candidates import Rule
from soconnective.automation.contracts import Action
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.trace import Run, in_words
from soconnective.core import clock
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.events import DomainEvent

RESUMABLE = ("failed", "partly_succeeded")
MOST_ATTEMPTS = 20


def run_again(run: AutomationRun, is_current: bool = False) -> AutomationRun:
    """Run the rule anew for the event of `run`, at the version of then or at the current one. Raises `Refused`."""
    rule = _rule(run, is_current)
    then = stored_event(run)
    fresh, now = _begin(run, rule, then)
    began = perf_counter()
    try:
        verdict = rule.definition.match(then)
    except Exception as error:
        fresh.outcome, fresh.detail = "failed", in_words(error)
        return _keep(fresh, began)
    fresh.say_verdict(verdict)
    if not verdict.matched:
        fresh.outcome, fresh.detail = "not_matched", verdict.reason
        return _keep(fresh, began)
    fresh.event = now
    perform(fresh, rule)
    return _keep(fresh, began, run)


def resume(run: AutomationRun) -> AutomationRun:
    """Go on where `run` failed, at its own version: what was kept then is not done twice. Raises `Refused`."""
    if run.outcome not in RESUMABLE:
        raise Refused("Only a run that failed can be resumed.")
    rule = _rule(run, is_current=False)
    steps: list[dict[str, Any]] = run.trace.get("steps", [])
    if not steps:  # it was not even judged, or nobody knows what it did
        raise Refused(
            "It does not say that it got to a step. Run it again instead: then its conditions are asked."
        )
    start, done = resume_at(rule.definition.steps, steps)
    fresh, now = _begin(run, rule, stored_event(run))
    began = perf_counter()
    fresh.event = now
    fresh.checks = run.trace.get("checks", [])
    fresh.steps = [dict(step) for step in steps if step["outcome"] == "succeeded" and _index(step) < start]
    fresh.kept = len(fresh.steps)
    perform(fresh, rule, start, done)
    return _keep(fresh, began, run)


def resume_at(steps: Sequence[Action], trace: Sequence[dict[str, Any]]) -> tuple[int, frozenset[int]]:
    """The step to go on with, and those behind it that are done.

    An *otherwise if* that failed is asked again from its *if* on: which branch is meant is a question to both.
    """
    done = frozenset(_index(step) for step in trace if step["outcome"] == "succeeded")
    left = [_index(step) for step in trace if step["outcome"] in ("failed", "undone", "waiting")]
    start = min(left, default=0)
    if steps[start].type_id == "otherwise_if":
        start = _opening(steps, start)
    return start, frozenset(index for index in done if index > start)


def _opening(steps: Sequence[Action], index: int) -> int:
    """The *if* that the marker at `index` belongs to."""
    depth = 0
    for before in range(index - 1, -1, -1):
        kind = steps[before].type_id
        if kind == "if" and depth == 0:
            return before
        depth += (kind == "end_if") - (kind == "if")
    return index


def _index(step: dict[str, Any]) -> int:
    return int(step["path"]) - 1


def _rule(run: AutomationRun, is_current: bool) -> Rule:
    automation = db.session.get(Automation, run.automation_id) if run.automation_id else None
    if automation is None or automation.deleted_at is not None:
        raise Refused("The rule is deleted. Take its deletion back first.")
    number = automation.definition_number if is_current else run.automation_number
    rule = rule_at(automation.id, number or 0)
    if rule is None:
        raise Refused("That version of the rule is not kept any more.")
    return rule


def _begin(run: AutomationRun, rule: Rule, then: DomainEvent) -> tuple[Run, DomainEvent]:
    """A fresh attempt, and the event with the record as it is now."""
    live = select(AutomationRun).where(
        AutomationRun.event_id == run.event_id,
        AutomationRun.automation_id == rule.id,
        AutomationRun.attempt == 0,
    )
    db.session.scalars(live.with_for_update()).first()  # attempts are numbered one after the other
    if run.outcome == "waiting":
        raise Refused("It still waits. Cancel it first.")
    now = with_record_of_now(then)
    if now is None:
        raise Refused("Its record is gone, so there is nothing to run it on.")
    last = db.session.scalar(
        select(func.max(AutomationRun.attempt)).where(
            AutomationRun.event_id == run.event_id, AutomationRun.automation_id == rule.id
        )
    )
    attempt = (last or 0) + 1
    if attempt > MOST_ATTEMPTS:
        raise Refused(f"It was run {MOST_ATTEMPTS} times again already. Change the rule first.")
    return Run(then, rule.id, rule.number, attempt=attempt), now


def _keep(run: Run, began: float, before: AutomationRun | None = None) -> AutomationRun:
    """The attempt as a row. Whoever asked for it has seen what came of it, and of the run `before` it."""
    run.milliseconds = (perf_counter() - began) * 1000
    row = AutomationRun(**run.as_row(), asked_by=current_actor().name, seen_at=clock.now())
    if before is not None and run.outcome == "succeeded":
        before.seen_at = before.seen_at or clock.now()
    db.session.add(row)
    db.session.flush()
    return row

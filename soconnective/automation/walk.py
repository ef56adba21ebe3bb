"""The walk over a rule's steps: which one comes next, what a branch says, and where the run waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.contracts import Action, RunContext, StepResult, Verdict
from soconnective.automation.flow import Control, If, Stop, behind, flow_of
from soconnective.automation.trace import Run, in_words
from soconnective.automation.wait import Wait
from soconnective.core import clock
from soconnective.core.formats import datetime_text
from soconnective.core.registry import registry
from soconnective.events import DomainEvent, snapshot_now


def walk(
    session: OrmSession, steps: tuple[Action, ...], run: Run, context: RunContext, start: int = 0
) -> Iterator[tuple[int, Action]]:
    """The actions to perform, in order, from step `start` on; the steps that steer are told in `run` as they pass.

    Ends early at a *Stop*, and at a *Wait*, with `run.planned_at` set and the place to go on in `run.goes_on_at`.
    After a step that may have changed the record, the next one sees it as it is then.
    """
    flow = flow_of(steps)
    index, is_refused, is_stale = start, False, False
    while index < len(steps):
        step = steps[index]
        if is_stale:
            see_again(session, context)
            is_stale = False
        if step.is_off and (is_refused or step.type_id not in ("otherwise_if", "otherwise")):
            run.say_step(index, step, "off", StepResult("switched off"))
            index = behind(steps, index, flow)
        elif not isinstance(step, Control):
            yield index, step
            is_stale = not step.only_adds
            index += 1
        elif isinstance(step, Stop):
            run.say_step(index, step, "succeeded", StepResult("stopped"))
            return
        elif isinstance(step, Wait):
            if _waits(step, index, run, context):
                run.goes_on_at = index + 1
                return
            index += 1
        elif step.type_id == "if" or (step.type_id == "otherwise_if" and is_refused):
            is_refused = not _asked(step, index, run, context).matched
            index = flow.no[index] if is_refused else index + 1
        elif step.type_id == "end_if" or (step.type_id == "otherwise" and is_refused):
            index, is_refused = index + 1, False
        else:  # a branch was taken and is through
            index = flow.end[index]


def _asked(step: Action, index: int, run: Run, context: RunContext) -> Verdict:
    assert isinstance(step, If)
    try:
        verdict = step.match(context)
    except Exception as error:
        _failed(step, index, run, error)
        raise
    said = "yes" if verdict.matched else f"no: {verdict.reason}"
    run.say_step(index, step, "succeeded", StepResult(said), verdict=verdict)
    return verdict


def _waits(step: Wait, index: int, run: Run, context: RunContext) -> bool:
    """Whether the run waits here; a moment that is over already is passed, and that is told."""
    try:
        at, event = step.plan(context)
    except Exception as error:
        _failed(step, index, run, error)
        raise
    if at <= clock.now() and event is None:
        run.say_step(index, step, "succeeded", StepResult(f"did not wait: {datetime_text(at)} is over"))
        return False
    run.planned_at, run.waits_for = at, event
    run.say_step(index, step, "waiting", StepResult(f"waits until {datetime_text(at)}"))
    return True


def _failed(step: Action, index: int, run: Run, error: Exception) -> None:
    run.say_step(index, step, "failed", None, in_words(error))
    run.detail = f"step {index + 1} failed: {in_words(error)}"


def see_again(session: OrmSession, context: RunContext) -> None:
    """Let `context` see the record as it is now; one that is gone stays as it was."""
    session.flush()
    fresh = snapshot_now(context.event.record_type, context.event.record_id)
    if fresh is not None:
        context.see(fresh, as_fields(context.event.record_type, fresh))


def as_fields(record_type: str, snapshot: dict[str, Any]) -> dict[str, Any]:
    """The merge fields of a record; what a deleted one no longer has is empty."""
    kind = registry.record_types.get(record_type)
    return {**{name: None for name, _label in (kind.fields if kind else ())}, **snapshot}


def context_of(event: DomainEvent, rule_id: int, name: str, number: int) -> RunContext:
    """What the actions of a rule may use."""
    return RunContext(
        event,
        rule_id,
        name,
        number,
        {
            event.record_type: as_fields(event.record_type, event.snapshot),
            "rule": {"name": name},
            "actor": {"name": event.actor.name},
        },
    )

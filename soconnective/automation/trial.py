"""Trying a rule: the real steps on a real event, inside a savepoint that is rolled back, whatever happens.

What a trial makes, changes, enqueues and tells is gone when it ends; what it would have done is in its run.
It goes on past a wait as if the time had come. Further rules are not tried: what they would be asked is told
by the names of the events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.candidates import Rule
from soconnective.automation.contracts import Trigger
from soconnective.automation.definition import Definition
from soconnective.automation.execution import Job, execute, finish, perform_unflushed
from soconnective.automation.models import Automation
from soconnective.automation.operations import create_automation
from soconnective.automation.trace import Run, clean, in_words
from soconnective.core import clock
from soconnective.core.access import current_actor
from soconnective.core.db import require_alive, savepoint
from soconnective.core.errors import TransactionLost
from soconnective.core.formats import datetime_text
from soconnective.core.tenancy import current_tenant_id
from soconnective.events import DomainEvent, fold, number, snapshot_now, take, watches_of

NO_LOCK = "55P03"  # PostgreSQL: somebody else holds the row


class Busy(Exception):
    """Somebody is changing one of the records just now: it can be tried again in a moment."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a rule said and would have done: its run, which is no row, and the events that would have followed."""

    run: Run
    further: tuple[str, ...] = ()


def try_rule(session: OrmSession, rule: Rule, event: DomainEvent) -> Trial:
    """The verdict of `rule` on `event` and, if it matches, its steps, as if it were the moment of the event.

    Call it inside `discarded_transaction`. Raises `Busy`.
    """
    with clock.at(event.occurred_at):
        run = judge(session, rule, event)
        job = Job(event, rule, run, is_trial=True)
        if not run.outcome:
            attempt(session, job)
        return Trial(run, tuple(dict.fromkeys(fact.name for fact in job.caused)))


def judge(session: OrmSession, rule: Rule, event: DomainEvent) -> Run:
    """The run with the verdict of `rule` alone; its outcome is open if it matches."""
    run = Run(event, rule.id, rule.number)
    try:
        verdict = rule.definition.match(event)
    except Exception as error:
        require_alive(session)
        run.outcome, run.detail = "failed", in_words(error)
        return run
    run.say_verdict(verdict)
    if not verdict.matched:
        run.outcome, run.detail = "not_matched", verdict.reason
    return run


def attempt(session: OrmSession, job: Job) -> None:
    """Perform the steps of `job` and take everything back; its run says what they would have done."""
    run, caused = job.run, []
    try:
        with undone(session):
            execute(session, job)
            caused = list(job.caused)
            while run.planned_at is not None:
                _pass_wait(job)
                if run.outcome == "cancelled":
                    break
                with clock.at(job.event.occurred_at):
                    execute(session, job)
                caused += job.caused
    except TransactionLost:
        raise
    except Exception as error:
        require_alive(session)
        run.outcome = "failed"
        run.undo_steps()
        if getattr(getattr(error, "orig", None), "sqlstate", None) == NO_LOCK:
            raise Busy("somebody else is changing one of the records just now") from error
        run.detail = run.detail or in_words(error)
    job.caused = caused
    _forget_ids(run)


def attempt_together(session: OrmSession, jobs: Sequence[Job]) -> bool:
    """The same for many `jobs`, all of which `may_share`, with one flush; False: attempt each alone."""
    try:
        with undone(session):
            for job in jobs:
                with clock.at(job.event.occurred_at):
                    perform_unflushed(session, job)
            session.flush()
            _share_out(session, jobs)
    except TransactionLost:
        raise
    except Exception:
        require_alive(session)
        for job in jobs:
            job.run.start_over()
            job.caused = []
        return False
    for job in jobs:
        finish(job)
        _forget_ids(job.run)
    return True


def _share_out(session: OrmSession, jobs: Sequence[Job]) -> None:
    """Give each of `jobs` the events of the records that it made; raises `KeyError` for what nobody made."""
    makers = {id(made.record): job for job in jobs for step in job.run.steps for made in step["made"]}
    notes: dict[int, list[Any]] = {}
    for note in take(session):
        notes.setdefault(id(makers[id(note.record)]), []).append(note)
    for job in jobs:
        found = fold(session, notes.get(id(job), ()), cause=job.event, snapshots=False)
        job.caused = [fact for fact, _wanted in found]


def shadow(session: OrmSession, job: Job) -> None:
    """Try a rule that is in the shadow, in the middle of a save: nothing of it stays but the run that tells it."""
    began = perf_counter()
    run = job.run
    job.is_trial = True
    try:
        attempt(session, job)
    except Busy as error:
        run.detail = str(error)
    job.caused, job.is_done = [], False
    said = {"succeeded": "would have: ", "partly_succeeded": "would have been partly done: "}
    start = said.get(run.outcome, f"would have {run.outcome}: ")
    run.outcome, run.detail = "shadowed", start + (run.detail or "nothing")
    run.milliseconds += (perf_counter() - began) * 1000


@contextmanager
def undone(session: OrmSession) -> Iterator[None]:
    """A savepoint that is rolled back also when all goes well."""
    with suppress(_Undone), savepoint(session):
        yield
        raise _Undone


class _Undone(Exception):
    """Ends the savepoint of a trial."""


def _pass_wait(job: Job) -> None:
    """Go on behind the wait at which the run stands, at its time, with the record as it is then."""
    run, event = job.run, job.event
    assert run.planned_at is not None
    at, last = run.planned_at, run.steps[-1]
    sooner = " at the latest" if run.waits_for else ""
    last["outcome"], last["text"] = "succeeded", f"would wait until {datetime_text(at)}{sooner}"
    run.planned_at = run.waits_for = None
    run.kept, job.start = len(run.steps), run.goes_on_at
    seen = snapshot_now(event.record_type, event.record_id)
    if seen is None:
        run.outcome, run.detail = "cancelled", "it would end here: its record is gone"
    else:
        job.event = replace(event, snapshot=seen, occurred_at=at)


def _forget_ids(run: Run) -> None:
    """What was made is gone, and its number will be another one's."""
    for step in run.steps:
        step["made"] = [
            {**made, "id": None} if made["verb"] in ("created", "sent") else made
            for made in clean(step["made"])
        ]


# --- on what it is tried --------------------------------------------------------------------------------


def as_rule(definition: Definition, rule: Automation | None) -> Rule:
    """A definition as a rule that can be tried: that of `rule`, or of a new one that goes with the trial."""
    if rule is None:
        rule = create_automation(definition)
    return Rule(rule.id, rule.definition_number, definition)


def made_up(session: OrmSession, trigger: Trigger, record_id: int) -> DomainEvent | None:
    """The event that `trigger` waits for, as if it happened now to this record; None if there is no such record.

    Nothing was changed, so old and new are what each field is now (created: from nothing; deleted: to nothing).
    """
    snapshot = snapshot_now(trigger.record_type, record_id)
    if snapshot is None:
        return None
    what = trigger.type_id.rpartition(".")[2]
    changes = {}
    for name in watches_of(trigger.record_type):
        if name in snapshot:
            now = snapshot[name]
            changes[name] = [None if what == "created" else now, None if what == "deleted" else now]
        else:  # a list: its members came and went by nobody
            changes[name] = [[], []]
    event = DomainEvent(
        trigger.type_id,
        current_tenant_id(),
        trigger.record_type,
        record_id,
        current_actor(),
        clock.now(),
        changes,
        snapshot,
    )
    number(session, [event])
    return event

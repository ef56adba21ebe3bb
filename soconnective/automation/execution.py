"""Performing rules that matched: each inside a savepoint, fast when all is well, carefully when not.

All is well almost always. So a rule's steps are flushed once, at the end; and rules next to each other
whose steps only add records share one savepoint and one flush. If anything fails in such a try, it is
rolled back and each rule runs alone, with a flush after each step, so that one rule's failure takes
nothing of another along and the trace names the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.candidates import Rule
from soconnective.automation.contracts import Action, ActionFailed, RunContext
from soconnective.automation.definition import Definition
from soconnective.automation.trace import Run, in_words
from soconnective.automation.waiting import go_on_later
from soconnective.automation.walk import context_of, walk
from soconnective.core.access import Actor, acting_as
from soconnective.core.db import is_transaction_alive, require_alive, savepoint
from soconnective.core.errors import CrossTenant, NoTenant, TransactionLost
from soconnective.events import DomainEvent, fold, take


@dataclass(slots=True)
class Job:
    """A rule that matched an event and may run; `caused` is filled by its execution."""

    event: DomainEvent
    rule: Rule
    run: Run
    caused: list[DomainEvent] = field(default_factory=list)
    is_done: bool = False  # what it made is kept
    start: int = 0  # the step to begin with: after a wait not the first
    done: frozenset[int] = frozenset()  # steps that an earlier attempt did and kept
    is_trial: bool = False  # it will be rolled back: of what it caused the names are enough

    @property
    def actor(self) -> Actor:
        return Actor("automation", self.rule.id, self.rule.definition.name)

    @property
    def may_share(self) -> bool:
        """Whether it can be tried together with others."""
        return may_share(self.rule.definition)


def may_share(definition: Definition) -> bool:
    """Whether a rule can be tried together with others: it only adds, as a whole or not at all."""
    return definition.on_failure == "undo" and all(step.only_adds for step in definition.steps)


def execute_together(session: OrmSession, jobs: Sequence[Job]) -> bool:
    """Try `jobs`, all of which `may_share`, in one savepoint; False: nothing is left of them, run each alone."""
    try:
        with savepoint(session):
            for job in jobs:
                perform_unflushed(session, job)
            session.flush()
            _require_no_hidden_error(session)
            notes: dict[Actor, list] = {job.actor: [] for job in jobs}  # type: ignore[type-arg]
            for note in take(session):
                notes[note.actor].append(note)  # KeyError: somebody else's change; each alone, then
            for job in jobs:
                with acting_as(job.actor):
                    job.caused = [fact for fact, _wanted in fold(session, notes[job.actor], cause=job.event)]
    except TransactionLost:
        raise
    except Exception:
        require_alive(session)
        for job in jobs:
            job.run.start_over()
            job.caused = []
        return False
    for job in jobs:
        job.is_done = True
    for job in jobs:
        finish(job)
    return True


def perform_unflushed(session: OrmSession, job: Job) -> None:
    """The steps of one of several jobs that share a savepoint; whoever opened it flushes."""
    with acting_as(job.actor):
        _steps(session, job, carefully=False)


def execute(session: OrmSession, job: Job) -> None:
    """Run one rule; raises what made it fail, with the run's detail and steps telling it."""
    with acting_as(job.actor):
        if job.rule.definition.on_failure == "keep":
            _keeping(session, job)
            return
        try:
            _in_savepoint(session, job, carefully=False)
        except TransactionLost:
            raise
        except Exception as error:
            if not _is_unclear(error, job.run):
                raise
            require_alive(session)
            job.run.start_over()
            _in_savepoint(session, job, carefully=True)


def _is_unclear(error: Exception, run: Run) -> bool:
    """Whether a quick try does not show which step is to blame: the database said it, or it came at the flush."""
    is_of_a_flush = isinstance(error, SQLAlchemyError | CrossTenant | NoTenant | _HiddenError)
    return is_of_a_flush or not any(step["outcome"] == "failed" for step in run.steps)


def _in_savepoint(session: OrmSession, job: Job, carefully: bool) -> None:
    with savepoint(session):
        started = _steps(session, job, carefully)
        session.flush()
        _require_no_hidden_error(session)
        job.caused = [*_caused(session, job), *started]
    finish(job)


def _caused(session: OrmSession, job: Job) -> list[DomainEvent]:
    found = fold(session, take(session), cause=job.event, snapshots=not job.is_trial)
    return [fact for fact, _wanted in found]


def _steps(session: OrmSession, job: Job, carefully: bool) -> list[DomainEvent]:
    """Perform the steps; returns the events that they cause beside those of their changes."""
    context, run = _context(job), job.run
    for index, action in walk(session, job.rule.definition.steps, run, context, job.start):
        if index in job.done:
            continue
        try:
            result = action.run(context)
            if carefully:
                session.flush()
                _require_no_hidden_error(session)
        except Exception as error:
            run.say_step(index, action, "failed", None, in_words(error))
            run.detail = f"step {index + 1} failed: {in_words(error)}"
            raise
        run.say_step(index, action, "succeeded", result)
    if run.planned_at is not None:
        go_on_later(job.event, job.rule.id, run)
    return context.started


def _keeping(session: OrmSession, job: Job) -> None:
    """The rule keeps what succeeds: a savepoint for each step inside the rule's own."""
    context, run = _context(job), job.run
    with savepoint(session):
        for index, action in walk(session, job.rule.definition.steps, run, context, job.start):
            if index not in job.done:
                _attempt(session, context, run, index, action)
        if run.planned_at is not None:
            go_on_later(job.event, job.rule.id, run)
        session.flush()
        _require_no_hidden_error(session)
        job.caused = [*_caused(session, job), *context.started]
    finish(job)
    failed = [step for step in run.steps if step["outcome"] == "failed"]
    if failed and run.planned_at is None:
        tried = [step for step in run.steps if step["outcome"] != "off"]
        run.outcome = "partly_succeeded" if len(failed) < len(tried) else "failed"
        said = "; ".join(f"step {step['path']} failed: {step['text']}" for step in failed)
        run.detail = f"{run.detail}; {said}" if run.detail else said


def _attempt(session: OrmSession, context: RunContext, run: Run, index: int, action: Action) -> None:
    """One action in a savepoint of its own: its failure is written down and the next one goes on."""
    started = len(context.started)
    try:
        with savepoint(session):
            result = action.run(context)
            session.flush()
            _require_no_hidden_error(session)
    except TransactionLost:
        raise
    except Exception as error:
        del context.started[started:]
        run.say_step(index, action, "failed", None, in_words(error))
        require_alive(session)
    else:
        run.say_step(index, action, "succeeded", result)


def _context(job: Job) -> RunContext:
    return context_of(job.event, job.rule.id, job.rule.definition.name, job.rule.number)


def finish(job: Job) -> None:
    """Say in the run what came of it."""
    job.is_done = True
    job.run.outcome = "succeeded" if job.run.planned_at is None else "waiting"
    job.run.settle()
    job.run.summarise()


class _HiddenError(ActionFailed):
    """A step hid an error of the database."""


def _require_no_hidden_error(session: OrmSession) -> None:
    """Refuse the release of a savepoint in which a step swallowed a database error.

    Such an error poisons PostgreSQL's transaction: the savepoint can still be rolled back, but
    releasing it would fail and take the whole save along.
    """
    if not is_transaction_alive(session):
        raise _HiddenError("a step hid an error of the database, so nothing of this rule can be kept")

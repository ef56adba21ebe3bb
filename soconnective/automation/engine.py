"""The engine: takes stored events, picks the rules, runs each inside a savepoint, records every look.

It runs in the transaction of the change that caused the events, before its outermost commit. What a
rule raises rolls back that rule alone. After each failure the driver is asked whether the transaction
still stands; if not, `TransactionLost` is raised and the request fails loudly.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from sqlalchemy.orm import Session as OrmSession

from soconnective.automation import breaker, trace
from soconnective.automation.candidates import Rule, addressed, candidates
from soconnective.automation.contracts import ActionFailed, BrokenPiece
from soconnective.automation.execution import Job, execute, execute_together
from soconnective.automation.merge import MergeError
from soconnective.automation.registry import is_trigger
from soconnective.automation.trace import Run, in_words
from soconnective.automation.trial import shadow
from soconnective.automation.trouble import Failure, tell_trouble
from soconnective.automation.waiting import wake
from soconnective.core.db import require_alive
from soconnective.core.errors import Refused, TransactionLost
from soconnective.events import DomainEvent, Reaction, number

log = logging.getLogger(__name__)
TROUBLE = ("failed", "partly_succeeded")
LOGGED = "would have run; whoever made this change asked to only log it"
OFF = "would have run; the rule was switched off"
TOGETHER = 50  # rules in one savepoint: after them the bounds are looked at again


@dataclass(frozen=True, slots=True)
class Bounds:
    """Per root event. What is beyond is a visible run that was skipped."""

    depth: int = 8
    runs: int = 200
    actions: int = 500
    seconds: float = 2.0


@dataclass(slots=True)
class Chain:
    """Everything that one root event sets in motion."""

    bounds: Bounds
    began: float = field(default_factory=perf_counter)
    runs: int = 0
    actions: int = 0
    ran: set[tuple[int, str, int]] = field(default_factory=set)
    breaker: breaker.Breaker = field(init=False, default_factory=breaker.none)  # one for all of a transaction

    def stopped(self, event: DomainEvent, rule: Rule) -> str | None:
        """Why `rule` may not run for `event` any more, or None."""
        bounds = self.bounds
        if event.depth >= bounds.depth:
            return f"the chain of rules is {event.depth} deep, the most allowed"
        if reason := self._repeats(event, rule):
            return reason
        if self.runs >= bounds.runs:
            return f"{bounds.runs} rules have already run for this change, the most allowed"
        if self.actions + len(rule.definition.steps) > bounds.actions:
            return f"{self.actions} actions have already run for this change; {bounds.actions} are the most allowed"
        if perf_counter() - self.began > bounds.seconds:
            return f"the rules of this change have taken more than {bounds.seconds:g} s"
        return None

    def _repeats(self, event: DomainEvent, rule: Rule) -> str | None:
        if (rule.id, event.record_type, event.record_id) in self.ran:
            return "this rule has already run for this record in this chain"
        if event.actor.kind == "automation" and event.actor.id == rule.id:
            return "this rule made this change itself"
        return None

    def count(self, event: DomainEvent, rule: Rule) -> None:
        """`rule` runs now for `event`."""
        self.runs += 1
        self.actions += len(rule.definition.steps)
        self.ran.add((rule.id, event.record_type, event.record_id))


def react(
    session: OrmSession, events: Sequence[DomainEvent], bounds: Bounds, limits: breaker.Limits = breaker.OFF
) -> Reaction:
    """Run the rules for `events` (each the root of its chain) and for what the rules themselves cause.

    Returns the events that the rules caused, numbered, and writes the runs once those are stored.
    """
    rules = _find(session, [event for event in events if event.rule_id is None])
    meant = _find_addressed(session, events)
    breaks = breaker.Breaker(session, events[0].tenant_id, limits)
    caused: list[DomainEvent] = []
    runs: list[Run] = []
    for event in events:
        own = _own(event, rules, meant)
        if own:
            try:
                chain = Chain(bounds)
                chain.breaker = breaks
                _run_chain(session, event, own, rules, chain, caused, runs)
            except TransactionLost:
                raise
            except Exception as error:  # the engine itself: no rule is to blame, and the save is not either
                log.exception("the engine failed at event %s; the save goes on", event.id)
                require_alive(session)
                for run in runs:
                    if not run.outcome:
                        run.never_came()
                runs.append(Run(event, None, None, "failed", f"the engine itself failed: {in_words(error)}"))
    _wake(session, [*events, *caused])
    return Reaction(caused, (lambda session: _write(session, runs, breaks)) if runs else None)


def _wake(session: OrmSession, events: Sequence[DomainEvent]) -> None:
    try:
        wake(session, events)
    except Exception:
        log.exception("the waiting runs could not be woken; the save goes on, and they go on at their time")
        require_alive(session)


def _find(session: OrmSession, events: Sequence[DomainEvent]) -> dict[str, list[Rule]]:
    names = {event.name for event in events if is_trigger(event.name)}
    if not names:
        return {}
    try:
        return candidates(session, events[0].tenant_id, names)
    except Exception:
        log.exception("the rules could not be read; the save goes on without them")
        require_alive(session)
        return {}


def _find_addressed(session: OrmSession, events: Sequence[DomainEvent]) -> dict[tuple[int, str], Rule]:
    """The rules that `events` are addressed to, by id and by what is said of them: to log, one that is off does too."""
    found: dict[tuple[int, str], Rule] = {}
    try:
        for mode in {event.rules for event in events if event.rule_id is not None}:
            ids = {event.rule_id for event in events if event.rule_id is not None and event.rules == mode}
            rules = addressed(session, events[0].tenant_id, ids, also_off=mode == "log")
            found |= {(rule_id, mode): rule for rule_id, rule in rules.items()}
    except Exception:
        log.exception(
            "the rules that events are addressed to could not be read; the save goes on without them"
        )
        require_alive(session)
        return {}
    return found


def _own(
    event: DomainEvent, rules: dict[str, list[Rule]], meant: dict[tuple[int, str], Rule]
) -> Sequence[Rule]:
    """The rules that look at `event`: those of its name, or the one that it is addressed to."""
    if event.rule_id is None:
        return rules.get(event.name, ())
    found = meant.get((event.rule_id, event.rules))
    return (found,) if found is not None else ()


def _run_chain(
    session: OrmSession,
    root: DomainEvent,
    own: Sequence[Rule],
    rules: dict[str, list[Rule]],
    chain: Chain,
    caused: list[DomainEvent],
    runs: list[Run],
) -> None:
    """Breadth first: all rules of an event, then those of what they caused."""
    known = dict(rules)
    queue = deque([root])
    while queue:
        event = queue.popleft()
        looking = own if event is root else known.get(event.name, ())
        made = _look_at(session, event, looking, chain, caused, runs)
        fresh = [fact for fact in made if is_trigger(fact.name)]
        unknown = [fact for fact in fresh if fact.name not in known]
        if unknown:
            known.update({fact.name: [] for fact in unknown})
            known.update(_find(session, unknown))
        queue.extend(fact for fact in fresh if known.get(fact.name))


def _look_at(
    session: OrmSession,
    event: DomainEvent,
    rules: Sequence[Rule],
    chain: Chain,
    caused: list[DomainEvent],
    runs: list[Run],
) -> list[DomainEvent]:
    """All rules of one event in order; returns what they caused. Neighbours that may share a savepoint do."""
    made: list[DomainEvent] = []
    together: list[Job] = []
    first = len(runs)
    chain.breaker.expect(event, rules)
    for rule in rules:
        if event.rule_id not in (None, rule.id):
            continue
        run, is_due = _judge(session, event, rule, chain)
        runs.append(run)
        if not is_due:
            continue
        job = Job(event, rule, run)
        if rule.is_shadow:
            made += _execute(session, together, caused)
            together = []
            shadow(session, job)
            continue
        if not job.may_share or len(together) >= TOGETHER:
            made += _execute(session, together, caused)
            together = []
        together.append(job)
        if not job.may_share:
            made += _execute(session, together, caused)
            together = []
    made += _execute(session, together, caused)
    chain.breaker.saw(runs[first:])
    return made


def _judge(session: OrmSession, event: DomainEvent, rule: Rule, chain: Chain) -> tuple[Run, bool]:
    """The verdict of one rule on one event, and whether its actions are to run."""
    began = perf_counter()
    run = Run(event, rule.id, rule.number)
    is_due = False
    try:
        verdict = rule.definition.match(event)
        run.say_verdict(verdict)
        if not verdict.matched:
            run.outcome, run.detail = "not_matched", verdict.reason
        elif event.rules == "log":
            run.outcome, run.detail = "skipped", LOGGED if event.rule_id is None else OFF
        elif reason := chain.stopped(event, rule):
            run.outcome, run.detail = "skipped", f"stopped: {reason}"
        elif reason := chain.breaker.admit(rule):
            run.outcome, run.detail = "skipped", f"paused: {reason}"
        else:
            chain.count(event, rule)
            is_due = True
    except Exception as error:
        fail(session, run, rule, error)
    run.milliseconds = (perf_counter() - began) * 1000
    return run, is_due


def _execute(session: OrmSession, jobs: list[Job], caused: list[DomainEvent]) -> list[DomainEvent]:
    """Run `jobs`, together if that works, else each alone; returns what they caused, numbered, in their order.

    It is also added to `caused`, whatever happens here: what is kept must be told of.
    """
    made: list[DomainEvent] = []
    try:
        _perform(session, jobs)
    finally:
        made += [fact for job in jobs if job.is_done for fact in job.caused]
        caused.extend(made)
    number(session, made)
    return made


def _perform(session: OrmSession, jobs: list[Job]) -> None:
    began = perf_counter()
    if len(jobs) > 1 and execute_together(session, jobs):
        each = (perf_counter() - began) * 1000 / len(jobs)
        for job in jobs:
            job.run.milliseconds += each
        return
    for job in jobs:
        began = perf_counter()
        try:
            execute(session, job)
        except TransactionLost:
            raise
        except Exception as error:
            if job.is_done:  # the rule is through; it is the engine that failed
                raise
            fail(session, job.run, job.rule, error)
        job.run.milliseconds += (perf_counter() - began) * 1000


def fail(session: OrmSession, run: Run, rule: Rule, error: Exception) -> None:
    """Write down that `rule` failed; raises `TransactionLost` if the save itself is lost."""
    run.outcome = "failed"
    run.undo_steps()
    run.detail = run.detail or in_words(error)
    _log(error, rule)
    require_alive(session)


def _write(session: OrmSession, runs: list[Run], breaks: breaker.Breaker) -> None:
    """Write the runs; then pause what the breaker says, and tell who wants to know of it and of failures."""
    _record(session, runs)
    pauses = breaker.pause(session, breaks.tripped)
    tell_trouble(session, [_failure(run) for run in runs if run.outcome in TROUBLE], pauses)


def tell_of_later(session: OrmSession, run: Run, most_failures: int) -> None:
    """The same for one run that went on in its job: its row is changed, but not flushed."""
    if run.outcome in TROUBLE:
        session.flush()
        failure, rule_id = _failure(run), run.automation_id or 0
        pauses = breaker.look_at_streak(session, run.event.tenant_id, rule_id, most_failures, failure.detail)
        tell_trouble(session, [failure], pauses)


def _failure(run: Run) -> Failure:
    return Failure(
        run.automation_id, run.automation_number, run.event.id or 0, run.outcome, trace.clean(run.detail)
    )


def _record(session: OrmSession, runs: list[Run]) -> None:
    """Write the runs; if a trace cannot be written, the runs without it, so that none is lost in silence."""
    try:
        with session.connection().begin_nested():
            trace.record(session, runs)
    except Exception:
        log.exception("the traces of %s runs could not be written", len(runs))
        require_alive(session)
        for run in runs:
            run.checks, run.steps = [], []
            run.detail = f"{run.outcome}; the trace could not be written"
        trace.record(session, runs)


def _log(error: BaseException, rule: Rule) -> None:
    """One line for what speaks to people, the traceback for the rest; no control character gets through."""
    words = trace.clean(in_words(error)).encode("unicode_escape").decode()
    is_expected = isinstance(error, ActionFailed | BrokenPiece | MergeError | Refused)
    log.warning("rule %s failed: %s", rule.id, words, exc_info=None if is_expected else error)

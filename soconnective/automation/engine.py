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

from soconnective.automation import trace
from soconnective.automation.candidates import Rule, candidates
from soconnective.automation.contracts import Action, ActionFailed, BrokenPiece, RunContext
from soconnective.automation.merge import MergeError
from soconnective.automation.registry import is_trigger
from soconnective.automation.trace import Run, in_words
from soconnective.core.access import Actor, acting_as
from soconnective.core.db import is_transaction_alive, require_alive
from soconnective.core.errors import Refused, TransactionLost
from soconnective.events import DomainEvent, Reaction, fold, number, take

log = logging.getLogger(__name__)


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

    def stopped(self, event: DomainEvent, rule: Rule) -> str | None:
        """Why `rule` may not run for `event` any more, or None."""
        bounds = self.bounds
        if event.depth >= bounds.depth:
            return f"the chain of rules is {event.depth} deep, the most allowed"
        if (rule.id, event.record_type, event.record_id) in self.ran:
            return "this rule has already run for this record in this chain"
        if self.runs >= bounds.runs:
            return f"{bounds.runs} rules have already run for this change, the most allowed"
        if self.actions + len(rule.definition.steps) > bounds.actions:
            return f"{self.actions} actions have already run for this change; {bounds.actions} are the most allowed"
        if perf_counter() - self.began > bounds.seconds:
            return f"the rules of this change have taken more than {bounds.seconds:g} s"
        return None


def react(session: OrmSession, events: Sequence[DomainEvent], bounds: Bounds) -> Reaction:
    """Run the rules for `events` (each the root of its chain) and for what the rules themselves cause.

    Returns the events that the rules caused, numbered, and writes the runs once those are stored.
    """
    rules = _find(session, events)
    caused: list[DomainEvent] = []
    runs: list[Run] = []
    for event in events:
        if rules.get(event.name):
            try:
                _run_chain(session, event, rules, Chain(bounds), caused, runs)
            except TransactionLost:
                raise
            except Exception as error:  # the engine itself: no rule is to blame, and the save is not either
                log.exception("the engine failed at event %s; the save goes on", event.id)
                require_alive(session)
                runs.append(Run(event, None, None, "failed", f"the engine itself failed: {in_words(error)}"))
    return Reaction(caused, (lambda session: _record(session, runs)) if runs else None)


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


def _run_chain(
    session: OrmSession,
    root: DomainEvent,
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
        made: list[DomainEvent] = []
        for rule in known.get(event.name, ()):
            runs.append(_look(session, event, rule, chain, made))
        caused.extend(made)
        fresh = [fact for fact in made if is_trigger(fact.name)]
        unknown = [fact for fact in fresh if fact.name not in known]
        if unknown:
            known.update({fact.name: [] for fact in unknown})
            known.update(_find(session, unknown))
        queue.extend(fact for fact in fresh if known.get(fact.name))


def _look(
    session: OrmSession, event: DomainEvent, rule: Rule, chain: Chain, caused: list[DomainEvent]
) -> Run:
    """One rule and one event: the verdict, and where it matches, the actions. Adds what it caused to `caused`."""
    began = perf_counter()
    run = Run(event, rule.id, rule.number)
    try:
        verdict = rule.definition.trigger.match(event)
        run.say_verdict(verdict)
        if not verdict.matched:
            run.outcome, run.detail = "not_matched", verdict.reason
        elif reason := chain.stopped(event, rule):
            run.outcome, run.detail = "skipped", f"stopped: {reason}"
        else:
            chain.runs += 1
            chain.actions += len(rule.definition.steps)
            chain.ran.add((rule.id, event.record_type, event.record_id))
            with acting_as(Actor("automation", rule.id, rule.definition.name)):
                made = _execute(session, event, rule, run)
                number(session, made)
                caused.extend(made)
    except TransactionLost:
        raise
    except Exception as error:
        run.outcome = "failed"
        run.undo_steps()
        run.detail = run.detail or in_words(error)
        _log(error, rule)
        require_alive(session)
    run.milliseconds = (perf_counter() - began) * 1000
    return run


def _execute(session: OrmSession, event: DomainEvent, rule: Rule, run: Run) -> list[DomainEvent]:
    """The actions in order inside one savepoint, flushed inside it; what they caused, folded."""
    context = RunContext(
        event,
        rule.id,
        rule.definition.name,
        rule.number,
        {
            event.record_type: event.snapshot,
            "rule": {"name": rule.definition.name},
            "actor": {"name": event.actor.name},
        },
    )
    keep = rule.definition.on_failure == "keep"
    with session.begin_nested():
        for index, action in enumerate(rule.definition.steps):
            if keep:
                _attempt(session, context, run, index, action)
            else:
                _perform(context, run, index, action)
        try:
            session.flush()
        except Exception as error:
            run.detail = f"while saving what the steps did: {in_words(error)}"
            raise
        _require_no_hidden_error(session)
        made = [fact for fact, _wanted in fold(session, take(session), cause=event)]
    run.summarise()
    if keep and any(step["outcome"] == "failed" for step in run.steps):
        done = any(step["outcome"] == "succeeded" for step in run.steps)
        run.outcome = "partly_succeeded" if done else "failed"
        failed = "; ".join(
            f"step {s['path']} failed: {s['text']}" for s in run.steps if s["outcome"] == "failed"
        )
        run.detail = f"{run.detail}; {failed}" if run.detail else failed
    return made


def _perform(context: RunContext, run: Run, index: int, action: Action) -> None:
    try:
        run.say_step(index, action, "succeeded", action.run(context))
    except Exception as error:
        run.say_step(index, action, "failed", None, in_words(error))
        run.detail = f"step {index + 1} failed: {in_words(error)}"
        raise


def _attempt(session: OrmSession, context: RunContext, run: Run, index: int, action: Action) -> None:
    """One action in a savepoint of its own: its failure is written down and the next one goes on."""
    try:
        with session.begin_nested():
            result = action.run(context)
            session.flush()
            _require_no_hidden_error(session)
    except TransactionLost:
        raise
    except Exception as error:
        run.say_step(index, action, "failed", None, in_words(error))
        require_alive(session)
    else:
        run.say_step(index, action, "succeeded", result)


def _require_no_hidden_error(session: OrmSession) -> None:
    """A step that swallowed a database error poisoned the transaction (PostgreSQL): said here, while the
    savepoint can still be rolled back. Releasing it would fail and take the whole save along."""
    if not is_transaction_alive(session):
        raise ActionFailed("a step hid an error of the database, so nothing of this rule can be kept")


def _record(session: OrmSession, runs: list[Run]) -> None:
    """Write the runs; if a trace cannot be written, the runs without it, so that none is lost in silence."""
    try:
        with session.connection().begin_nested():
            trace.record(session, runs)
        return
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

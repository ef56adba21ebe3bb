"""One more go at what a stored event started: after a wait, or because a person asked for it."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select

from soconnective.automation import engine
from soconnective.automation.candidates import Rule
from soconnective.automation.definition import parse
from soconnective.automation.execution import Job, execute
from soconnective.automation.models import AutomationRun, AutomationVersion
from soconnective.automation.references import replaced_since
from soconnective.automation.trace import Run
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.errors import TransactionLost
from soconnective.events import DomainEvent, EventRow, snapshot_now, tell


def stored_event(run: AutomationRun) -> DomainEvent:
    """The event that started `run`, with the record as it was then."""
    return db.session.get_one(EventRow, run.event_id).as_event()


def with_record_of_now(event: DomainEvent) -> DomainEvent | None:
    """The same event with the record as it is now; None if that is gone.

    Conditions about days ("within the last 7 days") are then asked of this moment.
    """
    snapshot = snapshot_now(event.record_type, event.record_id)
    return None if snapshot is None else replace(event, snapshot=snapshot, occurred_at=clock.now())


def rule_at(automation_id: int, number: int) -> Rule | None:
    """A rule as it was at version `number`; what it names and was replaced since is replaced here too."""
    version = db.session.execute(
        select(AutomationVersion.definition, AutomationVersion.saved_at).where(
            AutomationVersion.automation_id == automation_id, AutomationVersion.number == number
        )
    ).first()
    if version is None:
        return None
    return Rule(automation_id, number, replaced_since(parse(version.definition), version.saved_at))


def perform(run: Run, rule: Rule, start: int = 0, done: frozenset[int] = frozenset()) -> None:
    """Perform the steps of `rule` from `start` on, without those in `done`; what came of it stands in `run`.

    Inside a savepoint as ever: a failure is a failed run. What it changed is told when the transaction
    commits, and other rules look at it. Raises `TransactionLost`, or what broke after its effects were kept.
    """
    session = db.session()
    performance = Job(run.event, rule, run, start=start, done=done)
    try:
        execute(session, performance)
        tell(session, performance.caused)
    except TransactionLost:
        raise
    except Exception as error:
        if performance.is_done:
            raise
        engine.fail(session, run, rule, error)

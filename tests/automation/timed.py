"""What the tests of time share: a worker turned by hand, notes, due rows, and the scheduler's tick."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select

from soconnective.automation.due_fire import take_due
from soconnective.automation.due_models import AutomationDue
from soconnective.automation.models import AutomationRun
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.tenancy import _current
from soconnective.jobs.queue import claim
from soconnective.jobs.worker import perform
from soconnective.timeline.models import Note


def elsewhere(function: Any, *args: Any) -> Any:
    """What a worker does, outside of any workspace, while the test stands in one."""
    db.session.remove()
    token = _current.set(None)
    try:
        return function(*args)
    finally:
        db.session.remove()
        _current.reset(token)


def work(at: datetime) -> list[str]:
    """What a worker makes of the jobs that wait at `at`."""

    def _work() -> list[str]:
        states = []
        while claims := claim("w", 10):
            states += [perform(one) for one in claims]
        return states

    with clock.at(at):
        return elsewhere(_work)  # type: ignore[no-any-return]


def tick(at: datetime) -> int:
    """The scheduler looks at `at`, and a worker does what it finds; returns how many rows were due."""
    work(at)
    with clock.at(at):
        taken = elsewhere(take_due, at)
    work(at)
    return int(taken)


def notes() -> list[str]:
    db.session.expire_all()
    return list(db.session.scalars(select(Note.body).order_by(Note.id)))


def runs() -> list[AutomationRun]:
    db.session.expire_all()
    return list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))


def rows() -> list[tuple[int, str, datetime, str]]:
    """(record, due value, moment, state) of every due row."""
    db.session.expire_all()
    found = db.session.scalars(select(AutomationDue).order_by(AutomationDue.id))
    return [(row.record_id, row.due_value, row.at, row.state) for row in found]


def note(body: str) -> tuple[str, dict[str, Any]]:
    return "log_note", {"body": body}

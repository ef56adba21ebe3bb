"""What a rule sent and nobody got: its run says so, and whoever registered for it tells people.

Called by the job that gives up, in its transaction, in a savepoint: what goes wrong here is logged, and the job is
given up all the same.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from soconnective.automation.models import AutomationRun
from soconnective.automation.trace import MAX_DETAIL, clean
from soconnective.core.db import db, require_alive, savepoint
from soconnective.core.errors import TransactionLost

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A message of rule `rule_id`, as a record of its own (`record_type`, `record_id`), and why nobody got it."""

    rule_id: int
    record_type: str
    record_id: int
    title: str
    reason: str


Observer = Callable[[Undelivered, int | None], None]  # with the id of the run that sent it
_observers: list[Observer] = []


def on_undelivered(observer: Observer) -> None:
    if observer not in _observers:
        _observers.append(observer)


def tell_undelivered(event_id: int | None, what: Undelivered, *, is_told: bool = True) -> None:
    """Say it in the run of `event_id`, and to people if `is_told`."""
    session = db.session()
    try:
        with savepoint(session):
            run_id = _say_in_run(event_id, what)
            for observer in _observers if is_told else ():
                observer(what, run_id)
            session.flush()
    except TransactionLost:
        raise
    except Exception:
        log.exception("nobody could be told of a message that was not delivered")
        require_alive(session)


def _say_in_run(event_id: int | None, what: Undelivered) -> int | None:
    """A remark at the step that sent it, and a word in the detail; returns the run."""
    runs = db.session.scalars(
        select(AutomationRun)
        .where(AutomationRun.event_id == event_id, AutomationRun.automation_id == what.rule_id)
        .order_by(AutomationRun.id.desc())
        .with_for_update()
    )
    for run in runs:
        trace = copy.deepcopy(run.trace)
        for step in trace.get("steps", ()):
            if any((m["type"], m["id"]) == (what.record_type, what.record_id) for m in step["made"]):
                said = clean(f"{what.title}: {what.reason}")
                step["remarks"] = [*step["remarks"], said]
                run.trace, run.detail = trace, f"{run.detail}; not delivered: {said}"[:MAX_DETAIL]
                return int(run.id)
    return None

"""What a rule sent and nobody got: its run says so, and whoever registered for it tells people.

Called by the job that gives up, or that delivers after all, in its transaction, in a savepoint: what goes wrong here
is logged, and the job ends as it would.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select

from soconnective.automation.models import AutomationRun
from soconnective.automation.trace import MAX_DETAIL, clean
from soconnective.core.db import db, require_alive, savepoint
from soconnective.core.errors import TransactionLost

log = logging.getLogger(__name__)
_NOT, _AFTER_ALL = "; not delivered: ", "; delivered after all"


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
    with _fenced():
        run_id = _say_in_run(event_id, what)
        for observer in _observers if is_told else ():
            observer(what, run_id)


def tell_delivered(event_id: int | None, rule_id: int, record_type: str, record_id: int, title: str) -> None:
    """Somebody sent again what was given up, and now it arrived: a run that said otherwise says so too."""
    with _fenced():
        mine = (AutomationRun.event_id == event_id) & (AutomationRun.automation_id == rule_id)
        if not any(_says_not(run) for run in db.session.scalars(select(AutomationRun).where(mine))):
            return  # as nearly always: no lock is needed to see that
        for run in _runs_of(event_id, rule_id):
            said_so = _NOT in run.detail
            if (
                _says_not(run)
                and _remark(run, record_type, record_id, f"{title}: delivered after all", False)
                and said_so
            ):
                run.detail = run.detail[: MAX_DETAIL - len(_AFTER_ALL)] + _AFTER_ALL


def _says_not(run: AutomationRun) -> bool:
    """Its words may be gone: they are cut where the detail is long, and one that waited has new ones at its end."""
    return bool(run.undelivered) or _NOT in run.detail


@contextmanager
def _fenced() -> Iterator[None]:
    session = db.session()
    try:
        with savepoint(session):
            yield
            session.flush()
    except TransactionLost:
        raise
    except Exception:
        log.exception("nobody could be told of what became of a message")
        require_alive(session)


def _say_in_run(event_id: int | None, what: Undelivered) -> int | None:
    """A remark at the step that sent it, and a word in the detail; returns the run."""
    said = clean(f"{what.title}: {what.reason}")
    for run in _runs_of(event_id, what.rule_id):
        if _remark(run, what.record_type, what.record_id, said, True):
            run.detail = f"{run.detail}{_NOT}{said}"[:MAX_DETAIL]
            return int(run.id)
    return None


def _runs_of(event_id: int | None, rule_id: int) -> list[AutomationRun]:
    """The runs of a rule for an event, the last attempt first, locked."""
    statement = (
        select(AutomationRun)
        .where(AutomationRun.event_id == event_id, AutomationRun.automation_id == rule_id)
        .order_by(AutomationRun.id.desc())
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return list(db.session.scalars(statement))


def _remark(run: AutomationRun, record_type: str, record_id: int, words: str, is_undelivered: bool) -> bool:
    """Put `words` to the step that made the record, and mark the record; whether there is such a step."""
    trace = copy.deepcopy(run.trace)
    for step in trace.get("steps", ()):
        found = [one for one in step["made"] if (one["type"], one["id"]) == (record_type, record_id)]
        if found:
            found[0]["undelivered"] = is_undelivered
            step["remarks"] = [*step["remarks"], clean(words)]
            run.trace = trace
            return True
    return False

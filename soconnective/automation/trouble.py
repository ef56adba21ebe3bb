"""Who is told when rules fail or are paused: packages above register for it, and none of them can reach the save.

Each observer is called in the transaction of the runs, once they are recorded, in a savepoint of its own. It may
add rows; it changes no watched record, since nobody reacts to that any more. What it raises is logged, and it is
as if it had not been called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session as OrmSession

from soconnective.core.db import is_transaction_alive, require_alive, savepoint
from soconnective.core.errors import TransactionLost

log = logging.getLogger(__name__)
MOST_TOLD = 50  # failures of one transaction: what is beyond is in the run log


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed, or did a part only. `rule_id` None: the engine itself, before it got to a rule."""

    rule_id: int | None
    rule_number: int | None
    event_id: int
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class Pause:
    """A rule that the breaker paused, and why."""

    rule_id: int
    why: str


Observer = Callable[[OrmSession, Sequence[Failure], Sequence[Pause]], None]
_observers: list[Observer] = []


def on_trouble(observer: Observer) -> None:
    """Register `observer`, called with the failures and the pauses of a transaction (not both are empty)."""
    if observer not in _observers:
        _observers.append(observer)


def tell_trouble(session: OrmSession, failures: Sequence[Failure], pauses: Sequence[Pause]) -> None:
    """Call the observers; raises only if the transaction itself is lost."""
    if not failures and not pauses:
        return
    for observer in _observers:
        try:
            with savepoint(session):
                observer(session, failures[:MOST_TOLD], pauses)
                session.flush()
                _require_no_hidden_error(session)
        except TransactionLost:
            raise
        except Exception:
            log.exception("who is told of failed rules could not be told; the save goes on")
            require_alive(session)


def _require_no_hidden_error(session: OrmSession) -> None:
    """On PostgreSQL a swallowed error poisons the savepoint: it can be rolled back, not released."""
    if not is_transaction_alive(session):
        raise RuntimeError("an observer hid an error of the database")

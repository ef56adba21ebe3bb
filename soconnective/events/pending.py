"""What this transaction has still to react to. A rolled-back savepoint takes its notes with it.

Notes lie in one list in order; each savepoint remembers how long the list was when it began, and
rolling it back cuts the list to that length. (`after_soft_rollback` is the hook that says which
transaction was rolled back; `after_transaction_end` comes earlier and also for releases.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import SessionTransaction

from soconnective.core.access import Actor
from soconnective.core.db import Session
from soconnective.events.reacting import LOUDEST, Mode
from soconnective.events.watch import Kind, Watch

_KEY = "events.pending"
AS_IT_WAS = "events.as_it_was"  # of a record that is deleted: its last snapshot, in its state


@dataclass(slots=True, eq=False)
class Note:
    """What one flush did to one record: raw old and new values, removed and added members of list fields."""

    watch: Watch
    record_id: int
    tenant_id: int
    record: Any  # None until the drain loads it, when only a part of it changed
    kind: Kind
    fields: dict[str, tuple[Any, Any]]
    members: dict[str, tuple[list[Any], list[Any]]]
    links: dict[tuple[str, int], None]
    actor: Actor
    at: datetime
    wanted: bool = False
    is_void: bool = False
    rules: Mode = "run"

    def want(self) -> None:
        """Said by a receiver: somebody may react to this change."""
        self.wanted = self.rules != "skip"

    def louder(self, other: Note) -> Mode:
        """What is said of the rules when both changes are told as one."""
        return min(self.rules, other.rules, key=LOUDEST.index)


@dataclass(slots=True)
class Pending:
    """The notes of one session, and the length of the list at each open savepoint."""

    notes: list[Note] = field(default_factory=list)
    marks: WeakKeyDictionary[SessionTransaction, int] = field(default_factory=WeakKeyDictionary)


def pending_of(session: OrmSession) -> Pending:
    found = session.info.get(_KEY)
    if found is None:
        found = session.info[_KEY] = Pending()
    return found


def take(session: OrmSession) -> list[Note]:
    """All notes since the last call, in order; they are no longer pending."""
    pending = pending_of(session)
    notes, pending.notes = pending.notes, []
    return notes


@event.listens_for(Session, "after_transaction_create")
def _on_transaction_create(session: OrmSession, transaction: SessionTransaction) -> None:
    if transaction.nested:
        pending = pending_of(session)
        pending.marks[transaction] = len(pending.notes)


@event.listens_for(Session, "after_soft_rollback")
def _on_soft_rollback(session: OrmSession, previous: SessionTransaction) -> None:
    pending = session.info.get(_KEY)
    if pending is not None:
        while not previous.nested and previous.parent is not None:
            previous = previous.parent  # a flush that failed has undone the savepoint around it, no more
        del pending.notes[pending.marks.get(previous, 0) if previous.nested else 0 :]

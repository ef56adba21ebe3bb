"""Other rules as what a step can name: those of the same kind of record that another rule may start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from soconnective.automation.models import Automation
from soconnective.core.db import db


@dataclass(frozen=True, slots=True)
class Coming:
    """A rule that a text will make; its id holds its place until then."""

    id: int
    key: str
    name: str
    trigger: str


_coming: ContextVar[Sequence[Coming]] = ContextVar("coming rules", default=())


@contextmanager
def expecting(rules: Sequence[Coming]) -> Iterator[None]:
    """Inside, rules may name these as if they were there."""
    token = _coming.set(rules)
    try:
        yield
    finally:
        _coming.reset(token)


def coming() -> Sequence[Coming]:
    return _coming.get()


STARTABLE = (".rule_started", ".picked_by_hand")
_KEPT = "automation.rule_names"


def _rules() -> dict[int, Any]:
    """Every rule that is not deleted, read once in a transaction: a list of rules names many."""
    session = db.session()
    kept = session.info.get(_KEPT)
    if (
        kept is None
        or kept[0] is not session.get_transaction()
        or kept[0] is None
        or session.new
        or session.dirty
    ):
        rows = session.execute(
            select(Automation.id, Automation.name, Automation.trigger)
            .where(Automation.deleted_at.is_(None))
            .order_by(Automation.position, Automation.id)
        )
        found = {row.id: row for row in rows}
        kept = session.info[_KEPT] = (session.get_transaction(), found)
    return {**kept[1], **{rule.id: rule for rule in coming()}}


def rule_name(rule_id: int | None) -> str | None:
    found = _rules().get(rule_id or 0)
    return found.name if found else None


def startable(record_type: str | None) -> dict[int, str]:
    """The rules that a rule about this kind of record may start, by id."""
    wanted = {f"{record_type}{ending}" for ending in STARTABLE}
    return {rule.id: rule.name for rule in _rules().values() if rule.trigger in wanted}


def about(record_type: str | None) -> dict[int, str]:
    """All rules about this kind of record, by id."""
    return {r.id: r.name for r in _rules().values() if r.trigger.partition(".")[0] == record_type}

"""Which rules may look at an event: one indexed query, in the rules' order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, or_, select
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.definition import Definition, parse
from soconnective.automation.models import Automation, AutomationVersion

_a: Any = Automation.__table__.c
_v: Any = AutomationVersion.__table__.c

# Core, with the tenant named: this runs for every save. Position orders the rules, id breaks ties.
_every = (
    select(_a.id, _a.trigger, _a.is_shadow, _v.number, _v.definition)
    .join_from(
        Automation.__table__,
        AutomationVersion.__table__,
        (_v.tenant_id == _a.tenant_id) & (_v.automation_id == _a.id) & (_v.number == _a.definition_number),
    )
    .where(_a.tenant_id == bindparam("tenant_id"), _a.deleted_at.is_(None))
    .order_by(_a.position, _a.id)
)
_rules = _every.where(or_(_a.is_active.is_(True), _a.is_shadow.is_(True)))
_query = _rules.where(_a.trigger.in_(bindparam("names", expanding=True)))
_ids = _a.id.in_(bindparam("ids", expanding=True))
_by_id, _off_by_id = _rules.where(_ids), _every.where(_ids)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as the engine uses it: what it does at version `number`. In the shadow it only says what it would do."""

    id: int
    number: int
    definition: Definition
    is_shadow: bool = False


def candidates(session: OrmSession, tenant_id: int, names: Iterable[str]) -> dict[str, list[Rule]]:
    """The rules of `tenant_id` that look at each event name, active or in the shadow, in their order."""
    found: dict[str, list[Rule]] = {}
    for row in session.connection().execute(_query, {"tenant_id": tenant_id, "names": list(names)}):
        found.setdefault(row.trigger, []).append(_rule(row))
    return found


def addressed(
    session: OrmSession, tenant_id: int, ids: Iterable[int], also_off: bool = False
) -> dict[int, Rule]:
    """The same of the rules that events are addressed to, by id: their trigger may be another one."""
    statement = _off_by_id if also_off else _by_id
    rows = session.connection().execute(statement, {"tenant_id": tenant_id, "ids": list(ids)})
    return {row.id: _rule(row) for row in rows}


def _rule(row: Any) -> Rule:
    return Rule(row.id, row.number, parse(row.definition), row.is_shadow)

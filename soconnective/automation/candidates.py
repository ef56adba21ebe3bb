"""Which rules may look at an event: one indexed query, in the rules' order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.definition import Definition, parse
from soconnective.automation.models import Automation, AutomationVersion

_a: Any = Automation.__table__.c
_v: Any = AutomationVersion.__table__.c

# Core, with the tenant named: this runs for every save. Position orders the rules, id breaks ties.
_query = (
    select(_a.id, _a.trigger, _v.number, _v.definition)
    .join_from(
        Automation.__table__,
        AutomationVersion.__table__,
        (_v.tenant_id == _a.tenant_id) & (_v.automation_id == _a.id) & (_v.number == _a.definition_number),
    )
    .where(
        _a.tenant_id == bindparam("tenant_id"),
        _a.trigger.in_(bindparam("names", expanding=True)),
        _a.is_active.is_(True),
        _a.deleted_at.is_(None),
    )
    .order_by(_a.position, _a.id)
)


@dataclass(frozen=True, slots=True)
class Rule:
    """An active rule as the engine uses it: what it did at version `number`."""

    id: int
    number: int
    definition: Definition


def candidates(session: OrmSession, tenant_id: int, names: Iterable[str]) -> dict[str, list[Rule]]:
    """The active rules of `tenant_id` for each event name, in the rules' order."""
    found: dict[str, list[Rule]] = {}
    for row in session.connection().execute(_query, {"tenant_id": tenant_id, "names": list(names)}):
        found.setdefault(row.trigger, []).append(Rule(row.id, row.number, parse(row.definition)))
    return found

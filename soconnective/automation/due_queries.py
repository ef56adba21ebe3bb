"""What a rule's page says of the time to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from soconnective.automation.definition import Definition
from soconnective.automation.due_models import EVERY_RECORD, AutomationDue
from soconnective.automation.hours import work_hours
from soconnective.automation.models import Automation
from soconnective.automation.timed import Timed
from soconnective.automation.timed_schedule import ScheduleDue, upcoming
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.registry import registry

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Coming:
    """A moment at which the rule will look, and at what (empty: at every record)."""

    at: datetime
    title: str = ""
    url: str = ""


def coming(rule: Automation, definition: Definition) -> list[Coming] | None:
    """The next moments of a rule that waits for time; None for one that does not, none while it is off."""
    trigger = definition.trigger
    if not isinstance(trigger, Timed | ScheduleDue):
        return None
    if not rule.looks:
        return []
    if isinstance(trigger, ScheduleDue):
        return [Coming(at) for at in upcoming(trigger.settings, clock.now(), work_hours(), 3)]
    rows = db.session.scalars(
        select(AutomationDue)
        .where(
            AutomationDue.automation_id == rule.id,
            AutomationDue.state != "fired",
            AutomationDue.record_id != EVERY_RECORD,
        )
        .order_by(AutomationDue.at, AutomationDue.id)
        .limit(SHOWN)
    ).all()
    kind = registry.record_types[trigger.record_type]
    titles = kind.titles([row.record_id for row in rows])
    return [
        Coming(row.at, titles.get(row.record_id, "a record that is gone"), kind.url(row.record_id))
        for row in rows
    ]

"""What fell due while a rule was switched off: not made up for, and not passed over in silence.

When the rule looks again, the job that plans it finds these moments. For the first of them the rule is asked, and a
run says that it was off; the rest is counted. The rule's page tells the number, and offers what can be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import update

from soconnective.automation.candidates import Rule
from soconnective.automation.due import Wants, fire_once, forget
from soconnective.automation.hours import work_hours
from soconnective.automation.models import Automation
from soconnective.automation.timed import Timed, addressed_event, schedule_actor
from soconnective.automation.timed_schedule import ScheduleDue
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.tenancy import current_tenant_id
from soconnective.events import tell

TOLD = 200  # records with a run of their own
MOMENTS = 1000  # of a schedule: counted to this number
SHOWN = timedelta(days=30)
_a: Any = Automation.__table__.c


@dataclass
class Gap:
    """The time in which a rule was off, as the planning job carries it from slice to slice."""

    start: datetime
    end: datetime
    records: int = 0

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Self | None:
        if "off_since" not in payload:
            return None
        start, end = (datetime.fromisoformat(payload[name]) for name in ("off_since", "since"))
        return cls(start, end, payload.get("missed", 0))

    @property
    def so_far(self) -> dict[str, int]:
        return {"missed": self.records}

    def look(self, rule: Rule, trigger: Timed, wants: Wants) -> None:
        """Count those of a slice that fell due in this time, and tell the first ones."""
        over = {
            record_id: want
            for (_rule, record_id), want in wants.items()
            if want is not None and self.start < want[1] <= self.end
        }
        session, actor = db.session(), schedule_actor(rule.id, rule.definition.name)
        forget(session, current_tenant_id(), trigger.record_type, list(over), rule, self.end)
        for record_id in fire_once(session, current_tenant_id(), trigger.record_type, over, rule):
            self.records += 1
            if self.records <= TOLD:
                event = addressed_event(
                    trigger.type_id, record_id, rule.id, actor, over[record_id][1], is_shown=False
                )
                tell(session, [replace(event, rules="log")] if event else [])

    def close(self, rule: Rule, trigger: Timed | ScheduleDue) -> None:
        """Write the sum on the rule, where its page shows it; it is no change of the rule."""
        number = self._moments(trigger) if isinstance(trigger, ScheduleDue) else self.records
        what = "moments" if isinstance(trigger, ScheduleDue) else "records"
        now = db.session.get_one(Automation, rule.id)
        if end_of(now) == self.end:  # else it was off once more since, and another job counts that
            mine = (_a.tenant_id == current_tenant_id(), _a.id == rule.id)
            table: Any = Automation.__table__
            values = {"gap": {**(now.gap or {}), what: number}}
            db.session.connection().execute(update(table).where(*mine).values(values))
            db.session.expire(now, ["gap"])

    def _moments(self, trigger: ScheduleDue) -> int:
        """How often the schedule came in this time, counted to `MOMENTS`."""
        number, hours, at = 0, work_hours(), trigger.next_after(self.start, work_hours())
        while at is not None and at <= self.end and number < MOMENTS:
            number, at = number + 1, trigger.next_after(at, hours)
        return number


def end_of(rule: Automation) -> datetime | None:
    """Since when the rule looks again, if somebody had switched it off: what was due before is over."""
    return datetime.fromisoformat(rule.gap["to"]) if rule.gap else None


def is_over(rule: Automation, at: datetime) -> bool:
    """Whether somebody had switched the rule off at this moment, so that it is not made up for."""
    gap = rule.gap or {}
    if not rule.looks or not gap:
        return not rule.looks
    return datetime.fromisoformat(gap["from"]) < at <= datetime.fromisoformat(gap["to"])


def gap_in_words(rule: Automation) -> str | None:
    """What fell due while the rule was off last time; None if nothing did or it was long ago."""
    gap, end = rule.gap or {}, end_of(rule)
    number = gap.get("moments") or gap.get("records")
    if not number or end is None or end < clock.now() - SHOWN:
        return None
    if "moments" in gap:
        times = "once" if number == 1 else f"{number:,} times"
        return f"its schedule came {times if number < MOMENTS else f'{MOMENTS:,} times or more'}"
    said = "1 record fell due" if number == 1 else f"{number:,} records fell due"
    return said if number <= TOLD else f"{said}; the first {TOLD} are among its runs"

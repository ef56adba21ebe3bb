"""The trigger *no activity for N days*: nothing that somebody did is on the record's timeline."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session as OrmSession
from wtforms import Form, IntegerField
from wtforms.validators import InputRequired, NumberRange

from soconnective.automation.contracts import Settings
from soconnective.automation.timed import Timed
from soconnective.core import clock
from soconnective.core.tenancy import current_tenant_id
from soconnective.core.workhours import WorkHours
from soconnective.events import DomainEvent, EventLink, EventRow

NOT_ACTIVE = ("automation", "schedule")  # what they do is no activity: a reminder does not end the silence


class SilenceSettings(Settings):
    days: int = Field(14, ge=1, le=365)


class SilenceForm(Form):  # type: ignore[misc]
    days = IntegerField(
        "Days without activity",
        default=14,
        validators=[InputRequired("Write a number of days."), NumberRange(1, 365, "Choose 1 to 365 days.")],
        description="Activity is whatever people do that stands on its timeline. What rules do does not count.",
    )


class WentSilent(Timed):
    """Due once for each silence, so many days after the last activity, at its time of day."""

    Settings = SilenceSettings
    form = SilenceForm

    def due(self, value: Any, hours: WorkHours) -> datetime | None:
        if value in (None, ""):
            return None
        last = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        wall = clock.local(last, hours.zone).replace(tzinfo=None) + timedelta(days=self.settings.days)
        return clock.from_local(wall, hours.zone)

    def describe(self) -> str:
        days = self.settings.days
        return f"nothing happens to {self.article} for {days} day{'s' * (days != 1)}"


def is_activity(event: DomainEvent) -> bool:
    return event.actor.kind not in NOT_ACTIVE


def last_activities(session: OrmSession, record_type: str, ids: list[int]) -> dict[int, datetime]:
    """The moment of the last activity of each of these records."""
    found = session.execute(
        select(EventLink.record_id, func.max(EventRow.id).label("id"))
        .join(EventRow, (EventRow.tenant_id == EventLink.tenant_id) & (EventRow.id == EventLink.event_id))
        .where(
            EventLink.tenant_id == current_tenant_id(),
            EventLink.record_type == record_type,
            EventLink.record_id.in_(ids),
            EventRow.actor_kind.not_in(NOT_ACTIVE),
        )
        .group_by(EventLink.record_id)
    ).all()
    moments = dict(
        session.execute(
            select(EventRow.id, EventRow.occurred_at).where(EventRow.id.in_([r.id for r in found]))
        ).all()
    )
    return {row.record_id: moments[row.id] for row in found if row.id in moments}

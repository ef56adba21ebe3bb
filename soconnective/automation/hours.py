"""The workspace's business hours as they are stored: rules wait for them and keep to working days."""

from __future__ import annotations

from datetime import date, time
from typing import Any

from sqlalchemy import String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core.db import db
from soconnective.core.model import Base, Json, TenantOwned, Timestamped, Versioned, tenant_table
from soconnective.core.workhours import Span, WorkHours
from soconnective.core.workspace import current_workspace

_KEPT = "automation.hours"


class BusinessHours(TenantOwned, Timestamped, Versioned, Base):
    """One row for a workspace that has changed them. `opening` is a list of seven: [from, to] or null."""

    __tablename__ = "business_hours"
    __table_args__ = tenant_table(UniqueConstraint("tenant_id"))

    opening: Mapped[list[Any]] = mapped_column(Json)
    country: Mapped[str] = mapped_column(String(2), default="")
    subdivision: Mapped[str] = mapped_column(String(20), default="")
    closed: Mapped[list[str]] = mapped_column(Json, default=list)

    def read(self, zone: str) -> WorkHours:
        return WorkHours(
            zone,
            tuple(_span(one) for one in self.opening),
            self.country,
            self.subdivision,
            frozenset(date.fromisoformat(day) for day in self.closed),
        )


def _span(stored: Any) -> Span | None:
    return (time.fromisoformat(stored[0]), time.fromisoformat(stored[1])) if stored else None


def stored_hours() -> BusinessHours | None:
    return db.session.scalars(select(BusinessHours)).first()


def work_hours() -> WorkHours:
    """The current workspace's, read once a transaction: Monday to Friday, 9 to 17, until somebody says otherwise."""
    session, workspace = db.session(), current_workspace()
    kept = session.info.get(_KEPT)
    transaction = session.get_transaction()
    if kept is None or transaction is None or kept[:2] != (transaction, workspace):
        row = stored_hours()
        found = row.read(workspace.timezone) if row else WorkHours(workspace.timezone)
        kept = session.info[_KEPT] = (session.get_transaction(), workspace, found)
    return kept[2]


def save_hours(
    opening: list[Span | None], country: str, subdivision: str, closed: list[date]
) -> BusinessHours:
    row = stored_hours()
    if row is None:
        row = BusinessHours()
        db.session.add(row)
    row.opening = [[f"{one[0]:%H:%M}", f"{one[1]:%H:%M}"] if one else None for one in opening]
    row.country, row.subdivision = country, subdivision if country else ""
    row.closed = [day.isoformat() for day in sorted(set(closed))]
    db.session.info.pop(_KEPT, None)
    return row

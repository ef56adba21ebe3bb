"""Reads of notifications: the count at the bell, one person's list, and where each one leads."""

from __future__ import annotations

from typing import Any

from flask import abort, g, url_for
from sqlalchemy import func, select

from soconnective.core.counts import count_of, count_with
from soconnective.core.db import db
from soconnective.core.registry import registry
from soconnective.core.tenancy import has_tenant
from soconnective.notifications.models import Notification

MOST = 99  # the bell counts no further

# What has a page of its own without being a kind of record: (endpoint, name of the id in its address)
_PAGES = {"automation": ("automations.show", "automation_id"), "run": ("automations.run", "run_id")}


def unread() -> int:
    """How many the person at the page has not read, counted to just beyond `MOST`."""
    return count_of("unread_notifications")


def _unread() -> Any:
    if g.get("person") is None or not has_tenant():
        return None
    mine = (Notification.person_id == g.person.id) & Notification.read_at.is_(None) & Notification.is_shown
    some = select(Notification.id).where(mine).limit(MOST + 1).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


count_with("unread_notifications", _unread)


def of_person(person_id: int, only_unread: bool = False) -> Any:
    """The statement of a person's list."""
    statement = select(Notification).where(Notification.person_id == person_id, Notification.is_shown)
    return statement.where(Notification.read_at.is_(None)) if only_unread else statement


def get(notification_id: int) -> Notification:
    """One of the person's own, or 404."""
    row = db.session.get(Notification, notification_id)
    return row if row is not None and row.person_id == g.person.id and row.is_shown else abort(404)


def link_of(row: Notification) -> str | None:
    """The page of what it is about, or None."""
    if row.record_type is None or row.record_id is None:
        return None
    if row.record_type in _PAGES:
        endpoint, name = _PAGES[row.record_type]
        values: dict[str, Any] = {name: row.record_id}
        return url_for(endpoint, **values)
    kind = registry.record_types.get(row.record_type)
    return kind.url(row.record_id) if kind else None

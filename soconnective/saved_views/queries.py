"""Reads of saved views, and who may change which."""

from __future__ import annotations

from flask import abort, g
from sqlalchemy import or_, select

from soconnective.core.access import can
from soconnective.core.db import db
from soconnective.saved_views.models import SavedView

MANAGERS = ("owner", "admin")  # of what is shared


def views_of(record_type: str) -> list[SavedView]:
    """The views of a list that the person may see: the shared ones, then their own."""
    rows = db.session.scalars(
        select(SavedView)
        .where(
            SavedView.record_type == record_type, or_(SavedView.is_shared, SavedView.owner_id == g.person.id)
        )
        .order_by(SavedView.is_shared.desc(), SavedView.position, SavedView.id)
    )
    return list(rows)


def get_view(view_id: int) -> SavedView:
    """The view, or 404; another person's private one counts as missing."""
    view = db.session.get(SavedView, view_id)
    if view is None or not (view.is_shared or view.owner_id == g.person.id):
        abort(404)
    return view


def may_change(view: SavedView) -> bool:
    """A private view: its owner. A shared one: its maker, as long as they may share, and owners and admins."""
    if not view.is_shared:
        return bool(view.owner_id == g.person.id)
    return g.role in MANAGERS or (view.owner_id == g.person.id and can("views.share"))

"""Which views name a tag, a stage or a pipeline that is about to go, and what they name in its place."""

from __future__ import annotations

from flask import g
from sqlalchemy import or_, select

from soconnective.automation.references import group_names, group_with
from soconnective.core.db import db
from soconnective.saved_views.listed import asked_fields, lists
from soconnective.saved_views.models import SavedView
from soconnective.saved_views.tree_text import read, written


def views_naming(kind: str, *ids: int) -> list[SavedView]:
    """Those that the person may see."""
    statement = select(SavedView).where(or_(SavedView.is_shared, SavedView.owner_id == g.person.id))
    found = []
    for view in db.session.scalars(
        statement.order_by(SavedView.record_type, SavedView.position, SavedView.id)
    ):
        tree, fields = read(view.conditions), asked_fields(lists()[view.record_type])
        if tree is not None and any(group_names(tree, fields, kind, item_id) for item_id in ids):
            found.append(view)
    return found


def replace_in_views(kind: str, old: int, new: int) -> None:
    """Put `new` in the place of `old` in every view of the workspace."""
    for view in db.session.scalars(select(SavedView).order_by(SavedView.id)):
        tree, fields = read(view.conditions), asked_fields(lists()[view.record_type])
        if tree is not None and group_names(tree, fields, kind, old):
            view.conditions = written(group_with(tree, fields, kind, str(old), str(new)))

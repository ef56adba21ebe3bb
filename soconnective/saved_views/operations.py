"""Every write to saved views."""

from __future__ import annotations

import unicodedata

from sqlalchemy import select

from soconnective.core.conditions import Field, Group, problems
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.saved_views.listed import Listed, asked_fields
from soconnective.saved_views.models import NAME_LENGTH, SavedView
from soconnective.saved_views.tree_text import is_shown, read, written

MOST_VIEWS = 100  # shared ones of a list, and those that one person keeps for themselves
LONGEST_TREE = 20_000


def create_view(
    listed: Listed, name: str, tree: Group, sort: str | None, owner_id: int, *, is_shared: bool
) -> SavedView:
    """A new view at the end of the others. Raises `Refused`."""
    view = SavedView(record_type=listed.record_type, owner_id=owner_id, is_shared=is_shared)
    _name(view, name)
    _fill(view, listed, tree, sort)
    _place(view)
    db.session.add(view)
    db.session.flush()
    return view


def rename_view(view: SavedView, name: str) -> SavedView:
    _name(view, name)
    return view


def refilter_view(view: SavedView, listed: Listed, tree: Group, sort: str | None) -> SavedView:
    """Keep what the list asks now. Raises `Refused`."""
    _fill(view, listed, tree, sort)
    return view


def share_view(view: SavedView, *, is_shared: bool) -> SavedView:
    """Show it to the workspace, or keep it to its maker. Raises `Refused` if the name is taken there."""
    if view.is_shared != is_shared:
        view.is_shared = is_shared
        _require_free(view, "name")
        _place(view)
    return view


def move_view(view: SavedView, by: int) -> None:
    """One place to the front (-1) or back (1) among those it stands with."""
    rows = _neighbours(view)
    place = rows.index(view)
    other = place + by
    if 0 <= other < len(rows):
        rows[place], rows[other] = rows[other], rows[place]
    for position, row in enumerate(rows):
        row.position = position


def delete_view(view: SavedView) -> None:
    db.session.delete(view)


def tree_from(text: str, listed: Listed) -> Group:
    """The tree that a page sent along. Raises `Refused`."""
    tree = read(text) if len(text) <= LONGEST_TREE else None
    if tree is None:
        raise Refused("The filter cannot be read. Go back to the list, and save it from there.")
    _require_sound(tree, asked_fields(listed))
    return tree


def _require_sound(tree: Group, fields: dict[str, Field]) -> None:
    wrong = problems(tree, fields, with_changes=False)
    if wrong:
        raise Refused(f"The filter makes no sense any more: {wrong[0][1]}")
    if not is_shown(tree):
        raise Refused(
            "A view keeps groups of conditions, not groups in groups. Put what the boxes above the list ask into the "
            "groups themselves, then save again."
        )


def _fill(view: SavedView, listed: Listed, tree: Group, sort: str | None) -> None:
    _require_sound(tree, asked_fields(listed))
    view.conditions = written(tree)
    view.sort = sort if listed.is_sort(sort) else None


def _name(view: SavedView, text: str) -> None:
    name = unicodedata.normalize("NFC", " ".join(text.split()))
    if not name:
        raise Refused("Give the view a name.", "name")
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise Refused(f"A view's name is plain text of {NAME_LENGTH} characters at most.", "name")
    view.name, view.normalised = name, name.casefold()
    _require_free(view, "name")


def _require_free(view: SavedView, field: str) -> None:
    with db.session.no_autoflush:
        for other in _neighbours(view):
            if other.normalised == view.normalised and other is not view:
                where = "is shared with the workspace" if view.is_shared else "is yours"
                raise Refused(
                    f"A view “{other.name}” of this list {where} already. Choose another name.", field
                )


def _place(view: SavedView) -> None:
    others = [row for row in _neighbours(view) if row is not view]
    if len(others) >= MOST_VIEWS:
        raise Refused(f"A list has {MOST_VIEWS} views of this kind at most. Delete one first.")
    view.position = max((row.position for row in others), default=-1) + 1


def _neighbours(view: SavedView) -> list[SavedView]:
    """Those among which its name and its place count."""
    statement = select(SavedView).where(SavedView.record_type == view.record_type)
    if view.is_shared:
        statement = statement.where(SavedView.is_shared)
    else:
        statement = statement.where(~SavedView.is_shared, SavedView.owner_id == view.owner_id)
    with db.session.no_autoflush:
        return list(db.session.scalars(statement.order_by(SavedView.position, SavedView.id)))

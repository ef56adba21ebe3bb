"""Reads of tags that more than one place needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from flask import abort
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.orm.util import identity_key

from soconnective.core.conditions import Field
from soconnective.core.db import Session, db
from soconnective.core.tenancy import current_tenant_id
from soconnective.tags.facts import FIELD
from soconnective.tags.models import Tag
from soconnective.tags.taggable import Taggable, taggables

_KEPT = "tags.kept"


@dataclass(frozen=True, slots=True)
class _Kept:
    """The tags as read in one transaction and workspace."""

    transaction: SessionTransaction | None
    tenant_id: int
    tags: dict[int, Tag]

    def is_good(self, session: OrmSession) -> bool:
        is_same = self.transaction is not None and self.transaction is session.get_transaction()
        return (
            is_same
            and self.tenant_id == current_tenant_id()
            and all(t in session for t in self.tags.values())
        )


@event.listens_for(Session, "after_soft_rollback")
def _on_rollback(session: OrmSession, _previous: SessionTransaction) -> None:
    session.info.pop(_KEPT, None)  # tags made since the savepoint are gone


def every_tag() -> dict[int, Tag]:
    """The tags of the workspace by id, in the order of their names; read once in a transaction."""
    session = db.session()
    kept: _Kept | None = session.info.get(_KEPT)
    if kept is None or not kept.is_good(session):
        rows = session.scalars(select(Tag).where(Tag.deleted_at.is_(None)))
        found = {tag.id: tag for tag in sorted(rows, key=lambda tag: tag.name.casefold())}
        kept = session.info[_KEPT] = _Kept(session.get_transaction(), current_tenant_id(), found)
    return kept.tags


def forget_tags() -> None:
    """A tag is new, gone or named anew: read them again."""
    db.session().info.pop(_KEPT, None)


def tag_choices() -> list[tuple[str, str]]:
    return [(str(tag_id), tag.name) for tag_id, tag in every_tag().items()]


def get_tag(tag_id: int) -> Tag:
    """The tag, or 404; one that is deleted counts as missing."""
    tag = db.session.get(Tag, tag_id)
    return tag if tag is not None and tag.deleted_at is None else abort(404)


def tag_names(ids: Collection[int]) -> dict[int, str]:
    """The names of many, of deleted ones too (for what happened long ago); no statement for those that are loaded."""
    loaded = [db.session.identity_map.get(identity_key(Tag, tag_id)) for tag_id in ids]
    known = {tag.id: tag.name for tag in loaded if tag is not None}
    missing = set(ids) - set(known)
    if missing:
        rows = db.session.execute(select(Tag.id, Tag.name).where(Tag.id.in_(missing)))
        known.update({row.id: row.name for row in rows})
    return known


def tag_counts() -> dict[str, dict[int, int]]:
    """How many records have each tag, by their kind; one statement a kind."""
    return {
        item.record_type: {
            row[0]: row[1]
            for row in db.session.execute(select(item.link.tag_id, func.count()).group_by(item.link.tag_id))
        }
        for item in taggables()
    }


def tag_field(item: Taggable) -> Field:
    """The field that conditions ask for tags with."""
    return Field(
        FIELD,
        "tags",
        "tags",
        item.lowest,
        choices=tag_choices,
        shown="tags",
        among=item.has_any,
        reference="tag",
    )

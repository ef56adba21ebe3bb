"""Every write to tags, and of tags to records: always through the record's rows, so that events tell of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.palette import COLORS
from soconnective.tags.models import NAME_LENGTH, Tag, Tagged
from soconnective.tags.queries import every_tag, forget_tags
from soconnective.tags.taggable import Taggable, taggables

MOST_TAGS = 500
MOST_ON_RECORD = 50


def clean_name(text: str, field: str = "name") -> str:
    """A tag's name from what was typed: spaces made single; raises `Refused` at `field`."""
    name = unicodedata.normalize("NFC", " ".join(text.split()))
    if not name:
        raise Refused("Give the tag a name.", field)
    if len(name) > NAME_LENGTH:
        raise Refused(f"A tag's name has {NAME_LENGTH} characters at most: “{name[:20]}…” is longer.", field)
    if "," in name or not name.isprintable():
        raise Refused("A tag's name is plain text without commas.", field)
    return name


def create_tag(name: str, color: str | None = None) -> Tag:
    """A new tag; without a colour it gets the next one of the palette."""
    name = clean_name(name)
    _require_free(name)
    return _make(name, color)


def update_tag(tag: Tag, name: str, color: str) -> Tag:
    """Rename or recolour. A name that another tag has is refused: the two would become one without a word."""
    name = clean_name(name)
    _require_free(name, tag)
    tag.name, tag.normalised, tag.color = name, name.casefold(), color
    db.session.flush()
    forget_tags()
    return tag


def delete_tag(tag: Tag, replacement: Tag | None = None) -> int:
    """Take it off every record, or put `replacement` in its place, and hide it; returns how many records had it."""
    if replacement is not None and replacement.id == tag.id:
        raise Refused("Choose another tag.", "replacement_id")
    tag.normalised, tag.deleted_at = None, clock.now()
    db.session.flush()
    forget_tags()
    number = 0
    for item in taggables():
        for record in _records_with(item, tag):
            remove_tag(record, tag)
            if replacement is not None:
                add_tag(record, replacement)
            number += 1
    db.session.flush()
    return number


def add_tag(record: Tagged, tag: Tag) -> bool:
    """Put `tag` onto `record`; False if it was there already."""
    if any(row.tag_id == tag.id for row in record.tag_rows):
        return False
    record.tag_rows.append(_link_of(record)(tag=tag, tag_id=tag.id))
    return True


def remove_tag(record: Tagged, tag: Tag) -> bool:
    """Take `tag` off `record`; False if it was not there."""
    row = next((row for row in record.tag_rows if row.tag_id == tag.id), None)
    if row is not None:
        record.tag_rows.remove(row)
    return row is not None


def set_tags(record: Tagged, tag_ids: Sequence[int] | None, new_tags: str | None = None) -> None:
    """Make these the record's tags (None: keep what it has), and those named in `new_tags`, separated by commas.

    A name that exists is that tag. Raises `Refused` at "tag_ids" or "new_tags".
    """
    if tag_ids is None and not new_tags:
        return
    wanted = {tag.id: tag for tag in (_chosen(tag_ids) if tag_ids is not None else record.tags)}
    wanted.update({tag.id: tag for tag in _named(new_tags or "")})
    if len(wanted) > MOST_ON_RECORD:
        raise Refused(f"A record has {MOST_ON_RECORD} tags at most.", "new_tags" if new_tags else "tag_ids")
    for tag in record.tags:
        if tag.id not in wanted:
            remove_tag(record, tag)
    for tag in wanted.values():
        add_tag(record, tag)
    db.session.flush()


def _chosen(tag_ids: Iterable[int]) -> list[Tag]:
    known = every_tag()
    if any(tag_id not in known for tag_id in tag_ids):
        raise Refused("Choose tags of this workspace.", "tag_ids")
    return [known[tag_id] for tag_id in tag_ids]


def _named(text: str) -> list[Tag]:
    """The tags of these names; those that do not exist are made."""
    names = [clean_name(part, "new_tags") for part in text.split(",") if part.strip()]
    if len(names) > MOST_ON_RECORD:
        raise Refused(f"A record has {MOST_ON_RECORD} tags at most.", "new_tags")
    found = []
    for name in names:
        known = {tag.normalised: tag for tag in every_tag().values()}
        found.append(known.get(name.casefold()) or _make(name, None, "new_tags"))
    return found


def _make(name: str, color: str | None, field: str = "name") -> Tag:
    known = every_tag()
    if len(known) >= MOST_TAGS:
        raise Refused(f"A workspace has {MOST_TAGS} tags at most.", field)
    tag = Tag(
        name=name, normalised=name.casefold(), color=color or COLORS[1 + len(known) % (len(COLORS) - 1)]
    )
    db.session.add(tag)
    db.session.flush()
    forget_tags()
    return tag


def _require_free(name: str, but: Tag | None = None) -> None:
    other = next((tag for tag in every_tag().values() if tag.normalised == name.casefold()), None)
    if other is not None and other is not but:
        link = (
            (f"Delete {but.name} and use {other.name} instead", "tags.delete", {"tag_id": but.id})
            if but
            else None
        )
        raise Refused(f"There is a tag {other.name} already. Choose another name.", "name", link)


def _link_of(record: Tagged) -> Any:
    """The link table's class for a record, by its own relationship."""
    return type(record).tag_rows.property.mapper.class_


def _records_with(item: Taggable, tag: Tag) -> list[Any]:
    statement = select(item.model).where(item.has_any([tag.id])).order_by(item.model.id)
    return list(db.session.scalars(statement.options(selectinload(item.model.tag_rows))))

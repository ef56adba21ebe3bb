"""How a change of tags is told: the list field `tag_ids` of the record, with events of its own.

| what was saved                         | events |
| --- | --- |
| tags put on or taken off               | *.tag_added, *.tag_removed (one each, however many tags) |
| a new record with tags                 | *.created, *.tag_added |
| tags and another field at once         | *.tag_added and *.updated |
| a record with tags deleted             | *.deleted, with the tags it had |
| put on and taken off in one save       | nothing |
| a tag renamed or recoloured            | nothing: the records are as they were |
| a tag deleted, or replaced by another  | *.tag_removed (and *.tag_added) of each record that had it |
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import String, cast, func, literal, select

from soconnective.events import Change, Part
from soconnective.tags.models import Tag, Tagged
from soconnective.tags.taggable import Taggable

FIELD = "tag_ids"


def tag_part(item: Taggable) -> Part:
    return Part(item.link, item.column, FIELD, lambda row: row.tag_id)


def tag_events(record_type: str, change: Change) -> list[str]:
    """The names of the events that a change of tags amounts to; none if the record was deleted."""
    if change.kind == "deleted" or FIELD not in change.fields:
        return []
    removed, added = change.fields[FIELD]
    names = ((added, f"{record_type}.tag_added"), (removed, f"{record_type}.tag_removed"))
    return [name for members, name in names if members]


def tags_told(record: Tagged) -> dict[str, Any]:
    """The part of a snapshot: the ids that rules ask for, and the names that people read."""
    return {FIELD: record.tag_ids, "tags": ", ".join(tag.name for tag in record.tags) or None}


_SEPARATOR = ","  # no name holds one


def tags_column(item: Taggable) -> Any:
    """All tags of a record in one text, for a Core statement over its table; `read_tags` reads it."""
    link: Any = item.link.__table__  # type: ignore[attr-defined]
    record, tag = item.model.__table__, Tag.__table__
    return (
        select(func.aggregate_strings(cast(tag.c.id, String) + literal(":") + tag.c.name, _SEPARATOR))
        .select_from(link)
        .join(tag, (tag.c.tenant_id == link.c.tenant_id) & (tag.c.id == link.c.tag_id))
        .where(link.c.tenant_id == record.c.tenant_id, link.c[item.column] == record.c.id)
        .correlate(record)
        .scalar_subquery()
    )


def read_tags(text: str | None) -> dict[str, Any]:
    """What `tags_column` gave, as `tags_told` says it."""
    found = [one.split(":", 1) for one in text.split(_SEPARATOR)] if text else []
    found.sort(key=lambda one: one[1].casefold())
    return {FIELD: [int(one[0]) for one in found], "tags": ", ".join(one[1] for one in found) or None}

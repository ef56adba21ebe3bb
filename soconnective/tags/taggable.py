"""Which kinds of records carry tags: the areas register theirs, with their link table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select

from soconnective.tags.models import RecordTag


@dataclass(frozen=True)
class Taggable:
    """`link.column` names the record; `listing` is the endpoint of the list that can be filtered by `tag_id`.

    `filters` are what that list needs beside, to leave none out.
    """

    record_type: str
    model: type[Any]
    link: type[RecordTag]
    column: str
    listing: str
    filters: Mapping[str, Any] = field(default_factory=dict)

    def has_any(self, tag_ids: Sequence[int]) -> ColumnElement[bool]:
        """Whether a record in the statement around it has one of these tags at least."""
        link: Any = self.link
        return exists().where(getattr(link, self.column) == self.model.id, link.tag_id.in_(tag_ids))

    def lowest(self) -> Any:
        """The lowest id of its tags, NULL without any: what *empty* is asked of."""
        link: Any = self.link
        mine = select(func.min(link.tag_id)).where(getattr(link, self.column) == self.model.id)
        return mine.correlate(self.model).scalar_subquery()


_taggable: dict[str, Taggable] = {}


def register_taggable(item: Taggable) -> Taggable:
    _taggable[item.record_type] = item
    return item


def taggable(record_type: str) -> Taggable | None:
    return _taggable.get(record_type)


def taggables() -> list[Taggable]:
    return list(_taggable.values())

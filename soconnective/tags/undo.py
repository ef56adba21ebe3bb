"""Taking back what a run did to tags."""

from __future__ import annotations

from collections.abc import Sequence

from soconnective.automation.undo_run import UndoableList
from soconnective.tags.facts import FIELD
from soconnective.tags.models import Tagged
from soconnective.tags.operations import set_tags
from soconnective.tags.queries import every_tag


def _put_back(record: Tagged, left: Sequence[int], came: Sequence[int]) -> None:
    set_tags(record, [tag_id for tag_id in {*record.tag_ids, *left} if tag_id not in came])


TAG_LISTS = {
    FIELD: UndoableList(lambda record: record.tag_ids, lambda tag_id: tag_id in every_tag(), _put_back)
}

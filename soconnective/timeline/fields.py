"""Old and new values as people read them: names instead of ids, dates and money as the workspace writes them."""

from __future__ import annotations

from typing import Any

from soconnective.core.formats import date_text, datetime_text
from soconnective.core.registry import people, registry
from soconnective.events import EventRow
from soconnective.tags.facts import FIELD as TAGS

LABELS = {
    "stage_id": "Stage", "owner_id": "Owner", "assignee_id": "Assigned to", "company_id": "Company",
    "contact_id": "Contact", "deal_id": "Deal", "contact_ids": "Contacts", "people_ids": "People",
    "expected_close_on": "Expected close", "due_on": "Due", "starts_at": "Starts", "ends_at": "Ends",
    "identities": "Addresses", "lost_reason": "Lost because",
}  # fmt: skip
_PEOPLE = {"owner_id", "assignee_id"}
TAG_CHANGES = {"tag_added": ("Added", 1), "tag_removed": ("Removed", 0)}
_HIDDEN = {"status", "pipeline_id", "currency", TAGS}  # tags have entries of their own
_RECORDS = {
    "company_id": "company",
    "contact_id": "contact",
    "deal_id": "deal",
    "contact_ids": "contact",
    "people_ids": "contact",
}

_SAY_ENOUGH = {
    "created",
    "deleted",
    "logged",
    "scheduled",
    "completed",
    "reopened",
    "cancelled",
    *TAG_CHANGES,
}

# field -> a function that reads the names of many ids at once; areas add theirs (stages).
name_readers: dict[str, Any] = {}


class Names:
    """The names behind the ids in a page of events, read once per kind."""

    def __init__(self, rows: list[EventRow]) -> None:
        wanted: dict[str, set[int]] = {}
        for row in rows:
            told = (
                row.changes if _tells(row) else {TAGS: row.changes.get(TAGS, [])} if _tag_change(row) else {}
            )
            for name, both in told.items():
                kind = _RECORDS.get(name) or (name if name in name_readers else None)
                if kind:
                    for value in both:
                        members = value if isinstance(value, list) else [value]
                        wanted.setdefault(kind, set()).update(i for i in members if isinstance(i, int))
        self.found: dict[str, dict[int, str]] = {}
        for kind, ids in wanted.items():
            reader = name_readers.get(kind)
            self.found[kind] = reader(ids) if reader else registry.record_types[kind].titles(ids)

    def of(self, name: str, value: Any) -> str:
        if value is None or value in ("", []):
            return "nothing"
        if isinstance(value, list):
            return ", ".join(self.of(name, item) for item in value)
        if name in _PEOPLE:
            person = people().get(value)
            return person.name if person else "somebody who is gone"
        kind = _RECORDS.get(name) or name
        if kind in self.found:
            return self.found[kind].get(value, "one that is gone")
        write = {"_on": date_text, "_at": datetime_text}.get(name[-3:], str)
        return write(value)


def _tag_change(row: EventRow) -> tuple[str, int] | None:
    """What was done to tags, and on which side of the change they stand."""
    return TAG_CHANGES.get(row.name.rsplit(".", 1)[1])


def is_about_tags(row: EventRow) -> bool:
    return _tag_change(row) is not None


def title_of(row: EventRow, declared: str, names: Names) -> str:
    """What an entry is headed: of tags which ones, of all else what the event is called."""
    change = _tag_change(row)
    if change is None:
        return declared
    ids: list[Any] = row.changes.get(TAGS, [[], []])[change[1]]
    said = sorted((names.of(TAGS, tag_id) for tag_id in ids), key=str.casefold)
    return f"{change[0]} the {'tag' if len(ids) == 1 else 'tags'} {', '.join(said)}"


def _tells(row: EventRow) -> bool:
    """Whether old and new values are shown: not where the entry's title says it."""
    return row.name.rsplit(".", 1)[1] not in _SAY_ENOUGH


def field_lines(row: EventRow, names: Names) -> list[tuple[str, str, str]]:
    """(label, old, new) of what changed; nothing for a creation or deletion, whose title says it."""
    if not _tells(row):
        return []
    lines = []
    moved = row.name in ("deal.stage_changed", "deal.won", "deal.lost")
    for name, (old, new) in row.changes.items():
        if (
            name in _HIDDEN
            or (moved and name not in ("stage_id", "lost_reason"))
            or (not moved and name == "stage_id")
        ):
            continue
        label = LABELS.get(name, name.replace("_", " ").capitalize())
        lines.append((label, _short(names.of(name, old)), _short(names.of(name, new))))
    return lines


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:119] + "…"

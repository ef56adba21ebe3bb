"""Which kinds of records have a list, and what it can be asked: the areas register theirs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

from soconnective.core.apart import told_apart
from soconnective.core.conditions import Field, Group, Test, fields_of
from soconnective.core.conditions.form import OFFERED
from soconnective.core.registry import active_people, called, registry

ME = "me"


@dataclass(frozen=True)
class Listed:
    """The list at `endpoint`. `sorts` are the words it can be sorted by, `more` what it can be asked beside what rules can."""

    record_type: str
    endpoint: str
    sorts: Collection[str]
    more: Sequence[Field] = ()

    def is_sort(self, sort: str | None) -> bool:
        return bool(sort) and str(sort).removeprefix("-") in self.sorts


_lists: dict[str, Listed] = {}


def register_list(item: Listed) -> Listed:
    _lists[item.record_type] = item
    return item


def lists() -> Mapping[str, Listed]:
    return _lists


class PersonOrMe(Field):
    """A person, or whoever looks at the list: a shared view shows everybody their own."""

    def label_of(self, value: object) -> str | None:
        return "me" if value == ME else super().label_of(value)


class Names:
    """The names of one kind of records: those that a select offers are read together, the others when they are asked for."""

    def __init__(self, record_type: str) -> None:
        self.kind = registry.record_types[record_type]
        self.known: dict[str, str] = {}
        self.offered: list[tuple[str, str]] | None = None

    def offer(self) -> list[tuple[str, str]]:
        if self.offered is None:
            self.offered = told_apart(self.kind.name, self.kind.first(OFFERED))
            self.known.update(self.offered)
        return self.offered

    def of(self, value: str) -> str | None:
        if value not in self.known and value.isascii() and value.isdigit() and len(value) < 19:
            self.known.update(
                {str(row_id): title for row_id, title in self.kind.titles([int(value)]).items()}
            )
        return self.known.get(value)


@dataclass(frozen=True)
class NamedRecord(Field):
    """A record, by `names` that are read once for the page."""

    names: Names | None = None

    def label_of(self, value: object) -> str | None:
        if self.names is None or not isinstance(value, str):
            return super().label_of(value)
        return self.names.of(value)


def _people() -> list[tuple[str, str]]:
    return [
        (ME, "me, whoever looks"),
        *((str(person.id), called(person.id) or person.name) for person in active_people()),
    ]


def asked_fields(listed: Listed) -> dict[str, Field]:
    """What the list can be asked, by name."""
    known = {**fields_of(listed.record_type), **{field.name: field for field in listed.more}}
    names = {
        field.record_type: Names(field.record_type) for field in known.values() if field.kind == "record"
    }
    return {name: _for_lists(field, names) for name, field in known.items() if field.column is not None}


def _for_lists(field: Field, names: Mapping[str, Names]) -> Field:
    values = {part.name: getattr(field, part.name) for part in fields(field)}
    if field.kind == "person":
        return PersonOrMe(**{**values, "choices": _people})
    if field.kind == "record":
        kept = names[field.record_type]
        return NamedRecord(**{**values, "choices": kept.offer}, names=kept)
    return field


def for_person(group: Group, known: Mapping[str, Field], person_id: int) -> Group:
    """`group` as it is asked by this person."""
    items = [
        _for_person(item, known, person_id) if isinstance(item, Test) else for_person(item, known, person_id)
        for item in group.items
    ]
    return group.model_copy(update={"items": items})


def _for_person(test: Test, known: Mapping[str, Field], person_id: int) -> Test:
    if not isinstance(known.get(test.field), PersonOrMe) or test.value is None:
        return test
    if isinstance(test.value, list):
        value: str | list[str] = [str(person_id) if one == ME else one for one in test.value]
    else:
        value = str(person_id) if test.value == ME else test.value
    return test.model_copy(update={"value": value})

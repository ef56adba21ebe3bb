"""Which kinds of records have a list, and what it can be asked: the areas register theirs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

from soconnective.core.conditions import Field, Group, Test, fields_of
from soconnective.core.registry import active_people

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


def _people() -> list[tuple[str, str]]:
    return [(ME, "me, whoever looks"), *((str(person.id), person.name) for person in active_people())]


def asked_fields(listed: Listed) -> dict[str, Field]:
    """What the list can be asked, by name."""
    known = {**fields_of(listed.record_type), **{field.name: field for field in listed.more}}
    return {name: _with_me(field) for name, field in known.items() if field.column is not None}


def _with_me(field: Field) -> Field:
    if field.kind != "person":
        return field
    values = {part.name: getattr(field, part.name) for part in fields(field)}
    return PersonOrMe(**{**values, "choices": _people})


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

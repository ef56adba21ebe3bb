"""What rules may change: the areas register, for their kind of record, which fields and by which operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soconnective.automation.contracts import ActionFailed, RunContext, Scope
from soconnective.core.conditions import Field, fields_of
from soconnective.core.registry import registry


@dataclass(frozen=True)
class Writable:
    """A kind of record that rules may change.

    `update(record, **values)` is the area's own operation. `fields` are names of its condition fields;
    those in `required` cannot be emptied. `owner` is the field of the person it belongs to, and
    `open_counts()` says how many open ones each person has, by user id.
    """

    record_type: str
    update: Callable[..., Any]
    fields: Sequence[str]
    required: Sequence[str] = ()
    owner: str = ""
    open_counts: Callable[[], Mapping[int, int]] = dict

    def known(self) -> dict[str, Field]:
        """The fields by name, in the order of registration."""
        every = fields_of(self.record_type)
        return {name: every[name] for name in self.fields}


_writable: dict[str, Writable] = {}


def register_writable(*items: Writable) -> None:
    for item in items:
        _writable[item.record_type] = item


def writable(record_type: str) -> Writable | None:
    return _writable.get(record_type)


def targets(scope: Scope) -> dict[str, str]:
    """Record types that a rule in `scope` can reach, with their names: its own record first, then what that points to."""
    own = scope.record_type or ""
    found = [] if scope.is_gone else [own]
    found += [f.record_type for f in fields_of(own).values() if f.kind == "record"]
    types = registry.record_types
    return {
        name: f"the {types[name].label.lower()}" if name == own else f"its {types[name].label.lower()}"
        for name in dict.fromkeys(found)
        if name in _writable and name in types
    }


def record_of(context: RunContext, record_type: str) -> Any:
    """The record that an action means, as it is now; raises `ActionFailed` in words if there is none."""
    event, kind = context.event, registry.record_types[record_type]
    is_own = record_type == event.record_type
    record_id = event.record_id if is_own else event.snapshot.get(f"{record_type}_id")
    if record_id is None:
        own = registry.record_types[event.record_type].label.lower()
        raise ActionFailed(f"The {own} has no {kind.label.lower()}.")
    record = kind.get(record_id)
    if record is None:
        raise ActionFailed(f"The {kind.label.lower()} is gone.")
    return record


def check_target(target: str, scope: Scope) -> str | None:
    """Why `target` cannot be meant in a rule of this scope, or None."""
    if scope.record_type is None or target in targets(scope):
        return None
    if scope.is_gone and target == scope.record_type:
        return "What is deleted cannot be changed any more. Choose something else."
    return "A rule about this cannot reach that record. Choose another one."

"""The triggers and actions that exist, as the areas registered them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from soconnective.automation.contracts import (
    Action,
    BrokenAction,
    BrokenTrigger,
    Trigger,
    first_problem,
)

_triggers: dict[str, type[Trigger]] = {}
_actions: dict[str, type[Action]] = {}


def register_trigger(*classes: type[Trigger]) -> None:
    for cls in classes:
        _triggers[cls.type_id] = cls


def register_action(*classes: type[Action]) -> None:
    for cls in classes:
        _actions[cls.type_id] = cls


def trigger_types() -> dict[str, type[Trigger]]:
    return dict(_triggers)


def action_types() -> dict[str, type[Action]]:
    return dict(_actions)


def is_trigger(event_name: str) -> bool:
    """Whether any rule could be started by events of this name."""
    return event_name in _triggers


def load_trigger(type_id: str, stored: Mapping[str, Any]) -> Trigger:
    """The trigger as stored, or its Broken twin."""
    cls = _triggers.get(type_id)
    if cls is None:
        return BrokenTrigger(type_id, stored, f"The trigger “{type_id}” does not exist any more")
    try:
        return cls.load(stored)  # type: ignore[return-value]
    except ValidationError as error:
        if lacks := lacking(cls.label, error):
            unfinished = BrokenTrigger(type_id, stored, lacks)
            unfinished.words = cls.label
            unfinished.record_type = cls.record_type  # type: ignore[misc]
            return unfinished
        said = f"The trigger's settings cannot be read ({first_problem(error)})"
        return BrokenTrigger(type_id, stored, said)


def load_action(type_id: str, stored: Mapping[str, Any]) -> Action:
    """The action as stored, or its Broken twin."""
    cls = _actions.get(type_id)
    if cls is None:
        return BrokenAction(type_id, stored, f"The action “{type_id}” does not exist any more")
    try:
        return cls.load(stored)  # type: ignore[return-value]
    except ValidationError as error:
        if lacks := lacking(cls.label, error):
            unfinished = BrokenAction(type_id, stored, lacks)
            unfinished.words = to_come(cls.label)
            unfinished.icon = cls.icon  # type: ignore[misc]
            return unfinished
        said = f"“{cls.label}” has settings that cannot be read ({first_problem(error)})"
        return BrokenAction(type_id, stored, said)


def to_come(label: str) -> str:
    """A step that is not complete yet, in the sentence: "create a task …"."""
    return f"{label[:1].lower()}{label[1:].removesuffix(' …')} …"


def lacking(label: str, error: ValidationError) -> str:
    """Of a piece that is only not complete yet (in a draft): what it lacks. Empty if something else is wrong."""
    found = error.errors()
    if not all(one["loc"] and one["input"] in (None, "") for one in found):
        return ""
    names = ", ".join(
        dict.fromkeys(str(one["loc"][0]).removesuffix("_id").replace("_", " ") for one in found)
    )
    return f"“{label.removesuffix(' …')}” is not complete yet: {names}"

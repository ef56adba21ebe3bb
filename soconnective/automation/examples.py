"""Examples inside a rule: given a record and its changes, does it run, and which steps? They are its tests.

An example is judged without the database's records: the real conditions are asked of the record as it is given,
and the steps are walked without doing anything. A step that would change the record does not change the example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from soconnective.automation.conditions import ACTOR_KINDS
from soconnective.automation.contracts import Action, BrokenPiece
from soconnective.automation.definition import Definition
from soconnective.automation.flow import If, flow_of
from soconnective.automation.naming import long, plain_text, read_value, say_value, short
from soconnective.automation.references import Unnamed
from soconnective.core import clock
from soconnective.core.access import Actor
from soconnective.core.conditions import Field
from soconnective.core.tenancy import current_tenant_id
from soconnective.core.workspace import current_workspace
from soconnective.events import DomainEvent

KNOWN = ("name", "at", "by", "runs", "record", "changes", "steps")
KINDS = dict(ACTOR_KINDS)
LONGEST = 400


def read_example(table: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """An example as it is stored; raises `Unnamed` in words."""
    for key in table:
        if key not in KNOWN:
            raise Unnamed(f"“{key}” is not known here. Known are {', '.join(KNOWN)}.")
    found: dict[str, Any] = {
        "runs": True,
        **{key: _head(key, table[key]) for key in KNOWN[:4] if key in table},
    }
    for part in ("record", "changes"):
        named = _named(part, table.get(part, {}), fields)
        if named:
            found[part] = {
                name: (_pair(name, f, v) if part == "changes" else _stored(f, v)) for name, f, v in named
            }
    if "steps" in table:
        steps = table["steps"]
        if not isinstance(steps, list) or len(steps) > 100 or not found["runs"]:
            raise Unnamed(
                "steps is a list of what runs, in order; it is left out where the rule does not run."
            )
        found["steps"] = [_line(step, "each of steps") for step in steps]
    return found


def _head(key: str, value: Any) -> Any:
    """One of name, at, by and runs."""
    if key == "name":
        return _line(value, "name")
    if key == "runs" and not isinstance(value, bool):
        raise Unnamed("runs is true or false.")
    if key == "by" and (not isinstance(value, str) or value not in KINDS):
        raise Unnamed(f"by is one of {', '.join(KINDS)}.")
    if key == "at" and not isinstance(value, datetime):
        raise Unnamed("at is a moment like 2026-03-02T12:00:00.")
    return value.isoformat() if key == "at" else value


def _pair(name: str, field: Field | None, value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise Unnamed(f"changes says of {name} what it was and what it became: [1000, 5000].")
    return [_stored(field, one) for one in value]


def _named(part: str, table: Any, fields: Mapping[str, Field]) -> list[tuple[str, Field | None, Any]]:
    """(full name, field, value); a name without a field is a watched list or a value of the snapshot."""
    if not isinstance(table, dict):
        raise Unnamed(f"{part} is a table of fields.")
    if len(table) > 100 or any(len(name) > 80 for name in table):
        raise Unnamed("that is too long.")
    return [(name := long(key, fields), fields.get(name), value) for key, value in table.items()]


def _stored(field: Field | None, value: Any) -> Any:
    if field is None:
        text = plain_text(value)
    else:
        text = read_value(field, value)
        try:
            field.read(text)
        except (ValueError, ArithmeticError):
            raise Unnamed(f"{field.label} cannot be “{text[:40]}”.") from None
    if len(text) > LONGEST:
        raise Unnamed(f"{LONGEST} characters at most.")
    return text


def _line(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST or not value.isprintable():
        raise Unnamed(f"{what} is one line of {LONGEST} characters at most.")
    return value


def say_example(example: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """The example as the table to write, in one order."""
    said: dict[str, Any] = {name: example[name] for name in ("name", "by") if name in example}
    if "at" in example:
        said["at"] = datetime.fromisoformat(example["at"])
    said["runs"] = example["runs"]
    if "steps" in example:
        said["steps"] = example["steps"]
    order = list(fields)
    for part in ("record", "changes"):
        table: dict[str, Any] = {}
        names = sorted(example.get(part, {}), key=lambda n: (order.index(n) if n in order else 999, n))
        for name in names:
            field, value = fields.get(name), example[part][name]
            key = short(name, fields) if field is not None and field.refers_to else name
            said_value = [_said(field, one) for one in value] if part == "changes" else _said(field, value)
            table[key] = said_value
        if table:
            said[part] = table
    return said


def _said(field: Field | None, value: Any) -> Any:
    return value if field is None else say_value(field, value)


def failures(definition: Definition, examples: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each failing example says, and what the rule does instead."""
    found = []
    for number, example in enumerate(examples, start=1):
        why = _judged(definition, example)
        if why:
            name = f" “{example['name']}”" if example.get("name") else ""
            found.append(f"example {number}{name}: {why}")
    return found


def _judged(definition: Definition, example: Mapping[str, Any]) -> str | None:
    event = event_of(definition, example)
    try:
        verdict = definition.match(event)
        if verdict.matched != example["runs"]:
            return "it runs, and should not" if verdict.matched else f"it does not run: {verdict.reason}"
        if not verdict.matched or "steps" not in example:
            return None
        path = path_of(definition, event)
    except BrokenPiece as error:
        return str(error)
    wanted = example["steps"]
    scope = definition.scope
    fits = len(path) == len(wanted) and all(
        said == step.type_id or step.say(scope).startswith(said)
        for said, step in zip(wanted, path, strict=True)
    )
    ran = ", ".join(step.type_id for step in path) or "nothing"
    return None if fits else f"the steps that run are {ran}, and should be {', '.join(wanted) or 'nothing'}"


def event_of(definition: Definition, example: Mapping[str, Any]) -> DomainEvent:
    """The event that the example tells of."""
    fields = definition.conditions.fields
    changes = {
        name: [_typed(fields.get(name), one) for one in pair]
        for name, pair in example.get("changes", {}).items()
    }
    record = {name: _typed(fields.get(name), value) for name, value in example.get("record", {}).items()}
    snapshot = {**{name: pair[1] for name, pair in changes.items()}, **record}
    at = clock.now()
    if "at" in example:
        said = datetime.fromisoformat(example["at"])
        at = said if said.tzinfo else clock.from_local(said, current_workspace().timezone)
    kind = example.get("by", "person")
    return DomainEvent(
        definition.trigger.type_id,
        current_tenant_id(),
        definition.trigger.record_type,
        0,
        Actor(kind, None, KINDS[kind]),
        at,
        changes,
        snapshot,
    )


def _typed(field: Field | None, value: Any) -> Any:
    """As snapshots hold it: ids are numbers, nothing is None."""
    if value == "":
        return None
    if field is not None and field.refers_to:
        return int(value)
    if field is not None and field.kind == "moment" and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        zone = current_workspace().timezone
        return (moment if moment.tzinfo else clock.from_local(moment, zone)).isoformat()
    return value


def path_of(definition: Definition, event: DomainEvent) -> list[Action]:
    """The steps that run for `event`, waits and stops among them; markers of branches are not."""
    steps, flow, found = definition.steps, flow_of(definition.steps), []
    index, is_refused = 0, False
    while index < len(steps):
        step = steps[index]
        kind = step.type_id
        if kind == "if" or (kind == "otherwise_if" and is_refused):
            assert isinstance(step, If)
            is_refused = not step.asked(event.record_type).match(event).matched
            index = flow.no[index] if is_refused else index + 1
        elif kind == "end_if" or (kind == "otherwise" and is_refused):
            index, is_refused = index + 1, False
        elif kind in ("otherwise", "otherwise_if"):  # a branch was taken and is through
            index = flow.end[index]
        else:
            found.append(step)
            if kind == "stop":
                break
            index += 1
    return found

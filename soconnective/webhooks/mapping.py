"""Where in a call's JSON the named fields are, paths like `customer.email` or `items.0.sku`, and in which unit."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from soconnective.automation.trace import clean
from soconnective.core.errors import Refused
from soconnective.webhooks.units import UNITS, split_unit

MOST = 20
LONGEST_VALUE = 2000
DEEPEST = 50
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
# What the record itself says, and what rules take for links: another program must not be able to fill it.
TAKEN = {"id", "title", "external_id", "received_at", "contact", "owner", "rule", "actor"}


def parse_mapping(text: str | None) -> list[list[str]]:
    """The lines `name = path` as pairs, `name = path in cents` with the unit as a third; raises `Refused` at "mapping", naming the line."""
    found: list[list[str]] = []
    for number, line in enumerate((text or "").splitlines(), 1):
        if not line.strip():
            continue
        name, sign, path = (part.strip() for part in line.partition("="))
        if not sign:
            raise Refused(f"Line {number}: write it like email = customer.email.", "mapping")
        if not _NAME.fullmatch(name):
            raise Refused(
                f"Line {number}: a name has small letters, digits and _, and begins with a letter.", "mapping"
            )
        if name in TAKEN or name.endswith("_id"):
            raise Refused(f"Line {number}: the name “{name}” is taken. Choose another one.", "mapping")
        if any(name == other for other, *_rest in found):
            raise Refused(f"Line {number}: the name “{name}” stands twice.", "mapping")
        path, unit = split_unit(path)
        checked_path(path, f"Line {number}: ", "mapping")
        found.append([name, path, unit] if unit else [name, path])
    if len(found) > MOST:
        raise Refused(f"{MOST} fields at most.", "mapping")
    return found


def mapping_text(mapping: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"{name} = {' in '.join(rest)}" for name, *rest in mapping)


def checked_path(path: str, where: str, field: str) -> str:
    if not path or len(path) > 200 or any(not part.strip() for part in path.split(".")):
        raise Refused(f"{where}a path is written like customer.email or items.0.sku.", field)
    return path


def at_path(value: Any, path: str) -> Any:
    """What stands at `path`, or None."""
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 7:
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value


def is_too_deep(value: Any) -> bool:
    """Whether lists and objects stand more than `DEEPEST` inside each other: what reads them must not run out of stack."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
    return any(isinstance(one, dict | list) for one in level)


def as_text(value: Any) -> str | None:
    """A JSON value as a text field: what is no single value as JSON."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(clean(text))[:LONGEST_VALUE]


def mapped(payload: Any, mapping: Sequence[Sequence[str]]) -> dict[str, str | None]:
    return {name: _found(payload, *rest) for name, *rest in mapping}


def _found(payload: Any, path: str, unit: str | None = None) -> str | None:
    value = at_path(payload, path)
    if unit is None or value is None or value == "":
        return as_text(value)
    return as_text(UNITS[unit](value))

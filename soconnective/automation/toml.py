"""TOML as rules are written in it: a small writer with one way to say each thing, and a reader that keeps numbers exact."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

MOST_CHARACTERS = 1_000_000
BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_HEADER = re.compile(r"[ \t]*\[\[[ \t]*(\w+)(?:[ \t]*\.[ \t]*(\w+))?[ \t]*\]\]")


class NotToml(ValueError):
    """A text that is no TOML; the message says where and why."""


def read_toml(text: str) -> dict[str, Any]:
    """The tables of `text`; raises `NotToml`."""
    if len(text) > MOST_CHARACTERS:
        raise NotToml(f"This text is too long: {MOST_CHARACTERS:,} characters at most.")
    try:
        found = tomllib.loads(text.replace("\r\n", "\n"), parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise NotToml(f"This is not TOML: {error}") from None
    except (ValueError, ArithmeticError, RecursionError):
        raise NotToml(
            "This is not TOML that can be read: a number is too long, or it is nested too deep."
        ) from None
    if _has_bad_text(found):
        raise NotToml("This text contains characters that cannot be stored.")
    return found


def _has_bad_text(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_bad_text(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_has_bad_text(part) for part in value)


def headers(text: str) -> list[tuple[str, str, int]]:
    """Each ``[[a]]`` and ``[[a.b]]`` line as (a, b, its number): where things stand, for messages."""
    found = [(_HEADER.match(line), n) for n, line in enumerate(text.splitlines(), start=1)]
    return [(match[1], match[2] or "", number) for match, number in found if match]


def write_tables(name: str, tables: Sequence[Mapping[str, Any]]) -> str:
    """``[[name]]`` for each of `tables`, an empty line between them."""
    return "\n".join("".join(_table(f"[[{name}]]", name, table)) for table in tables)


def _table(head: str, path: str, table: Mapping[str, Any]) -> Iterator[str]:
    """Plain values first, then sub-tables, in the order given."""
    yield f"{head}\n"
    inner = {key: value for key, value in table.items() if isinstance(value, dict) or _is_tables(key, value)}
    for key, value in table.items():
        if key not in inner:
            yield f"{_key(key)} = {_value(value)}\n"
    for key, value in inner.items():
        below = f"{path}.{_key(key)}"
        if isinstance(value, dict):
            yield "\n"
            yield from _table(f"[{below}]", below, value)
        else:
            for one in value:
                yield "\n"
                yield from _table(f"[[{below}]]", below, one)


def _is_tables(key: str, value: Any) -> bool:
    """Lists of tables get headers of their own; what joins conditions stays a list."""
    is_list = isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
    return is_list and key not in ("all", "any", "none")


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _text(key)


def _value(value: Any, indent: str = "") -> str:
    """A value on its line; `indent` is empty for one that stands alone, else how deep its list stands."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(one, indent or ' ')}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return _list(value, indent)
    if isinstance(value, str):
        return _long_text(value) if "\n" in value and not indent else _text(value)
    return _scalar(value)


def _list(value: Sequence[Any], indent: str) -> str:
    """Tables stand one a line, other things beside each other."""
    if not any(isinstance(one, Mapping) for one in value):
        return f"[{', '.join(_value(one, indent or ' ') for one in value)}]"
    deeper = f"{indent.removeprefix(' ') if len(indent) == 1 else indent}  "
    rows = "".join(f"{deeper}{_value(one, deeper)},\n" for one in value)
    return f"[\n{rows}{deeper[:-2]}]"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)


def _text(text: str) -> str:
    return f'"{"".join(_ESCAPES.get(char) or _plain(char) for char in text)}"'


def _long_text(text: str) -> str:
    """A text of several lines as people write it."""
    escaped = "".join(
        char if char in "\n\t" else "\\\\" if char == "\\" else "\\r" if char == "\r" else _plain(char)
        for char in text
    )
    escaped = escaped.replace('"""', '""\\"')
    if escaped.endswith('"'):
        escaped = f'{escaped[:-1]}\\"'
    return f'"""\n{escaped}"""'


def _plain(char: str) -> str:
    is_control = ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029\x85"
    return f"\\u{ord(char):04x}" if is_control else char

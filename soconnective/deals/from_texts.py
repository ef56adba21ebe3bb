"""Values of a deal that a rule takes from its record: texts with merge fields, read as amount, currency and date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from soconnective.automation import merge
from soconnective.automation.contracts import ActionFailed
from soconnective.core.foreign import read_amount, read_currency, read_day

LONGEST = 300
SOURCE_LENGTH = 80
# setting -> the deal's column, how it is read, and how people call it
READERS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "amount_from": ("amount", read_amount, "amount"),
    "currency_from": ("currency", read_currency, "currency"),
    "close_from": ("expected_close_on", read_day, "closing date"),
    "source_from": ("source", lambda text: text[:SOURCE_LENGTH], "source"),
}


def values_from(
    settings: Any, fields: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The columns to set, and remarks on what was empty. Raises `ActionFailed` for what does not read."""
    found: dict[str, Any] = {}
    remarks = []
    for name, (column, read, label) in READERS.items():
        source = getattr(settings, name)
        if source is None:
            continue
        text = merge.render(source, fields).strip()
        if not text:
            remarks.append(f"no {label}: “{source}” was empty")
            continue
        try:
            found[column] = read(text)
        except ValueError as error:
            raise ActionFailed(f"The {label} cannot be read: {error}") from None
    return found, tuple(remarks)


def problems_of(settings: Any, record_type: str | None) -> list[tuple[str, str]]:
    """What is wrong with the texts: a merge field that is not there, or a fixed value that never reads."""
    found = []
    for name, (_column, read, _label) in READERS.items():
        source = getattr(settings, name)
        if source is None:
            continue
        wrong = [(name, said) for said in merge.problems(source, record_type)]
        if not wrong and "{" not in source:
            try:
                read(source)
            except ValueError as error:
                wrong = [(name, str(error))]
        found += wrong
    return found

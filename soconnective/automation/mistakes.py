"""All that is wrong in the builder as one list: where, what, and the field to go to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from soconnective.automation.rule_conditions import ConditionForm
from soconnective.automation.step_row import StepRow


@dataclass(frozen=True)
class Mistake:
    """`target` is the id of the field, or of what stands around it."""

    target: str
    place: str
    message: str


def of_fields(fields: Iterable[Any], around: str, before: str = "") -> Iterator[Mistake]:
    """What is wrong with single fields; `around` is where to go if a field is a list of marks."""
    for field in fields:
        target = {"IdsField": around, "RadioField": f"{field.id}-0"}.get(field.type, field.id)
        place = ", ".join(part for part in (before, field.label.text) if part)
        yield from (Mistake(target, place, message) for message in field.errors)


def of_conditions(asked: ConditionForm, around: str, before: str) -> Iterator[Mistake]:
    yield from (Mistake(around, before, message) for message in asked.errors)
    rows = [row for group in asked.groups for row in group.rows]
    for number, row in enumerate(rows, start=1):
        target = f"{row.prefix}-{'value' if 'value' in row.form else 'field'}"
        place = f"{before}, condition {number}" if len(rows) > 1 else before
        yield from (Mistake(target, place, message) for message in row.errors)


def of_step(row: StepRow) -> Iterator[Mistake]:
    around, place = f"step-{row.number}", f"Step {row.number} ({row.label.removesuffix(' …')})"
    yield from (Mistake(around, place, message) for message in row.errors)
    if row.conditions is not None:
        yield from of_conditions(row.conditions, around, place)
    yield from of_fields(row.form, around, place)
    yield from of_fields(row.marks, around, place)

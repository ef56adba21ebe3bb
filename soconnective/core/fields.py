"""Form fields that several areas need: ids chosen from the tenant's rows, people, bounded numbers and dates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any, TypeVar

from wtforms import DateField, DecimalField, SelectChoice, SelectField, SelectMultipleField, TimeField
from wtforms.validators import NumberRange, Optional, ValidationError
from wtforms.widgets import CheckboxInput

from soconnective.core.registry import active_people, called, people, registry

Key = TypeVar("Key")
MOST_CHOSEN = 100
BETWEEN = " · "
MAX_AMOUNT = Decimal("999999999999.99")


def optional_id(value: Any) -> int | None:
    """An id from a form, or None for nothing; ValueError for anything else."""
    if value in (None, "", "None"):
        return None
    number = int(str(value)) if str(value).isascii() else -1
    if not 0 < number < 2**62:
        raise ValueError("not an id")
    return number


def numbered(rows: Sequence[tuple[Key, str]]) -> list[tuple[Key, str]]:
    """`rows` (id, text), no two reading the same: with the id behind those that do."""
    count = Counter(text.casefold() for _id, text in rows)
    return [(key, f"{text}{BETWEEN}no. {key}" if count[text.casefold()] > 1 else text) for key, text in rows]


class IdField(SelectField):  # type: ignore[misc]
    """A choice among rows of the tenant: what is not offered is refused, another tenant's id among it.

    With a `record_type`, only the first rows need be offered: the page finds others by their words, and
    any row of the tenant is accepted.
    """

    def __init__(
        self, label: str, blank: str | None = "none", record_type: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(label, coerce=optional_id, choices=[], **kwargs)
        self.blank, self.record_type = blank, record_type

    def offer(self, rows: Iterable[tuple[int, str]]) -> None:
        first = [SelectChoice("", self.blank)] if self.blank is not None else []
        self.choices = [*first, *(SelectChoice(str(row_id), text) for row_id, text in numbered(list(rows)))]

    def pre_validate(self, form: Any) -> None:
        if self.data is None and self.blank is not None:
            return
        if not _are_offered(self, [self.data]):
            raise ValidationError("Choose one of the list.")


class IdsField(SelectMultipleField):  # type: ignore[misc]
    """Several of them, drawn as a list of checkboxes."""

    option_widget = CheckboxInput()

    def __init__(self, label: str, record_type: str | None = None, **kwargs: Any) -> None:
        super().__init__(label, coerce=optional_id, choices=[], **kwargs)
        self.record_type = record_type

    def offer(self, rows: Iterable[tuple[int, str]]) -> None:
        self.choices = [SelectChoice(str(row_id), text) for row_id, text in numbered(list(rows))]

    def pre_validate(self, form: Any) -> None:
        if len(self.data or ()) > MOST_CHOSEN:
            raise ValidationError(f"Choose {MOST_CHOSEN} at most.")
        if not _are_offered(self, self.data or []):
            raise ValidationError("Choose from the list.")


def _are_offered(field: IdField | IdsField, ids: Sequence[int | None]) -> bool:
    """Whether each of `ids` is on the list; a row found by search is put onto it."""
    offered = {choice.value for choice in field.choices}
    missing = [row_id for row_id in ids if str(row_id) not in offered]
    if missing and field.record_type and None not in missing:
        found = registry.record_types[field.record_type].titles([i for i in missing if i is not None])
        field.choices = [*field.choices, *(SelectChoice(str(i), title) for i, title in found.items())]
        missing = [row_id for row_id in missing if row_id not in found]
    return not missing


class PersonField(IdField):
    """A member of the workspace; somebody who left is offered only where they still stand."""

    def __init__(self, label: str, blank: str = "nobody", **kwargs: Any) -> None:
        super().__init__(label, blank=blank, **kwargs)

    def offer_people(self, keep: int | None = None) -> None:
        rows = [(person.id, called(person.id) or person.name) for person in active_people()]
        kept = people().get(keep or 0)
        if kept is not None and not kept.is_active:
            rows.append((kept.id, f"{kept.name} (no longer active)"))
        self.offer(rows)


class DayField(DateField):  # type: ignore[misc]
    """A date between 1900 and 2199."""

    def __init__(self, label: str, **kwargs: Any) -> None:
        super().__init__(label, validators=[Optional()], **kwargs)

    def pre_validate(self, form: Any) -> None:
        if isinstance(self.data, date) and not 1900 <= self.data.year < 2200:
            raise ValidationError("Choose a date between 1900 and 2199.")


class ClockField(TimeField):  # type: ignore[misc]
    """A time of day; also as the text in which settings are stored."""

    def process_data(self, value: Any) -> None:
        self.data = time.fromisoformat(value) if isinstance(value, str) else value


class AmountField(DecimalField):  # type: ignore[misc]
    """Money: 0 to 999,999,999,999.99 with two decimals."""

    def __init__(self, label: str, **kwargs: Any) -> None:
        super().__init__(label, places=2, validators=[Optional()], **kwargs)

    data: Decimal | None

    def process_formdata(self, valuelist: list[str]) -> None:
        super().process_formdata(
            [
                value.strip().replace(" ", "").replace(",", ".")
                if value.count(",") == 1 and "." not in value
                else value.strip().replace(",", "")
                for value in valuelist
            ]
        )
        if self.data is not None and not self.data.is_finite():
            self.data = None
            raise ValueError("Write an amount like 1250.00.")

    def pre_validate(self, form: Any) -> None:
        if self.data is not None:
            NumberRange(0, MAX_AMOUNT, "Write an amount between 0 and 999,999,999,999.99.")(form, self)
            if self.data != self.data.quantize(Decimal("0.01")):
                raise ValidationError("Two decimals at most.")

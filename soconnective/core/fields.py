"""Form fields that several areas need: ids chosen from the tenant's rows, people, bounded numbers and dates."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from wtforms import DateField, DecimalField, SelectChoice, SelectField, SelectMultipleField
from wtforms.validators import NumberRange, Optional, ValidationError

from soconnective.core.registry import active_people, people

MAX_AMOUNT = Decimal("999999999999.99")


def optional_id(value: Any) -> int | None:
    """An id from a form, or None for nothing; ValueError for anything else."""
    if value in (None, "", "None"):
        return None
    number = int(str(value)) if str(value).isascii() else -1
    if not 0 < number < 2**62:
        raise ValueError("not an id")
    return number


class IdField(SelectField):  # type: ignore[misc]
    """A choice among rows of the tenant: what is not offered is refused, another tenant's id among it."""

    def __init__(self, label: str, blank: str | None = "none", **kwargs: Any) -> None:
        super().__init__(label, coerce=optional_id, choices=[], **kwargs)
        self.blank = blank

    def offer(self, rows: Iterable[tuple[int, str]]) -> None:
        first = [SelectChoice("", self.blank)] if self.blank is not None else []
        self.choices = [*first, *(SelectChoice(str(row_id), text) for row_id, text in rows)]

    def pre_validate(self, form: Any) -> None:
        if self.data is None and self.blank is not None:
            return
        offered = {choice.value for choice in self.choices}
        if str(self.data) not in offered:
            raise ValidationError("Choose one of the list.")


class IdsField(SelectMultipleField):  # type: ignore[misc]
    def __init__(self, label: str, **kwargs: Any) -> None:
        super().__init__(label, coerce=optional_id, choices=[], **kwargs)

    def offer(self, rows: Iterable[tuple[int, str]]) -> None:
        self.choices = [SelectChoice(str(row_id), text) for row_id, text in rows]

    def pre_validate(self, form: Any) -> None:
        offered = {choice.value for choice in self.choices}
        if any(str(value) not in offered for value in self.data or ()):
            raise ValidationError("Choose from the list.")


class PersonField(IdField):
    """A member of the workspace; somebody who left is offered only where they still stand."""

    def __init__(self, label: str, blank: str = "nobody", **kwargs: Any) -> None:
        super().__init__(label, blank=blank, **kwargs)

    def offer_people(self, keep: int | None = None) -> None:
        rows = [(person.id, person.name) for person in active_people()]
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

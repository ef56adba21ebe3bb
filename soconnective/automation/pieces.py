"""From the builder's inputs to the pieces of a rule. What is wrong stands beside its field afterwards.

A draft may lack what is not written yet; what is written wrongly is refused there, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from wtforms import StringField

from soconnective.automation.contracts import (
    Action,
    BrokenAction,
    BrokenTrigger,
    Scope,
    Trigger,
    first_problem,
)
from soconnective.automation.registry import load_action, load_trigger
from soconnective.core.forms import nothing_missing, refuse_nul


class UnreadAction(BrokenAction):
    """Stands where a step cannot be read from the form: its own fields say why, the other pieces go on being checked."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind, {}, "not read")

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        return []


class UnreadTrigger(BrokenTrigger):
    """The same of a trigger: the steps are checked as if it stood there."""

    def __init__(self, cls: type[Trigger]) -> None:
        super().__init__(cls.type_id, {}, "not read")
        self.record_type = cls.record_type  # type: ignore[misc]

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        return []


def piece_of(cls: Any, form: Any, is_draft: bool, complain: Callable[[str], None]) -> Any:
    """The checked piece, or None with errors beside its fields; `complain` gets what belongs to no field."""
    for field in form:
        if isinstance(field, StringField):
            field.validators = [refuse_nul, *(v for v in field.validators if v is not refuse_nul)]
    is_valid = form.validate()
    if nothing_missing(form) and is_valid:
        try:
            return cls(cls.Settings.model_validate(form.data))
        except ValidationError as error:
            for problem in error.errors():
                name = str(problem["loc"][0]) if problem["loc"] else ""
                if name not in form:
                    complain(first_problem(error))
                    return None
                form[name].errors = [*form[name].errors, problem["msg"]]
    return _unfinished(cls, form) if is_draft else None


def _unfinished(cls: Any, form: Any) -> Any:
    """The piece as far as it is written: it reads as soon as it is complete. None if something written is wrong."""
    lacking = [field for field in form if field.errors]
    if not all(_is_blank(field) for field in lacking):
        return None
    for field in lacking:
        field.errors = []
    stored = cls.Settings.model_construct(**form.data).model_dump(mode="json", warnings=False)
    return load_action(cls.type_id, stored) if issubclass(cls, Action) else load_trigger(cls.type_id, stored)


def _is_blank(field: Any) -> bool:
    return not any(str(part).strip() for part in field.raw_data or ())

"""A rule in the making, as far as it can be said: its pieces for the sentence and the picture."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from soconnective.automation.contracts import Action, Scope, Trigger
from soconnective.automation.flow import If
from soconnective.automation.registry import to_come
from soconnective.automation.step_row import StepRow


class Gone(Action):
    type_id, label, group, icon = "gone", "An action that is gone", "Broken", "alert-triangle"


class Unchosen(Trigger):
    type_id, label, group, record_type = "", "choose when the rule looks", "Broken", ""


class Unsaid:
    """A piece whose settings are not complete yet: said by its label, or in the given words."""

    def __init__(self, cls: type[Action | Trigger], words: str = "") -> None:
        self._cls, self._words = cls, words
        self.type_id, self.record_type = cls.type_id, getattr(cls, "record_type", "")
        self.icon, self.is_off, self.note = cls.icon, False, ""

    def marked(self, is_off: bool, note: str) -> Unsaid:
        self.is_off, self.note = is_off, note
        return self

    def describe(self) -> str:
        return self._words or to_come(self._cls.label)

    def say(self, _scope: Scope) -> str:
        return self.describe()


def said(cls: Any, form: Any) -> Any:
    """The piece in the form, complete or not; None if nothing is chosen."""
    if cls is None:
        return None
    try:
        return cls(cls.Settings.model_validate(form.data))
    except ValidationError:
        return Unsaid(cls)


def said_step(row: StepRow) -> Any:
    if row.cls is None:
        return None
    if row.conditions is None:
        found = said(row.cls, row.form)
    else:
        words = row.conditions.describe() or "…"
        found = Unsaid(row.cls, f"{row.cls.word} {words}" if issubclass(row.cls, If) else words)
    return found.marked(row.is_off, row.note)

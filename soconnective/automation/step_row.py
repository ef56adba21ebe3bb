"""One step of a rule as the builder shows it: its kind, the kind's own form, and the marks beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from werkzeug.datastructures import MultiDict
from wtforms import Form, HiddenField, TextAreaField
from wtforms.validators import Length

from soconnective.automation.conditions import Conditions
from soconnective.automation.contracts import Action, NoFields, Scope
from soconnective.automation.flow import If
from soconnective.automation.registry import action_types
from soconnective.automation.rule_conditions import ConditionForm
from soconnective.core.fields import IdField
from soconnective.core.forms import clean_text, refuse_nul

MOST_NOTE = 500


class MarksForm(Form):  # type: ignore[misc]
    """What a person says of a step beside its settings: that it is switched off, and a note."""

    is_off = HiddenField("Switched off")
    step_note = TextAreaField(
        "Note on this step",
        filters=[clean_text],
        validators=[refuse_nul, Length(max=MOST_NOTE, message=f"A note has {MOST_NOTE} characters at most.")],
        render_kw={"maxlength": MOST_NOTE},
    )


class CopyForm(Form):  # type: ignore[misc]
    """Where a copy of a step is to go."""

    copy_to_id = IdField("Copy to the end of", blank="choose a rule")


class StepRow:
    """One row of the builder: its names stand under ``steps-N``."""

    def __init__(
        self,
        index: int,
        kind: str,
        scope: Scope,
        data: MultiDict[str, str] | None,
        step: Action | None = None,
    ) -> None:
        self.index, self.kind = index, kind
        self.cls = action_types().get(kind)
        self.prefix = f"steps-{index}"
        self.depth = 0
        self.was: int | None = index  # where it stood in the form that was posted; None if it was not there
        self.focus = ""  # where the cursor goes: "row", "field", or the button that was pressed
        self.copying: CopyForm | None = None
        self.errors: list[str] = []
        self.conditions: ConditionForm | None = None
        stored = step.stored() if step is not None else {}
        if self.cls is not None and issubclass(self.cls, If):
            kept = Conditions.load(stored.get("conditions"), scope.record_type) if data is None else None
            self.conditions = ConditionForm(scope.record_type, kept, data, f"{self.prefix}-if")
        form_class = self.cls.form_for(scope, data if data is not None else stored) if self.cls else NoFields
        if data is not None:
            posted = MultiDict([(f"{self.prefix}-{name}", value) for name, value in data.items(multi=True)])
            self.form = form_class(formdata=posted, prefix=self.prefix)
            self.marks = MarksForm(formdata=posted, prefix=self.prefix)
        else:
            self.form = form_class(prefix=self.prefix, data=_as_typed(self.cls, stored))
            said = {"is_off": "y", "step_note": step.note} if step is not None and step.is_off else {}
            self.marks = MarksForm(
                prefix=self.prefix, data=said or {"step_note": step.note if step is not None else None}
            )
        self.has_note = bool(self.marks.step_note.data or (data is not None and "step_note" in data))

    @property
    def number(self) -> int:
        return self.index + 1

    @property
    def is_off(self) -> bool:
        return bool(self.marks.is_off.data)

    @property
    def note(self) -> str:
        return str(self.marks.step_note.data or "")

    @property
    def label(self) -> str:
        return self.cls.label if self.cls else "An action that is gone"

    @property
    def redraws(self) -> bool:
        """Whether one of its inputs decides what the others are."""
        return any("data-redraw" in (field.render_kw or {}) for field in self.form)

    @property
    def icon(self) -> str:
        return self.cls.icon if self.cls else "alert-triangle"

    @property
    def is_branch(self) -> bool:
        return self.kind in ("if", "otherwise_if", "otherwise")

    def offer_rules(self, rules: Sequence[tuple[int, str]], posted: MultiDict[str, str]) -> CopyForm:
        """Show where a copy can go."""
        self.copying = CopyForm(formdata=posted, prefix=self.prefix)
        self.copying.copy_to_id.offer(rules)
        return self.copying


def _as_typed(cls: Any, stored: dict[str, Any]) -> dict[str, Any]:
    """Stored settings with their types back (a time is stored as a text); what does not read stays as it is."""
    try:
        return cls.Settings.model_validate(stored).model_dump() if cls and stored else stored
    except ValidationError:
        return stored

"""The action *Change a field*: of the record, or of one that it points to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import Field as Setting
from wtforms import Form, SelectChoice, SelectField, StringField
from wtforms.validators import InputRequired, Length

from soconnective.automation import merge
from soconnective.automation.contracts import (
    ANY,
    Action,
    ActionFailed,
    Made,
    RunContext,
    Scope,
    Settings,
    StepResult,
)
from soconnective.automation.registry import register_action
from soconnective.automation.writable import check_target, record_of, targets, writable
from soconnective.core.conditions import Field
from soconnective.core.forms import clean_text
from soconnective.core.registry import registry
from soconnective.core.words import told
from soconnective.core.workspace import workspace_today

LONGEST = 200
MOST_DAYS = 3650
DAYS = re.compile(r"0|-?[1-9][0-9]{0,4}")  # one way to write each number


class ChangeFieldSettings(Settings):
    """value: None empties the field; a text may hold merge fields; for a date, days from the day of the run."""

    target: str = Setting(max_length=40)
    field: str = Setting(min_length=1, max_length=80)
    value: str | None = Setting(None, max_length=LONGEST)


class ChangeField(Action):
    """Sets one field by the area's own operation, so that its checks and events happen as for a person."""

    type_id = "change_field"
    label = "Change a field"
    group = "Records"
    icon = "edit"
    Settings = ChangeFieldSettings

    @classmethod
    def form_for(cls, scope: Scope, values: Mapping[str, Any]) -> type[Form]:
        """The inputs for what is chosen so far: which record, which of its fields, and a value of its kind."""
        reachable = targets(scope)
        target = values.get("target") or next(iter(reachable), "")
        item = writable(target)
        known = item.known() if item else {}
        chosen = values.get("field")
        field = known.get(chosen) if chosen else next(iter(known.values()), None)
        redraws = {"data-redraw": ""}
        if target and target not in reachable:
            reachable = {**reachable, target: "⚠ a record that it cannot reach"}
        parts: dict[str, Any] = {
            "target": SelectField(
                "Of", choices=[SelectChoice(k, v) for k, v in reachable.items()], default=target,
                render_kw=redraws, validate_choice=False,
            ),
            "field": SelectField(
                "Field", choices=_choices(known, field),
                default=field.name if field else "", render_kw=redraws, validate_choice=False,
                validators=[InputRequired("Choose a field.")],
            ),
            "value": _input(field, values.get("value")),
        }  # fmt: skip
        return type("ChangeFieldForm", (Form,), parts)

    def written(self, scope: Scope) -> dict[str, Any]:
        field, value = self.meant, self.settings.value
        is_known = value is None or (field is not None and field.kind != "date" and "{{" not in value)
        return {f"{self.settings.target}.{self.settings.field}": value if is_known else ANY}

    @property
    def meant(self) -> Field | None:
        item = writable(self.settings.target)
        return item.known().get(self.settings.field) if item else None

    def run(self, context: RunContext) -> StepResult:
        item, field = writable(self.settings.target), self.meant
        if item is None or field is None:
            raise ActionFailed("The field does not exist any more.")
        record = record_of(context, item.record_type)
        value = self._value(context, field)
        if value is None and field.name in item.required:
            raise ActionFailed(f"The {field.label} would be empty, and it must not be.")
        item.update(record, **{field.name: value})
        kind = registry.record_types[item.record_type]
        said = "emptied" if value is None else f"set to {field.label_of(value) or value}"
        made = Made(item.record_type, record.id, kind.title(record), "changed")
        return StepResult(f"{field.label} {said}", (made,))

    def _value(self, context: RunContext, field: Field) -> Any:
        """The value as the operation takes it."""
        stored = self.settings.value
        if stored is None:
            return None
        if field.kind == "text":
            text = merge.render(stored, context.fields).strip()
            return f"{text[: LONGEST - 1]}…" if len(text) > LONGEST else text or None
        if field.kind == "date":
            return workspace_today() + timedelta(days=int(stored))
        if field.kind == "choice" and field.label_of(stored) is None:
            raise ActionFailed(f"What the {field.label} should become does not exist any more.")
        return Decimal(stored) if field.kind == "number" else stored

    def describe(self) -> str:
        kind = registry.record_types.get(self.settings.target)
        field = self.meant
        where = f"the {kind.label.lower()}'s " if kind else "⚠ something's "
        if field is None:
            return f"change {where}⚠ a field that is gone"
        if self.settings.value is None:
            return f"empty {where}{field.label}"
        return f"set {where}{field.label} to {_said(field, self.settings.value)}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        item, field, value = writable(self.settings.target), self.meant, self.settings.value
        if (problem := check_target(self.settings.target, scope)) is not None:
            return [("target", problem)]
        if item is None or field is None:
            return [("field", "This field does not exist any more. Choose another one.")]
        if value is None:
            required = f"The {field.label} cannot be empty. Write what it becomes."
            return [("value", required)] if field.name in item.required else []
        return [("value", problem) for problem in _wrong(field, value, scope)]


def _choices(known: Mapping[str, Field], field: Field | None) -> list[SelectChoice]:
    found = [SelectChoice(f.name, f.label[:1].upper() + f.label[1:]) for f in known.values()]
    return found if field else [SelectChoice("", "choose …"), *found]


def _input(field: Field | None, value: Any) -> Any:
    """An input for the kind of `field`; empty empties the field."""
    if field is not None and field.kind == "choice" and field.choices is not None:
        found = list(field.choices())
        if value and value not in dict(found):
            found.append((value, "⚠ something that is gone"))
        return SelectField(
            "Becomes",
            choices=[SelectChoice("", "empty"), *(SelectChoice(k, v) for k, v in found)],
            filters=[clean_text],
            validate_choice=False,
        )
    label = "Becomes the day of the run plus days" if field and field.kind == "date" else "Becomes"
    words = {"inputmode": "numeric"} if field and field.kind in ("date", "number") else {}
    return StringField(
        label,
        filters=[clean_text],
        validators=[Length(max=LONGEST)],
        render_kw={"placeholder": "empty", **words},
    )


def _wrong(field: Field, value: str, scope: Scope) -> list[str]:
    """What is wrong with a value that is not empty."""
    if field.kind == "text":
        return merge.problems(value, scope.record_type)
    if field.kind == "date":
        is_right = DAYS.fullmatch(value) is not None and abs(int(value)) <= MOST_DAYS
        return [] if is_right else [f"Write a number of days, {MOST_DAYS} at most."]
    try:
        field.clean(value)
    except ValueError as error:
        return [str(error)]
    return []


def _said(field: Field, value: str) -> str:
    if field.kind == "date":
        days = int(value) if DAYS.fullmatch(value) else 0
        return {0: "the day of the run", 1: "1 day later", -1: "1 day earlier"}.get(
            days, f"{abs(days)} days {'later' if days > 0 else 'earlier'}"
        )
    if field.kind == "text":
        return told(value)
    return field.label_of(value) or "⚠ something that is gone"


register_action(ChangeField)

"""The builder: one form for a trigger with its settings and any number of action rows.

The rows are read from the posted names by small plain indexes and numbered anew, so that a crafted
index changes nothing, and adding, moving or removing a row works the same with and without script.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from flask import request
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, RadioField, SelectChoice, SelectField, StringField
from wtforms.validators import InputRequired, Length

from soconnective.automation import edits
from soconnective.automation.conditions import Conditions
from soconnective.automation.contracts import Action, NoFields, Scope, Trigger, first_problem
from soconnective.automation.definition import NO_CONDITIONS, Definition, scope_of, sentence
from soconnective.automation.edits import Row
from soconnective.automation.flow import DEEPEST, If, flow_of
from soconnective.automation.merge import merge_fields
from soconnective.automation.models import ON_FAILURE
from soconnective.automation.picture import Picture, anchor, draw
from soconnective.automation.registry import action_types, trigger_types
from soconnective.automation.rule_conditions import TOO_MANY as CONDITIONS_TOO_MANY
from soconnective.automation.rule_conditions import ConditionForm
from soconnective.automation.step_row import StepRow
from soconnective.automation.test_card import TestCard
from soconnective.automation.undo import History
from soconnective.core.forms import RecordForm, nothing_missing, refuse_nul

MAX_STEPS = 50
TOO_MANY = f"A rule has at most {MAX_STEPS} steps. Nothing was saved."
QUIET = ("sentence", "trigger", "redraw", "copy")  # buttons that change nothing worth taking back


EDITS = ("remove", "up", "down", "double", "off", "note", "redraw", "stepif", "copy")


class RuleForm(RecordForm):
    name = StringField("Name", validators=[InputRequired("Give the rule a name."), Length(max=120)])
    trigger = SelectField("When", default="deal.won")
    is_active = BooleanField("Switched on", default=True)
    on_failure = RadioField(
        "If a step fails", choices=[SelectChoice(k, v) for k, v in ON_FAILURE.items()], default="undo"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = [item for item in trigger_types().items() if item[1].is_offered]
        types = sorted(offered, key=lambda item: (item[1].group, item[1].label))
        self.trigger.choices = [SelectChoice(name, cls.label, optgroup=cls.group) for name, cls in types]
        if self.trigger.data not in trigger_types():  # else the browser would choose the first one unasked
            self.trigger.choices.insert(0, SelectChoice("", "choose …", optgroup="Gone"))


class Builder:
    """Everything the builder page shows and saves."""

    def __init__(self, definition: Definition | None = None, rule: Any = None) -> None:
        self.rule = rule
        self.form = RuleForm(obj=rule)
        self.source: MultiDict[str, str] = request.form
        self.history = History(request.form.get("history", ""))
        self.too_many = False
        self.pressed = ""  # the button that asked for this form
        self.notice: tuple[str, str] | None = None  # (words, link) of what a button did elsewhere
        self.concerns: list[str] = []  # what the linter says when somebody asks for a check
        self.conditions: ConditionForm
        if request.method == "POST":
            self._read_post()
        else:
            self._read_definition(definition)

    def _read_definition(self, definition: Definition | None) -> None:
        if definition is None:
            kinds = action_types()
            first = "create_task" if "create_task" in kinds else next(iter(kinds), "")
            self.trigger_form = self._trigger_form(None, {})
            self.conditions = ConditionForm(self.scope, Conditions.load(None, self.scope))
            self.steps = [StepRow(0, first, self.where, None)] if first else []
            return
        self.form.name.data, self.form.on_failure.data = definition.name, definition.on_failure
        self.form.trigger.data = definition.trigger.type_id
        self.trigger_form = self._trigger_form(None, definition.trigger.stored())
        self.conditions = ConditionForm(self.scope, definition.conditions)
        self.steps = [
            StepRow(i, step.type_id, self.where, None, step) for i, step in enumerate(definition.steps)
        ]
        self._indent()
        if definition.trigger.broken:
            self.form.trigger.errors = [definition.trigger.broken]
        self._mark(definition)

    def _read_post(self) -> None:
        self.trigger_form = self._trigger_form(self.source, {})
        self.conditions = ConditionForm(self.scope, source=self.source)
        self._draw(self._posted_rows())

    def _draw(self, rows: list[Row], focus: int | None = None, on: str = "row") -> None:
        """Draw the rows anew, with the cursor at one of them: on its field, its button, or itself."""
        self.steps = [StepRow(i, kind, self.where, data) for i, (kind, data) in enumerate(rows)]
        self._indent()
        if focus is not None and focus < len(self.steps):
            self.steps[focus].focus = on

    def _indent(self) -> None:
        for row, depth in zip(self.steps, flow_of([row.kind for row in self.steps]).depths, strict=True):
            row.depth = min(depth, DEEPEST)

    def _trigger_form(self, formdata: Any, stored: dict[str, Any]) -> Any:
        cls = trigger_types().get(self.form.trigger.data or "")
        form_class = cls.form if cls else NoFields
        form = form_class(formdata=formdata, prefix="trigger", data=stored)
        if request.form.get("op") == "trigger" and not any(field.name in request.form for field in form):
            return form_class(prefix="trigger", data=stored)  # just chosen: it begins with its defaults
        return form

    def _posted_rows(self) -> list[Row]:
        rows: dict[int, MultiDict[str, str]] = {}
        for name in self.source:
            if not name.startswith("steps-"):
                continue
            index, _, field = name[6:].partition("-")
            if not (index.isascii() and index.isdigit() and len(index) <= 4 and field):
                continue
            rows.setdefault(int(index), MultiDict()).setlist(field, self.source.getlist(name))
        self.too_many = len(rows) > MAX_STEPS
        ordered = [rows[index] for index in sorted(rows)][:MAX_STEPS]
        return [(row.get("kind", ""), row) for row in ordered]

    @property
    def where(self) -> Scope:
        return scope_of(trigger_types().get(self.form.trigger.data or ""))

    @property
    def scope(self) -> str | None:
        return self.where.record_type

    @property
    def offered(self) -> list[tuple[str, list[tuple[str, Any]]]]:
        """The steps that can be added, by group; those that belong to an if are offered there."""
        groups: dict[str, list[tuple[str, Any]]] = {}
        for kind, cls in action_types().items():
            if kind not in ("otherwise", "otherwise_if", "end_if"):
                groups.setdefault(cls.group, []).append((kind, cls))
        return sorted(groups.items(), key=lambda group: (group[0] == "Flow", group[0]))

    @property
    def fields(self) -> list[tuple[str, str]]:
        """(name, label) of the merge fields that the texts may use."""
        return merge_fields(self.scope)

    def apply(self, op: str) -> bool:
        """Do what a button asked for; False for anything that no button says.

        add:<kind>[:<place>]; remove, up, down, double, off, note, redraw and copy with the step's index;
        if:… and stepif:N:… for conditions; undo and redo.
        """
        what, _, argument = op.partition(":")
        self.pressed = what
        if what in ("undo", "redo"):
            return self._travel(what)
        is_known = self._apply(what, argument)
        if is_known and what not in QUIET:
            self.history.remember(self.source)
        return is_known

    def _travel(self, what: str) -> bool:
        state = self.history.undo(self.source) if what == "undo" else self.history.redo(self.source)
        if state is not None:
            self.source = state
            self.form = RuleForm(formdata=state, obj=self.rule)
            self._read_post()
        return state is not None

    def _apply(self, what: str, argument: str) -> bool:
        if what == "if":
            return argument == "" or self.conditions.apply(argument)
        if what == "add":
            return self._add(*argument.partition(":")[::2])
        where, _, rest = argument.partition(":")
        rows = self._posted_rows()
        if what in EDITS and _is_index(where, len(rows)):
            return self._change(what, int(where), rest, rows)
        return what in ("trigger", "sentence")

    def _add(self, kind: str, place: str) -> bool:
        rows = self._posted_rows()
        if kind not in action_types() or kind == "end_if" or (place and not _is_index(place, len(rows) + 1)):
            return False
        if not self._has_room(len(rows) + 1 + (kind == "if")):
            return False
        rows, at = edits.added(rows, kind, int(place) if place else len(rows))
        fresh = rows[at][1]
        self._draw(rows, at, "field")
        self.steps[at] = StepRow(at, kind, self.where, fresh or None)
        self.steps[at].focus = "field"
        self._indent()
        for field in list(self.steps[at].form)[:1]:
            field.render_kw = {**(field.render_kw or {}), "autofocus": True}
        return True

    def _has_room(self, number: int) -> bool:
        if number > MAX_STEPS:
            self.form.form_problem = TOO_MANY
        return number <= MAX_STEPS

    def _change(self, what: str, index: int, rest: str, rows: list[Row]) -> bool:
        if what == "stepif":
            conditions = self.steps[index].conditions
            return conditions is not None and (rest == "" or conditions.apply(rest))
        if what == "copy":
            return True
        at, on = index, what
        if what == "remove":
            rows, on = edits.removed(rows, index), "row"
            at = min(index, len(rows) - 1)
        elif what in ("up", "down"):
            rows, at = edits.moved(rows, index, -1 if what == "up" else 1)
        elif what == "double":
            if not self._has_room(len(rows) + len(edits.whole(rows, index))):
                return False
            rows, at = edits.doubled(rows, index)
            on = "row"
        elif what == "off":
            rows = edits.switched(rows, index)
        elif what == "note":
            rows = edits.noted(rows, index)
        else:  # another field was chosen: what was written for the last one goes
            rows[index][1].poplist("value")
        self._draw(rows, at if what != "redraw" and at >= 0 else None, on)
        return True

    def block(self, index: int) -> list[StepRow]:
        """The step with all that belongs to it."""
        rows = self._posted_rows()
        return [self.steps[i] for i in edits.whole(rows, index)] if index < len(rows) else []

    def validate(self, is_draft: bool = False) -> Definition | None:
        """The definition, or None with errors beside the fields.

        A draft need not make sense as a whole yet; that is said all the same.
        """
        valid = self.form.validate()
        trigger = self._piece(trigger_types().get(self.form.trigger.data or ""), self.trigger_form)
        if trigger is None and self.form.trigger.data not in trigger_types() and not self.form.trigger.errors:
            self.form.trigger.errors = ["Choose when the rule looks."]
        conditions = self.conditions.read()
        if self.conditions.too_many:
            self.form.form_problem = CONDITIONS_TOO_MANY
        valid = valid and trigger is not None and conditions is not None
        steps = []
        if self.too_many:
            self.form.form_problem = TOO_MANY
            valid = False
        if not self.steps:
            self.form.form_problem = "A rule needs at least one action."
            valid = False
        for row in self.steps:
            if row.cls is None:
                row.errors.append("Choose what this step does.")
                valid = False
                continue
            piece = self.piece(row)
            if piece is None:
                valid = False
            else:
                steps.append(piece)
        definition = (
            Definition(
                self.form.name.data or "",
                trigger,
                tuple(steps),
                self.form.on_failure.data,
                conditions or NO_CONDITIONS,
            )
            if valid
            else None
        )
        if definition is None or (self._mark(definition) and not is_draft):
            self.form.status = 422
            return None
        return definition

    def _mark(self, definition: Definition) -> bool:
        """Put everything that makes no sense here and now beside its field; whether there was anything."""
        problems = definition.problems()
        for path, name, message in problems:
            where = path if path in ("trigger", "if") else f"steps-{path}"
            self.refuse(f"{where}-{name}", message)
        return bool(problems)

    def piece(self, row: StepRow) -> Any:
        """The checked step of a row, with its marks; None with messages beside its fields."""
        found = self._branch(row) if row.conditions else self._piece(row.cls, row.form)
        return found.marked(row.is_off, row.note) if row.marks.validate() and found is not None else None

    def _piece(self, cls: Any, form: Any) -> Any:
        """A checked piece from its form; errors go beside its fields."""
        if cls is None:
            return None
        for field in form:
            if isinstance(field, StringField):
                field.validators = [refuse_nul, *(v for v in field.validators if v is not refuse_nul)]
        if not form.validate() or not nothing_missing(form):
            return None
        try:
            return cls(cls.Settings.model_validate(form.data))
        except ValidationError as error:
            for problem in error.errors():
                name = str(problem["loc"][0]) if problem["loc"] else ""
                if name in form:
                    form[name].errors = [*form[name].errors, problem["msg"]]
                else:
                    self.form.form_problem = first_problem(error)
            return None

    def _branch(self, row: StepRow) -> Any:
        """A branch with its conditions; None with messages beside their rows."""
        conditions = row.conditions.read() if row.conditions else None
        if row.conditions is not None and row.conditions.too_many:
            self.form.form_problem = CONDITIONS_TOO_MANY
        if conditions is None or row.cls is None:
            return None
        return row.cls(row.cls.Settings.model_validate({"conditions": conditions.tree}))

    def refuse(self, path: str | None, message: str) -> bool:
        """Put what an operation refused beside its field; False if no field is meant."""
        if path is None:
            return False
        where, _, name = path.partition("-")
        if where == "if":
            return self.conditions.refuse(name, message)
        if where == "trigger" and name in self.trigger_form:
            self.trigger_form[name].errors = [*self.trigger_form[name].errors, message]
            return True
        index, _, name = name.partition("-")
        if where == "steps" and index.isdigit() and int(index) < len(self.steps):
            row = self.steps[int(index)]
            if row.conditions is not None and name.startswith("if-"):
                return row.conditions.refuse(name[3:], message)
            if name in row.form:
                row.form[name].errors = [*row.form[name].errors, message]
            else:
                row.errors.append(message)
            return True
        return False

    @cached_property
    def test(self) -> TestCard:
        """The card that tries the rule as it stands in the form."""
        return TestCard(
            trigger_types().get(self.form.trigger.data or ""),
            request.form if request.method == "POST" else None,
        )

    def try_it(self) -> None:
        """Try what stands in the form; what does not make sense yet is said beside its field."""
        definition = self.validate()
        if definition is not None:
            self.test.run(definition, self.rule)

    def sentence(self) -> str:
        """The rule as it stands in the form, as far as it can be said."""
        trigger_class = trigger_types().get(self.form.trigger.data or "")
        trigger = self._said(trigger_class, self.trigger_form)
        steps = [self._said_step(row) for row in self.steps]
        if trigger is None:
            return "Choose when the rule looks."
        known = [step for step in steps if step is not None]
        return sentence(trigger, known, self.conditions.describe(), self.form.on_failure.data or "undo")

    def picture(self) -> Picture:
        """The rule as it stands in the form, drawn; each box leads to its row."""
        trigger = self._said(trigger_types().get(self.form.trigger.data or ""), self.trigger_form)
        steps = [self._said_step(row) or _Unsaid(Gone) for row in self.steps]
        return draw(
            trigger or _Unsaid(Unchosen),
            self.conditions.describe(),
            steps,
            self.where,
            href=lambda key: f"#{anchor(key)}",
        )

    def _said_step(self, row: StepRow) -> Any:
        if row.cls is None:
            return None
        if row.conditions is None:
            said = self._said(row.cls, row.form)
        else:
            words = row.conditions.describe() or "…"
            said = _Unsaid(row.cls, f"{row.cls.word} {words}" if issubclass(row.cls, If) else words)
        return said.marked(row.is_off, row.note)

    def _said(self, cls: Any, form: Any) -> Any:
        if cls is None:
            return None
        try:
            return cls(cls.Settings.model_validate(form.data))
        except ValidationError:
            return _Unsaid(cls)


class Gone(Action):
    type_id, label, group, icon = "gone", "An action that is gone", "Broken", "alert-triangle"


class Unchosen(Trigger):
    type_id, label, group, record_type = "", "choose when the rule looks", "Broken", ""


class _Unsaid:
    """A piece whose settings are not complete yet: said by its label, or in the given words."""

    def __init__(self, cls: type[Action | Trigger], words: str = "") -> None:
        self._cls, self._words = cls, words
        self.type_id, self.record_type = cls.type_id, getattr(cls, "record_type", "")
        self.icon, self.is_off, self.note = cls.icon, False, ""

    def marked(self, is_off: bool, note: str) -> _Unsaid:
        self.is_off, self.note = is_off, note
        return self

    def describe(self) -> str:
        label = self._cls.label.removesuffix(" …")
        return self._words or f"{label[:1].lower()}{label[1:]} …"

    def say(self, _scope: Scope) -> str:
        return self.describe()


def _is_index(text: str, length: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4 and int(text) < length

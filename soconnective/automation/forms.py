"""The builder: one form for a trigger with its settings and any number of action rows.

The rows are read from the posted names by small plain indexes and numbered anew, so that a crafted
index changes nothing, and adding, moving or removing a row works the same with and without script.
"""

from __future__ import annotations

from functools import cached_property
from itertools import zip_longest
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, RadioField, SelectChoice, SelectField, StringField
from wtforms.validators import InputRequired, Length

from soconnective.automation import edits
from soconnective.automation.conditions import Conditions
from soconnective.automation.contracts import NoFields, Scope
from soconnective.automation.definition import NO_CONDITIONS, Definition, scope_of, sentence
from soconnective.automation.edits import Row
from soconnective.automation.flow import DEEPEST, flow_of
from soconnective.automation.merge import merge_fields
from soconnective.automation.mistakes import Mistake, of_conditions, of_fields, of_step
from soconnective.automation.models import ON_FAILURE
from soconnective.automation.picture import Picture, anchor, draw
from soconnective.automation.pieces import UnreadAction, UnreadTrigger, piece_of
from soconnective.automation.registry import action_types, trigger_types
from soconnective.automation.rule_conditions import TOO_MANY as CONDITIONS_TOO_MANY
from soconnective.automation.rule_conditions import ConditionForm
from soconnective.automation.said import Gone, Unchosen, Unsaid, said, said_step
from soconnective.automation.step_row import StepRow
from soconnective.automation.test_card import TestCard
from soconnective.automation.undo import History
from soconnective.core.forms import RecordForm

MAX_STEPS = 50
TOO_MANY = f"A rule has at most {MAX_STEPS} steps. Nothing was saved."
NO_STEP = "A rule needs at least one action."
QUIET = ("sentence", "trigger", "redraw", "copy")  # buttons that change nothing worth taking back
EDITS = ("remove", "up", "down", "double", "off", "note", "redraw", "stepif", "copy")
SWITCH = "It works from the moment it is saved. Off, a rule does nothing; a draft can be tried before it is saved for good."


class RuleForm(RecordForm):
    name = StringField("Name", validators=[InputRequired("Give the rule a name."), Length(max=120)])
    trigger = SelectField("When", default="deal.won")
    is_active = BooleanField("Switched on", default=True, description=SWITCH)
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
        self.is_unsaved = request.method == "POST" or "sweep" in request.args  # it shows more than is stored
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
            before = self._posted_rows()
            self.source = state
            self.form = RuleForm(formdata=state, obj=self.rule)
            self._read_post()
            for row, old, new in zip_longest(self.steps, before, self._posted_rows()):
                if row is not None and old != new:
                    row.was = None
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
        posted = rows
        rows, at = edits.added(rows, kind, int(place) if place else len(rows))
        fresh = rows[at][1]
        self._draw(rows, at, "field")
        self.steps[at] = StepRow(at, kind, self.where, fresh or None)
        self.steps[at].focus = "field"
        self._indent()
        self._trace(posted, rows)
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
        at, on, posted = index, what, rows
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
        if what not in ("off", "note"):  # these leave every row where it is
            self._trace(posted, rows)
        return True

    def _trace(self, before: list[Row], after: list[Row]) -> None:
        """Tell each row where it stood: what is typed into it while the answer is under way moves along."""
        stood = {id(posted): index for index, (_kind, posted) in enumerate(before)}
        for row, (_kind, posted) in zip(self.steps, after, strict=True):
            row.was = stood.get(id(posted))

    def block(self, index: int) -> list[StepRow]:
        """The step with all that belongs to it."""
        rows = self._posted_rows()
        return [self.steps[i] for i in edits.whole(rows, index)] if index < len(rows) else []

    def validate(self, is_draft: bool = False) -> Definition | None:
        """The definition, or None with all that is wrong beside its fields, in one go.

        A draft need not be complete, nor make sense as a whole yet; that is said all the same.
        """
        is_valid = self.form.validate()
        cls = trigger_types().get(self.form.trigger.data or "")
        trigger = self._piece(cls, self.trigger_form, is_draft)
        if cls is None and not self.form.trigger.errors:
            self.form.trigger.errors = ["Choose when the rule looks."]
        conditions = self.conditions.read(is_draft)
        if self.conditions.too_many:
            self.form.form_problem = CONDITIONS_TOO_MANY
        if self.too_many:
            self.form.form_problem = TOO_MANY
        if not self.steps and not is_draft:
            self.form.form_problem = NO_STEP
        steps = [self.piece(row, is_draft) for row in self.steps]
        definition = Definition(
            self.form.name.data or "",
            trigger or UnreadTrigger(cls or Unchosen),
            tuple(
                step or UnreadAction(row.kind).marked(row.is_off, "")
                for step, row in zip(steps, self.steps, strict=True)
            ),
            self.form.on_failure.data or "undo",
            conditions or NO_CONDITIONS,
        )
        has_problems = cls is not None and self._mark(definition)
        is_read = all(piece is not None for piece in (trigger, conditions, *steps))
        if not (is_valid and is_read) or self.form.form_problem or (has_problems and not is_draft):
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

    def piece(self, row: StepRow, is_draft: bool = False) -> Any:
        """The checked step of a row, with its marks; None with messages beside its fields."""
        if row.cls is None:
            row.errors.append("Choose what this step does.")
            return None
        found = self._branch(row, is_draft) if row.conditions else self._piece(row.cls, row.form, is_draft)
        return found.marked(row.is_off, row.note) if row.marks.validate() and found is not None else None

    def _piece(self, cls: Any, form: Any, is_draft: bool) -> Any:
        return piece_of(cls, form, is_draft, self._complain) if cls is not None else None

    def _complain(self, message: str) -> None:
        self.form.form_problem = message

    def _branch(self, row: StepRow, is_draft: bool) -> Any:
        """A branch with its conditions; None with messages beside their rows."""
        conditions = row.conditions.read(is_draft) if row.conditions else None
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

    @property
    def mistakes(self) -> list[Mistake]:
        """All that stands beside the fields, in the order of the page."""
        found = [
            *of_fields((self.form.name, self.form.is_active, self.form.trigger), "when"),
            *of_fields(self.trigger_form, "when", "When"),
            *of_conditions(self.conditions, "conditions", "Only if"),
        ]
        for row in self.steps:
            found += of_step(row)
        return [*found, *of_fields((self.form.on_failure,), "builder")]

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
        trigger = said(trigger_class, self.trigger_form)
        steps = [said_step(row) for row in self.steps]
        if trigger is None:
            return "Choose when the rule looks."
        known = [step for step in steps if step is not None]
        return sentence(trigger, known, self.conditions.describe(), self.form.on_failure.data or "undo")

    def picture(self) -> Picture:
        """The rule as it stands in the form, drawn; each box leads to its row."""
        trigger = said(trigger_types().get(self.form.trigger.data or ""), self.trigger_form)
        steps = [said_step(row) or Unsaid(Gone) for row in self.steps]
        return draw(
            trigger or Unsaid(Unchosen),
            self.conditions.describe(),
            steps,
            self.where,
            href=lambda key: f"#{anchor(key)}",
        )


def _is_index(text: str, length: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4 and int(text) < length

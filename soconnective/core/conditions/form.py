"""Conditions as a form, in the builder and on lists: groups of rows, each a field, a comparison and what to compare with.

Names: ``if-match`` joins the groups; ``if-G-match`` joins the rows of group G; a row is ``if-G-N-field``,
``-operator``, ``-value`` and ``-other``. Groups and rows are read by small plain indexes and numbered anew.
In a step the names stand under the step's own: ``steps-3-if-0-0-field``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from werkzeug.datastructures import MultiDict
from wtforms import Form, SelectChoice, SelectField, SelectMultipleField, StringField
from wtforms.widgets import DateInput, NumberInput

from soconnective.core.apart import told_apart
from soconnective.core.conditions.fields import Field
from soconnective.core.conditions.operators import OPERATORS, Operator, operators_of
from soconnective.core.conditions.tree import Group, Test, checked, describe
from soconnective.core.fields import numbered
from soconnective.core.registry import active_people, called, registry

MOST_GROUPS, MOST_ROWS, OFFERED = 10, 20, 500
NAME = re.compile(r"if-(\d{1,3})(?:-(\d{1,3})-(field|operator|value|other)|-(match))")
TAGS, THE_CHANGE = "Tags", "The change itself"
AS_IT_IS, JUST_CHANGED = "As it is now", "What has just changed"
JOINS = (("all", "all of these"), ("any", "any of these"), ("none", "none of these"))


class Row:
    """One condition as the form shows it. With a `blank`, the field is yet to be chosen; without, it is the first."""

    def __init__(
        self,
        prefix: str,
        group: int,
        index: int,
        values: MultiDict[str, str],
        fields: Mapping[str, Field],
        record_type: str | None = None,
        with_changes: bool = False,
        blank: str = "",
    ) -> None:
        self.prefix = f"{prefix}-{group}-{index}"
        self.group, self.index = group, index
        self.was = f"{group}-{index}"  # where it stood in what was posted; empty if it was not there
        self.posted, self.fields, self.record_type = values, fields, record_type
        self.with_changes, self.blank = with_changes, blank
        self.field = fields.get(values.get("field", ""))
        if self.field is None and not blank:
            self.field = next(iter(fields.values()), None)
        self.known = values.get("field", "") in fields or not values.get("field")
        self.operator = self._operator(values.get("operator", ""))
        self.has_focus = False
        self.errors: list[str] = [] if self.known else ["This field does not exist here. Choose another one."]
        self.form = self._form()

    @property
    def is_blank(self) -> bool:
        """Nothing is asked yet."""
        return bool(self.blank) and not self.posted.get("field")

    def _operator(self, wanted: str) -> Operator | None:
        if self.field is None:
            return None
        offered = self._offered(self.field)
        return next((o for o in offered if o.id == wanted), offered[0])

    def _offered(self, field: Field) -> list[Operator]:
        return operators_of(field, with_changes=self.with_changes and field.column is not None)

    def _form(self) -> Any:
        """The four inputs, made for this field and comparison."""
        parts: dict[str, Any] = {
            "field": SelectField(
                "Field",
                choices=[
                    *([SelectChoice("", self.blank)] if self.blank else []),
                    *_grouped(self.fields, self.record_type),
                ],
                validate_choice=False,
            )
        }
        if self.field is not None and self.operator is not None:
            offered = self._offered(self.field)
            parts["operator"] = SelectField("Comparison", choices=_compared(offered), validate_choice=False)
            if self.operator.takes != "nothing":
                parts["value"] = self._input(self.field, self.operator)
            if self.operator.takes == "two":
                parts["other"] = _single(self.field, "and")
        form = type("ConditionFields", (Form,), parts)
        data = MultiDict([(f"{self.prefix}-{name}", v) for name, v in self.posted.items(multi=True)])
        data[f"{self.prefix}-field"] = self.field.name if self.field else ""
        data[f"{self.prefix}-operator"] = self.operator.id if self.operator else ""
        return form(formdata=data, prefix=self.prefix)

    def _input(self, field: Field, operator: Operator) -> Any:
        if operator.takes == "days":
            return StringField("Days", widget=NumberInput(min=0, max=3650))
        if operator.takes == "many" and field.kind != "text":
            return SelectMultipleField(
                "Values", choices=_choices(field, self.posted.getlist("value")), validate_choice=False
            )
        if operator.takes == "many":
            return StringField("Values, separated by commas", render_kw={"maxlength": 400})
        return _single(field, "Value", self.posted.get("value", ""))

    def read(self, is_draft: bool = False) -> Test | None:
        """The checked condition, or None with a message beside it. In a draft it may lack what to compare with."""
        if self.field is None or self.operator is None or not self.known:
            return None
        value: Any = self.posted.get("value", "")
        if self.operator.takes == "many":
            value = self.posted.getlist("value")
            if self.field.kind == "text":
                value = [part.strip() for part in ",".join(value).split(",") if part.strip()]
        elif self.operator.takes == "two":
            value = [value, self.posted.get("other", "")]
        try:
            _require_storable(value)
            return Test(
                field=self.field.name,
                operator=self.operator.id,
                value=checked(self.field, self.operator, value),
            )
        except ValueError as error:
            if is_draft and (found := self._unfinished(value)) is not None:
                return found
            self.errors.append(str(error))
            return None

    def _unfinished(self, value: Any) -> Test | None:
        """The condition as far as it is written; None if what is written is wrong."""
        parts = value if isinstance(value, list) else [value]
        written = [part for part in parts if part.strip()]
        if self.field is None or self.operator is None or (parts and len(written) == len(parts)):
            return None
        try:
            _require_storable(written)
            for part in written:
                self.field.clean(part)
        except ValueError:
            return None
        return Test(field=self.field.name, operator=self.operator.id, value=value)


def _grouped(fields: Mapping[str, Field], record_type: str | None) -> list[SelectChoice]:
    """The fields under plain headings: the record's own, those of each record it points to, tags, the change."""
    groups: dict[str, list[Field]] = {}
    for field in fields.values():
        groups.setdefault(_heading(field, record_type), []).append(field)
    last = (TAGS, THE_CHANGE)
    return [
        SelectChoice(field.name, field.label[:1].upper() + field.label[1:], optgroup=heading)
        for heading in sorted(groups, key=lambda name: last.index(name) if name in last else -1)
        for field in groups[heading]
    ]


def _heading(field: Field, record_type: str | None) -> str:
    """A related field is named after the record that it belongs to: `company_domain`."""
    if field.heading:
        return field.heading
    if field.kind == "tags":
        return TAGS
    whose = field.name.partition("_")[0] if field.is_related else record_type or ""
    kind = registry.record_types.get(whose)
    known = kind.label.lower() if kind is not None else "record"
    return f"{'Its' if field.is_related else 'The'} {known}"


def _compared(offered: Sequence[Operator]) -> list[SelectChoice]:
    """The comparisons; where some ask for the change, under two headings."""
    if not any(one.of_change for one in offered):
        return [SelectChoice(one.id, one.label) for one in offered]
    ordered = sorted(offered, key=lambda one: one.of_change)
    return [
        SelectChoice(one.id, one.label, optgroup=JUST_CHANGED if one.of_change else AS_IT_IS)
        for one in ordered
    ]


def _joined(match: str, items: Sequence[Test | Group | None]) -> Group:
    return Group(match=cast("Any", match), items=[item for item in items if item is not None])


def _require_storable(value: Any) -> None:
    if not all(one.isprintable() for one in (value if isinstance(value, list) else [value])):
        raise ValueError("This text contains characters that cannot be stored.")


class _Choice(SelectField):  # type: ignore[misc]
    """A list; of records only the first ones, and the page finds the others by their words (`record_type`)."""

    def __init__(self, *args: Any, record_type: str = "", **kwargs: Any) -> None:
        super().__init__(*args, validate_choice=False, **kwargs)
        self.record_type = record_type


def _single(field: Field, label: str, chosen: str = "") -> Any:
    if field.kind == "number":
        return StringField(label, render_kw={"inputmode": "decimal"})
    if field.kind in {"date", "moment"}:
        return StringField(label, widget=DateInput())
    if field.kind == "text":
        return StringField(label, render_kw={"maxlength": 200})
    offered = [SelectChoice("", "choose …"), *_choices(field, [chosen])]
    return _Choice(label, choices=offered, record_type=field.record_type)


def _choices(field: Field, chosen: list[str]) -> list[SelectChoice]:
    """What is offered, and what is chosen already, though it may be gone."""
    if field.choices is not None:
        found = list(field.choices())
    elif field.kind == "person":
        found = [(str(person.id), called(person.id) or person.name) for person in active_people()]
    else:
        found = told_apart(field.record_type, registry.record_types[field.record_type].first(OFFERED))
    known = dict(found)
    found += [
        (one, field.label_of(one) or "⚠ something that is gone") for one in chosen if one and one not in known
    ]
    return [SelectChoice(value, label) for value, label in numbered(found)]


class GroupRows:
    """A group as the form shows it."""

    def __init__(self, index: int, match: str, rows: list[Row]) -> None:
        self.index, self.rows = index, rows
        self.match = match if match in dict(JOINS) else "all"


class ConditionForm:
    """All groups: read from what was posted (`source`), or from what is stored (`tree`)."""

    def __init__(
        self,
        fields: Mapping[str, Field],
        tree: Group | None = None,
        source: MultiDict[str, str] | None = None,
        prefix: str = "if",
        with_changes: bool = False,
        blank: str = "",
        record_type: str | None = None,
    ) -> None:
        self.prefix = prefix
        self.record_type = record_type
        self.source: MultiDict[str, str] = source if source is not None else MultiDict()
        self.fields = fields
        self.with_changes, self.blank = with_changes, blank
        self.too_many = False
        self.errors: list[str] = []
        self.focus: int | None = (
            None  # the group at whose button the cursor stands; -1: at that for a new group
        )
        self.match = "all"
        self.groups: list[GroupRows] = []
        if tree is None:
            self._draw(self._posted(), self.source.get("if-match", "all"))
        else:
            self._show(tree)

    def _posted(self) -> list[tuple[str, list[MultiDict[str, str]]]]:
        found: dict[int, tuple[str, dict[int, MultiDict[str, str]]]] = {}
        for name in self.source:
            if not name.isascii() or (part := NAME.fullmatch(name)) is None:
                continue
            group = found.setdefault(int(part[1]), ("all", {}))
            if part[4]:
                found[int(part[1])] = (self.source[name], group[1])
            else:
                group[1].setdefault(int(part[2]), MultiDict()).setlist(part[3], self.source.getlist(name))
        groups = [(found[g][0], [found[g][1][n] for n in sorted(found[g][1])]) for g in sorted(found)]
        self.too_many = len(groups) > MOST_GROUPS or any(len(rows) > MOST_ROWS for _match, rows in groups)
        return [(match, rows[:MOST_ROWS]) for match, rows in groups[:MOST_GROUPS] if rows]

    def _draw(self, groups: Sequence[tuple[str, list[MultiDict[str, str]]]], match: str) -> None:
        self.match = match if match in ("all", "any") else "all"
        self.groups = [
            GroupRows(g, how, [self._row(g, n, values) for n, values in enumerate(rows)])
            for g, (how, rows) in enumerate(groups)
        ]

    def _row(self, group: int, index: int, values: MultiDict[str, str]) -> Row:
        return Row(
            self.prefix, group, index, values, self.fields, self.record_type, self.with_changes, self.blank
        )

    def _show(self, tree: Group) -> None:
        """From the stored tree: one group, or a group of groups."""
        flat = all(isinstance(item, Test) for item in tree.items)
        groups = [tree] if flat else [i if isinstance(i, Group) else Group(items=[i]) for i in tree.items]
        posted = [
            (group.match, [_values(item) for item in group.items if isinstance(item, Test)])
            for group in groups
            if group.items
        ]
        self._draw(posted, "all" if flat else tree.match)
        if any(isinstance(item, Group) for group in groups for item in group.items):
            self.errors.append(
                "These conditions stand deeper than this page shows; saving keeps only what it shows."
            )

    def apply(self, op: str) -> bool:
        """add: a group · add:G a row · remove:G:N a row, its group with the last one. False for anything else."""
        what, *numbers = op.split(":")
        if not all(n.isascii() and n.isdigit() and len(n) <= 3 for n in numbers) or len(numbers) > 2:
            return False
        groups = [(group.match, [row.posted for row in group.rows]) for group in self.groups]
        where = [int(n) for n in numbers]
        if what == "add" and len(where) < 2:
            fresh: MultiDict[str, str] = MultiDict()
            if not where and len(groups) < MOST_GROUPS:
                groups.append(("all", [fresh]))
            elif where and where[0] < len(groups) and len(groups[where[0]][1]) < MOST_ROWS:
                groups[where[0]][1].append(fresh)
        elif what == "remove" and len(where) == 2 and where[0] < len(groups):
            rows = groups[where[0]][1]
            if where[1] < len(rows):
                rows.pop(where[1])
        else:
            return False
        at = where[0] if where else len(groups) - 1
        stood = {id(row.posted): row.was for group in self.groups for row in group.rows}
        self._draw([group for group in groups if group[1]], self.match)
        for drawn in self.groups:
            for row in drawn.rows:
                row.was = stood.get(id(row.posted), "")
        if what == "add" and at < len(self.groups):
            self.groups[at].rows[-1].has_focus = True
        else:
            self.focus = min(at, len(self.groups) - 1)
        return True

    def read_tree(self, is_draft: bool = False) -> Group | None:
        """What is asked, or None with messages beside the rows."""
        found = [
            (group, [row.read(is_draft) for row in group.rows if not row.is_blank]) for group in self.groups
        ]
        if self.too_many or any(test is None for _group, tests in found for test in tests):
            return None
        groups = [_joined(group.match, tests) for group, tests in found if tests]
        return self._whole(groups)

    def _whole(self, groups: Sequence[Group]) -> Group:
        return groups[0] if len(groups) == 1 else _joined(self.match, groups) if groups else Group()

    def describe(self) -> str:
        """As far as it can be said; rows that are not complete yet are left out."""
        return describe(self.complete_tree(), self.fields)

    def complete_tree(self) -> Group:
        """What the complete rows ask; the others get no message."""
        kept = [(row, list(row.errors)) for group in self.groups for row in group.rows]
        groups = [
            _joined(group.match, [test for row in group.rows if (test := row.read())])
            for group in self.groups
        ]
        for row, errors in kept:
            row.errors = errors
        return self._whole([group for group in groups if group.items])

    def refuse(self, path: str, message: str) -> bool:
        """Put `message` beside the row at `path` of the tree that `read` made."""
        numbers = [int(part) for part in path.split("-") if part.isdigit()]
        if len(numbers) == 1 and len(self.groups) == 1:
            numbers = [0, *numbers]
        if (
            len(numbers) == 2
            and numbers[0] < len(self.groups)
            and numbers[1] < len(self.groups[numbers[0]].rows)
        ):
            row = self.groups[numbers[0]].rows[numbers[1]]
            if message not in row.errors:
                row.errors.append(message)
        else:
            self.errors.append(message)
        return True


def _values(test: Test) -> MultiDict[str, str]:
    """A stored condition as it would be posted."""
    found: MultiDict[str, str] = MultiDict({"field": test.field, "operator": test.operator})
    operator = OPERATORS.get(test.operator)
    if isinstance(test.value, list):
        if operator is not None and operator.takes == "two":
            found["value"], found["other"] = [*test.value, "", ""][:2]
        else:
            found.setlist("value", list(test.value))
    elif test.value is not None:
        found["value"] = test.value
    return found

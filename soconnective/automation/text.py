"""Rules as text: each rule as a TOML table with names instead of ids, and back.

One way to write each rule, so that a text that was applied is exported the same again: what is left out has its
default, ids are names ("Sales/Won", an e-mail address), conditions are ``{ field = "amount", at_least = 1000 }``
in lists called all, any or none. A rule is known by its `key` (`automation.keys`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from soconnective.automation.conditions import Conditions, event_fields
from soconnective.automation.contracts import Piece
from soconnective.automation.definition import Definition
from soconnective.automation.examples import read_example, say_example
from soconnective.automation.forms import MAX_STEPS
from soconnective.automation.keys import LONGEST, SHAPE, slug
from soconnective.automation.models import ON_FAILURE, Automation
from soconnective.automation.naming import long, read_group, say_group, short
from soconnective.automation.references import Unnamed, id_of, name_of
from soconnective.automation.registry import action_types, trigger_types
from soconnective.automation.step_row import MOST_NOTE
from soconnective.automation.toml import NotToml, headers, read_toml, write_tables
from soconnective.core.conditions import Field, Group

MOST_RULES, MOST_EXAMPLES = 500, 50
HEAD = "# The rules of {name}. What applying this text would change: soconnective automations plan FILE\n"
MARKS = ("off", "note")
KNOWN = ("key", "name", "active", "shadow", "on_failure", "when", "if", "steps", "examples")


class BadText(Exception):
    """A text that cannot be rules: everything that is wrong, in its order."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class RuleText:
    """One rule of a text; `place` says where it stands."""

    key: str
    definition: Definition
    state: str = "off"
    examples: list[dict[str, Any]] = field(default_factory=list)
    place: str = ""

    def at(self, path: str) -> str:
        """Where a part of it stands, for a message: "trigger", "if" or a step's index as in `Definition.problems`."""
        part = {"trigger": "when", "if": "if"}.get(path) or (
            f"step {int(path) + 1}" if path.isdigit() else path
        )
        return f"{self.place}, {part}" if part else self.place


def rule_table(rule: RuleText) -> dict[str, Any]:
    """The rule as the table to write; raises `Unnamed` for one that cannot be told to others."""
    definition = rule.definition
    broken = definition.broken or next((step.broken for step in definition.steps if step.broken), None)
    if broken:  # one that is switched off cannot be written either
        raise Unnamed(broken)
    fields = definition.conditions.fields
    asked = definition.conditions.tree
    return {
        "key": rule.key,
        "name": definition.name,
        "active": rule.state == "on",
        **({"shadow": True} if rule.state == "shadow" else {}),
        **({"on_failure": definition.on_failure} if definition.on_failure != "undo" else {}),
        "when": {"trigger": definition.trigger.type_id, **_say_settings(definition.trigger, fields)},
        **({"if": say_group(asked, fields)} if asked.items else {}),
        "steps": [
            {"do": step.type_id, **step.marks, **_say_settings(step, fields)} for step in definition.steps
        ],
        **({"examples": [say_example(one, fields) for one in rule.examples]} if rule.examples else {}),
    }


def write_rules(rules: list[dict[str, Any]], workspace: str, left_out: list[tuple[str, str]]) -> str:
    """The text of `rules`; what is left out is said at its end."""
    name = " ".join("".join(char if char.isprintable() else " " for char in workspace).split())
    text = HEAD.format(name=name) + ("\n" if rules else "") + write_tables("rule", rules)
    for rule, why in left_out:
        said = " ".join(f"{rule}: {why}".split())
        text += f"\n# Left out: {''.join(char for char in said if char.isprintable())}\n"
    return text


def _say_settings(piece: Piece, fields: Mapping[str, Field]) -> dict[str, Any]:
    """What differs from the defaults."""
    known, refers, said = piece.Settings.model_fields, piece.refers(), {}
    stored = piece.settings.model_dump(mode="json")
    for name, info in known.items():
        value = getattr(piece.settings, name)
        if isinstance(value, Group):
            said.update(say_group(value, fields))
        elif not info.is_required() and value == info.get_default(call_default_factory=True):
            continue
        elif name in refers and isinstance(value, tuple | list):
            said[short(name, known)] = [name_of(refers[name], one) for one in value]
        elif name in refers:
            said[short(name, known)] = name_of(refers[name], value)
        else:
            is_exact = type(value).__name__ in ("Decimal", "time", "date")
            said[name] = value if is_exact else stored[name]
    return said


def read_rules(text: str) -> list[RuleText]:
    """The rules of `text`; raises `BadText` with all that is wrong and where."""
    try:
        tables = read_toml(text)
    except NotToml as error:
        raise BadText([str(error)]) from None
    problems = [
        f"“{name}” is not known here; rules stand under [[rule]]." for name in tables if name != "rule"
    ]
    rules = tables.get("rule", [])
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise BadText(["Rules stand under [[rule]], each with two brackets."])
    if len(rules) > MOST_RULES:
        raise BadText([f"{MOST_RULES} rules at most."])
    lines = _lines(text, rules)
    found, keys = [], set()
    for number, table in enumerate(rules):
        reader = _Reader(table, lines[number], number)
        rule = reader.read()
        problems += reader.problems
        if rule is not None and rule.key in keys:
            problems.append(f"{rule.place}: another rule has the key “{rule.key}” already.")
        if rule is not None:
            keys.add(rule.key)
            found.append(rule)
    if problems:
        raise BadText(problems[:50])
    return found


def _lines(text: str, rules: list[dict[str, Any]]) -> list[int | None]:
    """The line where each rule begins, if that is plain to see."""
    found: list[int | None] = [
        line for first, second, line in headers(text) if (first, second) == ("rule", "")
    ]
    return found if len(found) == len(rules) else [None] * len(rules)


class _Reader:
    """One rule's table on its way to a definition; collects what is wrong."""

    def __init__(self, table: Mapping[str, Any], line: int | None, number: int) -> None:
        self.table, self.problems = table, list[str]()
        name = table.get("name")
        called = f"rule “{name[:60]}”" if isinstance(name, str) and name.strip() else f"rule {number + 1}"
        self.place = f"line {line}, {called}" if line else called

    def say(self, part: str, message: str) -> None:
        self.problems.append(f"{self.place}{f', {part}' if part else ''}: {message}")

    def read(self) -> RuleText | None:
        for key in self.table:
            if key not in KNOWN:
                self.say("", f"“{key}” is not known here. Known are {', '.join(KNOWN)}.")
        name = self._name()
        key = self.table.get("key", slug(name or ""))
        if not isinstance(key, str) or not SHAPE.fullmatch(key) or len(key) > LONGEST + 10:
            self.say("", "a key has small letters, digits and single hyphens: “won-kickoff”.")
        is_active = self.table.get("active", False)
        is_shadow = self.table.get("shadow", False)
        if not isinstance(is_active, bool):
            self.say("", "active is true or false.")
        if not isinstance(is_shadow, bool):
            self.say("", "shadow is true or false.")
        if is_active is True and is_shadow is True:
            self.say("", "a rule is active or in the shadow, not both.")
        on_failure = self.table.get("on_failure", "undo")
        if not isinstance(on_failure, str) or on_failure not in ON_FAILURE:
            self.say("", f"on_failure is one of {', '.join(ON_FAILURE)}.")
        trigger = self._trigger()
        record_type = trigger.record_type if trigger is not None else None
        fields = event_fields(record_type)
        tree = self._group("if", self.table["if"], fields) if "if" in self.table and trigger else Group()
        steps = self._steps(fields) if trigger is not None else []
        if self.problems or trigger is None or name is None or tree is None:
            return None
        definition = Definition(name, trigger, tuple(steps), on_failure, Conditions(tree, record_type))
        examples = self._examples(fields)
        state = "on" if is_active else "shadow" if is_shadow else "off"
        return RuleText(key, definition, state, examples, self.place)

    def _name(self) -> str | None:
        name = self.table.get("name")
        if not isinstance(name, str) or not name.strip() or len(name) > 120 or not name.isprintable():
            self.say("", "a rule has a name of 120 characters at most, in one line.")
            return None
        return name.strip()

    def _trigger(self) -> Any:
        when = self.table.get("when")
        if isinstance(when, str):
            when = {"trigger": when}
        kind = when.get("trigger") if isinstance(when, dict) else None
        cls = trigger_types().get(kind) if isinstance(kind, str) else None
        if cls is None:
            self.say("when", f"there is no trigger “{kind}”. There is {', '.join(trigger_types())}.")
            return None
        return self._piece("when", cls, when, "trigger", {})

    def _steps(self, fields: Mapping[str, Field]) -> list[Any]:
        steps = self.table.get("steps", [])
        if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
            self.say("", "a rule needs at least one step, under [[rule.steps]].")
            return []
        if len(steps) > MAX_STEPS:
            self.say("", f"a rule has at most {MAX_STEPS} steps.")
            return []
        found = []
        for number, table in enumerate(steps, start=1):
            kind = table.get("do")
            cls = action_types().get(kind) if isinstance(kind, str) else None
            if cls is None:
                self.say(
                    f"step {number}", f"there is no action “{kind}”. There is {', '.join(action_types())}."
                )
                continue
            settings = {key: value for key, value in table.items() if key not in MARKS}
            piece: Any = self._piece(f"step {number}", cls, settings, "do", fields)
            off, note = self._marks(f"step {number}", table)
            found.append(piece.marked(off, note) if piece is not None else None)
        return found

    def _marks(self, part: str, table: Mapping[str, Any]) -> tuple[bool, str]:
        """Whether a step is switched off, and its note."""
        off, note = table.get("off", False), table.get("note", "")
        if not isinstance(off, bool):
            self.say(part, "off is true or false.")
        if not isinstance(note, str) or len(note) > MOST_NOTE:
            self.say(part, f"a note is a text of {MOST_NOTE} characters at most.")
        return off is True, str(note)

    def _piece(
        self, part: str, cls: type[Piece], table: Any, head: str, fields: Mapping[str, Field]
    ) -> Piece | None:
        known, refers, values = cls.Settings.model_fields, cls.refers(), dict[str, Any]()
        groups = [name for name, info in known.items() if info.annotation is Group]
        joins = {key: value for key, value in table.items() if groups and key in ("all", "any", "none")}
        if joins:
            values[groups[0]] = self._group(part, joins, fields) or Group()
        for key, value in table.items():
            name = long(key, known)
            if key == head or key in joins:
                continue
            if name not in known or name in groups:
                offered = ", ".join(short(n, known) if n in refers else n for n in known if n not in groups)
                self.say(part, f"“{key}” is no setting of “{cls.label}”. Its settings: {offered or 'none'}.")
                continue
            try:
                values[name] = _ids(refers[name], value) if name in refers else value
            except Unnamed as error:
                self.say(f"{part}, {key}", str(error))
        try:
            return cls(cls.Settings.model_validate(values))
        except ValidationError as error:
            for problem in error.errors():
                at = short(str(problem["loc"][0]), known) if problem["loc"] else ""
                if not any(said.startswith(f"{self.place}, {part}, {at}:") for said in self.problems):
                    self.say(f"{part}, {at}" if at else part, problem["msg"])
            return None

    def _group(self, part: str, table: Any, fields: Mapping[str, Field]) -> Group | None:
        try:
            return read_group(table, fields)
        except (Unnamed, ValueError) as error:
            self.say(part, str(error))
            return None

    def _examples(self, fields: Mapping[str, Field]) -> list[dict[str, Any]]:
        examples = self.table.get("examples", [])
        if not isinstance(examples, list) or not all(isinstance(one, dict) for one in examples):
            self.say("", "examples stand under [[rule.examples]].")
            return []
        if len(examples) > MOST_EXAMPLES:
            self.say("", f"a rule has at most {MOST_EXAMPLES} examples.")
            return []
        found = []
        for number, table in enumerate(examples, start=1):
            try:
                found.append(read_example(table, fields))
            except (Unnamed, ValueError) as error:
                self.say(f"example {number}", str(error))
        return found


def _ids(kind: str, value: Any) -> Any:
    return [id_of(kind, one) for one in value] if isinstance(value, list) else id_of(kind, value)


def text_of(rule: Automation, definition: Definition) -> RuleText:
    """A stored rule as it stands in a text."""
    return RuleText(rule.key or slug(rule.name), definition, rule.state, list(rule.examples or ()))

"""What a rule does, as one value: read from its stored text, written to it, and said as a sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from soconnective.automation.conditions import Conditions
from soconnective.automation.contracts import Action, Scope, Trigger, Verdict
from soconnective.automation.flow import asleep, flow_of
from soconnective.automation.registry import load_action, load_trigger
from soconnective.core.conditions import Group
from soconnective.events import DomainEvent

OFF = "switched off: "
NO_CONDITIONS = Conditions(Group(), None)


@dataclass(frozen=True, slots=True)
class Definition:
    """A trigger, its conditions and the actions in order; pieces that cannot be read any more are Broken twins."""

    name: str
    trigger: Trigger
    steps: tuple[Action, ...]
    on_failure: str = "undo"
    conditions: Conditions = NO_CONDITIONS

    @property
    def scope(self) -> Scope:
        return scope_of(self.trigger)

    @property
    def broken(self) -> str | None:
        """The first message of a piece that cannot work, else None."""
        off = asleep(self.steps)
        steps = (step.broken for index, step in enumerate(self.steps) if index not in off)
        parts = (self.trigger.broken, self.conditions.broken, *steps)
        return next((message for message in parts if message), None)

    def match(self, event: DomainEvent) -> Verdict:
        """Whether the rule is to run for `event`: the trigger's own settings first, then the conditions.

        An event of another name is addressed to the rule: the settings of its trigger do not speak of it.
        """
        is_own = event.name == self.trigger.type_id or self.trigger.broken
        verdict = self.trigger.match(event) if is_own else Verdict(True)
        if not verdict.matched or not (self.conditions.tree.items or self.conditions.message):
            return verdict
        asked = self.conditions.match(event)
        return Verdict(asked.matched, (*verdict.checks, *asked.checks), asked.why)

    def to_text(self) -> str:
        """Canonical JSON: equal definitions have equal texts."""
        return json.dumps(
            {
                "name": self.name,
                "trigger": self.trigger.type_id,
                "trigger_settings": self.trigger.stored(),
                "on_failure": self.on_failure,
                "steps": [
                    {"kind": step.type_id, "settings": step.stored(), **step.marks} for step in self.steps
                ],
                **({"conditions": asked} if (asked := self.conditions.stored()) else {}),
            },
            ensure_ascii=False,
            sort_keys=True,
            separators=(",", ":"),
        )

    def problems(self) -> list[tuple[str, str, str]]:
        """What does not make sense here and now, as (path, field, message); path is "trigger", "if" or the step's index."""
        found = [("trigger", field, message) for field, message in self.trigger.check(self.scope)]
        if not self.trigger.broken:
            found += [("if", path, message) for path, message in self.conditions.problems()]
        off = asleep(self.steps)
        for index, step in enumerate(self.steps):
            if index in off:
                continue
            found += [(str(index), field, message) for field, message in step.check(self.scope)]
        found += [(str(index), "", message) for index, message in flow_of(self.steps).problems]
        return found

    def sentence(self) -> str:
        return sentence(self.trigger, self.steps, self.conditions.describe(), self.on_failure)


def scope_of(trigger: Trigger | type[Trigger] | None) -> Scope:
    """Where the pieces of a rule with this trigger stand."""
    if trigger is None:
        return Scope(None)
    return Scope(trigger.record_type or None, trigger.type_id.endswith(".deleted"))


def sentence(trigger: Trigger, steps: Sequence[Action], condition: str = "", on_failure: str = "undo") -> str:
    """The rule as one plain sentence: "When a deal is won, if amount is at least 1000 → create task “Call”"."""
    doing = say_steps(steps, scope_of(trigger)) or "do nothing"
    kept = "; if a step fails, keep what succeeded" if on_failure == "keep" else ""
    return f"When {trigger.describe()}{f', if {condition}' if condition else ''} → {doing}{kept}"


def say_steps(steps: Sequence[Action], scope: Scope) -> str:
    """The steps in words, what stands in a branch in brackets: "if amount is empty (log note “x”) otherwise (stop)"."""
    said, is_first = "", True
    for step in steps:
        kind = step.type_id
        words = f"{OFF}{step.say(scope)}" if step.is_off else step.say(scope)
        if kind in ("otherwise_if", "otherwise", "end_if"):
            said += ")" if kind == "end_if" else f") {words} ("
        else:
            said += ("" if is_first else ", ") + words + (" (" if kind == "if" else "")
        is_first = kind in ("if", "otherwise_if", "otherwise")
    return said


@lru_cache(maxsize=4096)
def parse(text: str) -> Definition:
    """The definition in `text`, as `to_text` wrote it. Cached by content, so a rule is read once."""
    stored: dict[str, Any] = json.loads(text)
    return build(
        stored["name"],
        stored["trigger"],
        stored["trigger_settings"],
        [(step["kind"], step["settings"], step) for step in stored["steps"]],
        stored["on_failure"],
        stored.get("conditions"),
    )


def build(
    name: str,
    trigger: str,
    trigger_settings: dict[str, Any],
    steps: Sequence[tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], Mapping[str, Any]]],
    on_failure: str = "undo",
    conditions: Any = None,
) -> Definition:
    """A definition from stored pieces; what cannot be read becomes a Broken twin.

    A step is its kind, its settings and, if it has any, its marks: ``{"off": True, "note": "..."}``.
    """
    found = load_trigger(trigger, trigger_settings)
    return Definition(
        name,
        found,
        tuple(_step(*step) for step in steps),
        on_failure,
        Conditions.load(conditions, found.record_type or None),
    )


def _step(kind: str, settings: dict[str, Any], marks: Mapping[str, Any] | None = None) -> Action:
    action = load_action(kind, settings)
    if marks and (marks.get("off") or marks.get("note")):
        return action.marked(bool(marks.get("off")), str(marks.get("note") or ""))
    return action

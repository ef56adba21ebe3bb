"""What a rule does, as one value: read from its stored text, written to it, and said as a sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from soconnective.automation.contracts import Action, Scope, Trigger
from soconnective.automation.registry import load_action, load_trigger


@dataclass(frozen=True, slots=True)
class Definition:
    """A trigger and the actions in order; pieces that cannot be read any more are Broken twins."""

    name: str
    trigger: Trigger
    steps: tuple[Action, ...]
    on_failure: str = "undo"

    @property
    def scope(self) -> Scope:
        return Scope(self.trigger.record_type or None)

    @property
    def broken(self) -> str | None:
        """The first message of a piece that cannot work, else None."""
        return next((piece.broken for piece in (self.trigger, *self.steps) if piece.broken), None)

    def to_text(self) -> str:
        """Canonical JSON: equal definitions have equal texts."""
        return json.dumps(
            {
                "name": self.name,
                "trigger": self.trigger.type_id,
                "trigger_settings": self.trigger.stored(),
                "on_failure": self.on_failure,
                "steps": [{"kind": step.type_id, "settings": step.stored()} for step in self.steps],
            },
            ensure_ascii=False,
            sort_keys=True,
            separators=(",", ":"),
        )

    def problems(self) -> list[tuple[str, str, str]]:
        """What does not make sense here and now, as (path, field, message); path is "trigger" or the step's index."""
        found = [("trigger", field, message) for field, message in self.trigger.check(self.scope)]
        for index, step in enumerate(self.steps):
            found += [(str(index), field, message) for field, message in step.check(self.scope)]
        return found

    def sentence(self) -> str:
        return sentence(self.trigger, self.steps)


def sentence(trigger: Trigger, steps: Sequence[Action]) -> str:
    """The rule as one plain sentence: "When a deal is won → create task “Call”, log note “Hello”"."""
    doing = ", ".join(step.describe() for step in steps) or "do nothing"
    return f"When {trigger.describe()} → {doing}"


@lru_cache(maxsize=4096)
def parse(text: str) -> Definition:
    """The definition in `text`, as `to_text` wrote it. Cached by content, so a rule is read once."""
    stored: dict[str, Any] = json.loads(text)
    return build(
        stored["name"],
        stored["trigger"],
        stored["trigger_settings"],
        [(step["kind"], step["settings"]) for step in stored["steps"]],
        stored["on_failure"],
    )


def build(
    name: str,
    trigger: str,
    trigger_settings: dict[str, Any],
    steps: Sequence[tuple[str, dict[str, Any]]],
    on_failure: str = "undo",
) -> Definition:
    """A definition from stored pieces; what cannot be read becomes a Broken twin."""
    return Definition(
        name,
        load_trigger(trigger, trigger_settings),
        tuple(load_action(kind, settings) for kind, settings in steps),
        on_failure,
    )

"""Branches and ends: steps that steer. A rule's steps are one flat list in which *if* … *end of if* enclose others.

A flat list because everything then has one number: a step in the form, its place in the trace, and the
place where a waiting run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import Field

from soconnective.automation.conditions import Conditions
from soconnective.automation.contracts import Action, RunContext, Scope, Settings, StepResult, Verdict
from soconnective.automation.registry import register_action
from soconnective.core.conditions import Group, normal

DEEPEST = 5


class Control(Action):
    """A step that steers instead of doing: the walk over the steps knows each of them."""

    group = "Flow"
    only_adds = True

    def run(self, context: RunContext) -> StepResult:
        raise TypeError(f"{type(self).__name__} steers and is not run")


class IfSettings(Settings):
    """conditions: a tree that is asked of the record as it is when the step is reached."""

    conditions: Group = Field(default_factory=Group)


class If(Control):
    type_id = "if"
    label = "If …"
    icon = "git-branch"
    Settings = IfSettings
    has_conditions: ClassVar[bool] = True
    word: ClassVar[str] = "if"

    def asked(self, record_type: str | None) -> Conditions:
        return Conditions(self.settings.conditions, record_type)

    def match(self, context: RunContext) -> Verdict:
        return self.asked(context.event.record_type).match(context.event)

    def stored(self) -> dict[str, Any]:
        return {"conditions": normal(self.settings.conditions).model_dump(mode="json", exclude_none=True)}

    def say(self, scope: Scope) -> str:
        return f"{self.word} {self.asked(scope.record_type).describe() or '…'}"

    def describe(self) -> str:
        return self.say(Scope(None))

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        if not self.settings.conditions.items:
            return [("if", "Add a condition, or take this step away.")]
        return [(f"if-{path}", message) for path, message in self.asked(scope.record_type).problems()]


class OtherwiseIf(If):
    type_id = "otherwise_if"
    label = "Otherwise if …"
    word = "otherwise if"


class Otherwise(Control):
    type_id = "otherwise"
    label = "Otherwise"
    icon = "git-branch"

    def describe(self) -> str:
        return "otherwise"


class EndIf(Control):
    type_id = "end_if"
    label = "End of the if"
    icon = "git-branch"

    def describe(self) -> str:
        return "end of the if"


class Stop(Control):
    type_id = "stop"
    label = "Stop here"
    icon = "player-stop"

    def describe(self) -> str:
        return "stop"


@dataclass(frozen=True)
class Flow:
    """Where each marker leads: `no` to the next one of its if, `end` behind the whole of it.

    `problems` are (index, message) of what does not fit together; `depths` how deep each step stands.
    """

    no: dict[int, int]
    end: dict[int, int]
    depths: tuple[int, ...]
    problems: tuple[tuple[int, str], ...]


def flow_of(steps: Sequence[Any]) -> Flow:
    """The flow of `steps`, which may be pieces or their kinds."""
    return _flow(tuple(step if isinstance(step, str) else step.type_id for step in steps))


@lru_cache(maxsize=1024)
def _flow(kinds: tuple[str, ...]) -> Flow:
    no: dict[int, int] = {}
    end: dict[int, int] = {}
    depths: list[int] = []
    problems: list[tuple[int, str]] = []
    opened: list[list[int]] = []  # the markers of each if that is not closed yet
    for index, kind in enumerate(kinds):
        is_marker = kind in ("otherwise_if", "otherwise", "end_if")
        if is_marker and not opened:
            problems.append((index, "There is no “if” before this step that it belongs to."))
        elif is_marker:
            markers = opened[-1]
            if kinds[markers[-1]] == "otherwise" and kind != "end_if":
                problems.append((index, "After “otherwise” the if can only end."))
            no[markers[-1]] = index
            markers.append(index)
            if kind == "end_if":
                end.update(dict.fromkeys(markers, index))
                opened.pop()
        depths.append(max(len(opened) - (is_marker and kind != "end_if"), 0))
        if kind == "if":
            opened.append([index])
            if len(opened) > DEEPEST:
                problems.append((index, f"Ifs can stand {DEEPEST} deep at most."))
    problems += [(markers[0], "This “if” has no end.") for markers in opened]
    return Flow(no, end, tuple(depths), tuple(problems))


def asleep(steps: Sequence[Action]) -> frozenset[int]:
    """The steps that never run: those switched off, and what stands in a branch or an if that is."""
    if not any(step.is_off for step in steps):
        return frozenset()
    flow = flow_of(steps)
    found: set[int] = set()
    for index, step in enumerate(steps):
        if step.is_off:
            found.update(range(index, behind(steps, index, flow)))
    return frozenset(found)


def behind(steps: Sequence[Action], index: int, flow: Flow) -> int:
    """Where the run goes on after a step that is switched off: behind an if as a whole, at the next branch."""
    kind = steps[index].type_id
    if kind == "if" and index in flow.end:
        return flow.end[index] + 1
    return flow.no.get(index, index + 1) if kind in ("otherwise_if", "otherwise") else index + 1


def block_of(kinds: Sequence[str], index: int) -> set[int]:
    """What goes when the step at `index` is taken away: with an if its markers, but not the steps between them."""
    flow = flow_of(kinds)
    if kinds[index] != "if" or index not in flow.end:
        return {index}
    return {index, *(i for i, end in flow.end.items() if end == flow.end[index] and i > index)}


def branch_place(kinds: Sequence[str], index: int, kind: str) -> int:
    """Where another branch of the if at `index` goes: *otherwise* last, *otherwise if* before it."""
    flow = flow_of(kinds)
    if index >= len(kinds) or kinds[index] != "if" or index not in flow.end:
        return min(index + 1, len(kinds))
    last = index
    while kinds[flow.no[last]] == "otherwise_if":
        last = flow.no[last]
    return flow.end[index] if kind == "otherwise" else flow.no[last]


register_action(If, OtherwiseIf, Otherwise, EndIf, Stop)

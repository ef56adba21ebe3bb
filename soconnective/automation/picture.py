"""The rule as a picture: where each of its parts stands, and what a run made of it. Numbers and words only.

Top down: when, only if, then the steps; the branches of an if stand side by side and join again below it.
With the trace of a run, each node has its outcome, and the lines that the run went along are marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from soconnective.automation.contracts import Scope
from soconnective.automation.flow import Flow, asleep, flow_of
from soconnective.automation.wrapping import wrapped

WIDTH, LINE, HEAD, PAD = 224, 17, 26, 11
BETWEEN, BESIDE, BUS, MARGIN = 26, 18, 16, 12
ALONE = 96  # the width of a branch in which nothing happens
BRANCHES = ("if", "otherwise_if", "otherwise")
WORDS = {
    "succeeded": "done", "failed": "failed", "undone": "undone", "off": "off", "waiting": "waiting",
    "cancelled": "cancelled", "yes": "yes", "no": "no", "unreached": "not reached",
}  # fmt: skip
GOES_ON = ("succeeded", "undone", "off", "yes")


@dataclass(frozen=True)
class Node:
    """A box. `key` is "when", "if", or the step's number; `outcome` is empty where no run is shown."""

    key: str
    kind: str
    icon: str
    caption: str
    text: str
    lines: tuple[str, ...]
    x: float
    y: float
    height: float
    note: str = ""
    is_off: bool = False
    outcome: str = ""
    href: str = ""

    width = WIDTH

    @property
    def outcome_word(self) -> str:
        return "" if self.outcome == "unreached" else WORDS.get(self.outcome, self.outcome)

    @property
    def said(self) -> str:
        """The whole node in words, for those who hear it."""
        parts = [f"{self.caption}: {self.text}"]
        if self.is_off and self.outcome != "off":
            parts.append("switched off")
        if self.outcome:
            parts.append(WORDS.get(self.outcome, self.outcome))
        if self.note:
            parts.append(f"note: {self.note}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Line:
    path: str
    is_taken: bool = False


@dataclass
class Picture:
    width: float = 0
    height: float = 0
    nodes: list[Node] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    labels: list[tuple[float, float, str]] = field(default_factory=list)
    end: tuple[float, float, bool] = (
        0,
        0,
        False,
    )  # where the rule is through, and whether the run came there
    shows_run: bool = False


@dataclass(frozen=True)
class Told:
    """What a run said: its outcome, its checks, and its steps by their number."""

    outcome: str
    checks: Sequence[Mapping[str, Any]]
    steps: Mapping[str, Mapping[str, Any]]
    keeps: bool = False

    @classmethod
    def of(cls, outcome: str, trace: Mapping[str, Any], keeps: bool) -> Told:
        return cls(outcome, trace.get("checks", ()), {s["path"]: s for s in trace.get("steps", ())}, keeps)


@dataclass(frozen=True)
class _Fork:
    """An if with its branches: the step that opens each, and what stands in it."""

    branches: tuple[tuple[int, tuple[int | _Fork, ...]], ...]


def draw(
    trigger: Any,
    condition: str,
    steps: Sequence[Any],
    scope: Scope,
    told: Told | None = None,
    href: Callable[[str], str] = lambda _key: "",
) -> Picture:
    """The picture of a rule; its pieces need `say`, `type_id` and `icon` only, so one in the making can be drawn."""
    return _Drawing(steps, scope, told, href).whole(trigger, condition)


class _Drawing:
    def __init__(
        self, steps: Sequence[Any], scope: Scope, told: Told | None, href: Callable[[str], str]
    ) -> None:
        self.steps, self.scope, self.told, self.href = steps, scope, told, href
        self.off = asleep(steps)
        self.words = [step.say(scope) for step in steps]
        self.wrapped = [wrapped(_short(step, said)) for step, said in zip(steps, self.words, strict=True)]
        self.picture = Picture(shows_run=told is not None)

    def whole(self, trigger: Any, condition: str) -> Picture:
        items = _tree([step.type_id for step in self.steps], flow_of(self.steps))
        width = max(WIDTH, self._width(items))
        middle = MARGIN + width / 2
        when, asked = self._verdicts(bool(condition))
        y = self._box("when", "trigger", trigger.icon, "When", trigger.say(self.scope), middle, MARGIN, when)
        goes = when in ("", "yes")
        if condition:
            y = self._down(middle, y, goes)
            outcome = asked if goes else "unreached"
            y = self._box("if", "condition", "filter", "Only if", condition, middle, y, outcome)
            goes = goes and asked in ("", "yes")
        y, goes, is_open = self._sequence(items, middle, y, goes)
        if is_open:
            y = self._down(middle, y, goes)
            goes = goes and self._is_through
            self.picture.end = (middle, y + 5, goes)
        self.picture.width, self.picture.height = width + 2 * MARGIN, y + 10 + MARGIN
        return self.picture

    @property
    def _is_through(self) -> bool:
        return self.told is not None and self.told.outcome in ("succeeded", "partly_succeeded", "shadowed")

    def _verdicts(self, has_condition: bool) -> tuple[str, str]:
        """What the trigger and the conditions said."""
        if self.told is None:
            return "", ""
        own = [check for check in self.told.checks if not str(check["path"]).startswith("if-")]
        if any(not check["passed"] for check in own):
            return "no", "unreached"
        if self.told.outcome == "not_matched":
            return ("yes", "no") if has_condition else ("no", "")
        if self.told.outcome == "failed" and not self.told.steps:
            return ("yes", "failed") if has_condition else ("failed", "")
        return "yes", "yes"

    def _width(self, items: Sequence[int | _Fork]) -> float:
        return max((self._wide(item) for item in items), default=0)

    def _wide(self, item: int | _Fork) -> float:
        if isinstance(item, int):
            return WIDTH
        columns = [max(WIDTH, self._width(body)) for _head, body in item.branches]
        if not self._has_otherwise(item):
            columns.append(ALONE)
        return sum(columns) + BESIDE * (len(columns) - 1)

    def _has_otherwise(self, fork: _Fork) -> bool:
        return bool(self.steps[fork.branches[-1][0]].type_id == "otherwise")

    def _sequence(
        self, items: Sequence[int | _Fork], middle: float, y: float, goes: bool
    ) -> tuple[float, bool, bool]:
        """Draw `items` below `y`: where they end, whether the run left them there, whether anything can."""
        is_open = True
        for item in items:
            if isinstance(item, _Fork):
                y, goes, is_open = self._fork(item, middle, y, goes and is_open)
                continue
            outcome = self._outcome(item, goes)
            if is_open:
                y = self._down(middle, y, goes and outcome != "unreached")
            else:
                y += BETWEEN
            y = self._step(item, middle, y, outcome)
            step = self.steps[item]
            goes = goes and (outcome in GOES_ON or (outcome == "failed" and self._keeps))
            if step.type_id == "stop" and item not in self.off:
                goes = is_open = False
        return y, goes, is_open

    @property
    def _keeps(self) -> bool:
        return self.told is not None and self.told.keeps

    def _fork(self, fork: _Fork, middle: float, y: float, goes: bool) -> tuple[float, bool, bool]:
        """An if: a line across, a column for each branch, and a line across below."""
        columns = [max(WIDTH, self._width(body)) for _head, body in fork.branches]
        bodies: list[tuple[int | None, Sequence[int | _Fork]]] = list(fork.branches)
        if not self._has_otherwise(fork):
            columns.append(ALONE)
            bodies.append((None, ()))
        left = middle - (sum(columns) + BESIDE * (len(columns) - 1)) / 2
        top, ends, came_out = y, [], False
        is_skipped = goes and self._outcome(fork.branches[0][0], True) == "off"
        asks = goes  # the run has found no branch yet
        for (head, body), column in zip(bodies, columns, strict=True):
            x = left + column / 2
            left += column + BESIDE
            outcome = self._verdict(head, asks)
            goes_in = asks or is_skipped if head is None else asks and outcome in ("yes", "failed")
            self._line(f"M{middle:g} {top:g}v{BUS}H{x:g}v{BUS}", goes_in)
            below = top + 2 * BUS
            if head is None:
                self.picture.labels.append((x, below + 14, "otherwise"))
                self._line(f"M{x:g} {below + 20:g}v6", asks or is_skipped)
                ends.append((x, below + 26, asks or is_skipped, True))
                came_out = came_out or asks or is_skipped
                continue
            bottom = self._step(head, x, below, outcome)
            taken = asks and outcome == "yes"
            asks = asks and outcome in ("no", "off") and not is_skipped
            bottom, left_it, is_open = self._sequence(body, x, bottom, taken)
            ends.append((x, bottom, left_it, is_open))
            came_out = came_out or left_it
        lowest = max(bottom for _x, bottom, _came, _open in ends) + BUS
        for x, bottom, left_it, is_open in ends:
            if is_open:
                self._line(f"M{x:g} {bottom:g}V{lowest:g}H{middle:g}", left_it)
        if self._has_otherwise(fork):
            came_out = came_out or is_skipped
        return lowest, came_out, any(is_open for _x, _bottom, _came, is_open in ends)

    def _verdict(self, head: int | None, asks: bool) -> str:
        """What a branch said: yes, no, off, or not reached; an *otherwise* that is asked says yes."""
        if self.told is None or head is None:
            return ""
        if not asks:
            return "unreached"
        outcome = self._outcome(head, asks)
        if self.steps[head].type_id == "otherwise":
            return "off" if outcome == "off" else "yes"
        if outcome in ("unreached", "failed", "off"):
            return outcome
        return "yes" if self.told.steps[str(head + 1)].get("text") == "yes" else "no"

    def _outcome(self, index: int, goes: bool) -> str:
        if self.told is None:
            return ""
        step = self.told.steps.get(str(index + 1))
        return str(step["outcome"]) if step is not None and goes else "unreached"

    def _step(self, index: int, middle: float, y: float, outcome: str) -> float:
        step = self.steps[index]
        kind = "branch" if step.type_id in BRANCHES else "wait" if step.type_id == "wait" else "step"
        caption = f"Step {index + 1}"
        said = self.words[index][:1].upper() + self.words[index][1:]
        return self._place(
            str(index + 1), kind, step.icon, caption, said, self.wrapped[index], middle, y, outcome,
            note=step.note, is_off=index in self.off,
        )  # fmt: skip

    def _box(
        self, key: str, kind: str, icon: str, caption: str, said: str, middle: float, y: float, outcome: str
    ) -> float:
        text = said[:1].upper() + said[1:]
        return self._place(key, kind, icon, caption, text, wrapped(text), middle, y, outcome)

    def _place(
        self,
        key: str,
        kind: str,
        icon: str,
        caption: str,
        text: str,
        lines: tuple[str, ...],
        middle: float,
        y: float,
        outcome: str,
        note: str = "",
        is_off: bool = False,
    ) -> float:
        """Put a box under `middle` at `y`; returns where it ends."""
        height = HEAD + LINE * len(lines) + PAD
        href = "" if outcome == "unreached" else self.href(key)
        self.picture.nodes.append(
            Node(
                key,
                kind,
                icon,
                caption,
                text,
                lines,
                middle - WIDTH / 2,
                y,
                height,
                note,
                is_off,
                outcome,
                href,
            )
        )
        return y + height

    def _down(self, x: float, y: float, is_taken: bool) -> float:
        self._line(f"M{x:g} {y:g}v{BETWEEN}", is_taken)
        return y + BETWEEN

    def _line(self, path: str, is_taken: bool) -> None:
        self.picture.lines.append(Line(path, is_taken and self.told is not None))


def _short(step: Any, said: str) -> str:
    return f"{said[:1].upper()}{said[1:]}"


def _tree(kinds: Sequence[str], flow: Flow) -> tuple[int | _Fork, ...]:
    """The flat list as sequences and forks; one that does not fit together stays a plain list."""
    if flow.problems:
        return tuple(range(len(kinds)))

    def between(index: int, until: int) -> tuple[int | _Fork, ...]:
        found: list[int | _Fork] = []
        while index < until:
            if kinds[index] != "if":
                found.append(index)
                index += 1
                continue
            branches, head, end = [], index, flow.end[index]
            while head != end:
                branches.append((head, between(head + 1, flow.no[head])))
                head = flow.no[head]
            found.append(_Fork(tuple(branches)))
            index = end + 1
        return tuple(found)

    return between(0, len(kinds))


def anchor(key: str) -> str:
    """The name of the row in the builder that a node stands for."""
    return {"when": "when", "if": "conditions"}.get(key, f"step-{key}")

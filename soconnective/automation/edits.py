"""What the builder's buttons do to the rows, as plain functions of lists; a row is its kind and what was posted.

An *if* goes with everything up to its end when it is moved or doubled; taken away, its steps stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from werkzeug.datastructures import MultiDict

from soconnective.automation.flow import block_of, branch_place, flow_of

Row = tuple[str, MultiDict[str, str]]


def kinds_of(rows: Sequence[Row]) -> list[str]:
    return [kind for kind, _posted in rows]


def whole(rows: Sequence[Row], index: int) -> range:
    """The step at `index` with all that belongs to it."""
    end = flow_of(kinds_of(rows)).end
    is_if = rows[index][0] == "if" and index in end
    return range(index, end[index] + 1 if is_if else index + 1)


def added(rows: Sequence[Row], kind: str, at: int) -> tuple[list[Row], int]:
    """With a fresh step of `kind`; an if brings its end along. Returns where it stands now."""
    if kind in ("otherwise", "otherwise_if"):
        at = branch_place(kinds_of(rows), at, kind)
    asks = kind in ("if", "otherwise_if")
    fresh: MultiDict[str, str] = MultiDict({"if-0-0-field": ""}) if asks else MultiDict()
    end: list[Row] = [("end_if", MultiDict())] if kind == "if" else []
    return [*rows[:at], (kind, fresh), *end, *rows[at:]], at


def removed(rows: Sequence[Row], index: int) -> list[Row]:
    gone = block_of(kinds_of(rows), index)
    return [row for place, row in enumerate(rows) if place not in gone]


def moved(rows: Sequence[Row], index: int, step: int) -> tuple[list[Row], int]:
    """One place up (-1) or down (1): into and out of branches, row by row. Returns where it stands now."""
    mine = whole(rows, index)
    other = mine.start - 1 if step < 0 else mine.stop
    if not 0 <= other < len(rows):
        return list(rows), index
    block, rest = list(rows[mine.start : mine.stop]), [*rows[: mine.start], *rows[mine.stop :]]
    at = index + step
    return [*rest[:at], *block, *rest[at:]], at


def doubled(rows: Sequence[Row], index: int) -> tuple[list[Row], int]:
    """With a copy right behind; returns where the copy stands."""
    mine = whole(rows, index)
    copies = [(kind, posted.copy()) for kind, posted in rows[mine.start : mine.stop]]
    return [*rows[: mine.stop], *copies, *rows[mine.stop :]], mine.stop


def switched(rows: Sequence[Row], index: int) -> list[Row]:
    """Off, or on again."""
    kind, posted = rows[index]
    posted = posted.copy()
    if posted.poplist("is_off") in ([], [""]):
        posted["is_off"] = "y"
    return [*rows[:index], (kind, posted), *rows[index + 1 :]]


def noted(rows: Sequence[Row], index: int) -> list[Row]:
    """With room for a note."""
    kind, posted = rows[index]
    posted = posted.copy()
    posted.setdefault("step_note", "")
    return [*rows[:index], (kind, posted), *rows[index + 1 :]]

"""Text in lines for a picture, where nothing wraps by itself: measured by what letters take up on the whole."""

from __future__ import annotations

import unicodedata

ROOM, MOST_LINES = 26.0, 5
NARROW = frozenset("iljtfrI.,;:!|'’‘“”()[] ")
BROAD = frozenset("MWmw@%—…")


def wide(text: str) -> float:
    """About how many average letters `text` takes up."""
    return sum(_letter(char) for char in text)


def _letter(char: str) -> float:
    if char in NARROW:
        return 0.6
    if char in BROAD or unicodedata.east_asian_width(char) in "WF":
        return 1.7
    return 1.25 if char.isupper() else 1.0


def wrapped(text: str) -> tuple[str, ...]:
    """`text` in at most five lines; what is beyond ends in an ellipsis, and a long word is cut."""
    lines: list[str] = [""]
    for word in text.split():
        for part in _parts(word):
            joined = f"{lines[-1]} {part}" if lines[-1] else part
            if wide(joined) <= ROOM:
                lines[-1] = joined
            else:
                lines.append(part)
        if len(lines) > MOST_LINES:
            break
    found = [line for line in lines if line] or ["…"]
    if len(found) > MOST_LINES:
        found = [*found[: MOST_LINES - 1], f"{found[MOST_LINES - 1]} …"]
    return tuple(found)


def _parts(word: str) -> list[str]:
    """A word that no line can hold, in pieces."""
    found, start, room = [], 0, 0.0
    for index, char in enumerate(word):
        room += _letter(char)
        if room > ROOM:
            found.append(word[start:index])
            start, room = index, _letter(char)
    return [*found, word[start:]]

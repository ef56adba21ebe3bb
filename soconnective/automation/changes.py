"""What changed from one version of a rule to another, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from soconnective.automation.definition import parse
from soconnective.automation.models import AutomationVersion

Parts = list[tuple[str, str]]  # ("same" | "del" | "ins", text)
TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
LONGEST = 20_000


@dataclass(frozen=True)
class Change:
    label: str
    parts: Parts

    @property
    def short(self) -> Parts:
        return elided(self.parts)


@dataclass(frozen=True)
class Listed:
    """A version with what it changed; the first one has nothing before it."""

    version: AutomationVersion
    changes: list[Change] | None


def word_diff(old: str, new: str) -> Parts:
    """The two texts as one: what stayed, what went (del) and what came (ins), word by word."""
    if len(old) + len(new) > LONGEST:  # not worth the time: each as a whole
        return [("del", old), ("ins", new)] if old != new else [("same", old)]
    before, after = TOKEN.findall(old), TOKEN.findall(new)
    found: Parts = []
    for what, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if what == "equal":
            found.append(("same", "".join(before[a:b])))
            continue
        if a != b:
            found.append(("del", "".join(before[a:b])))
        if c != d:
            found.append(("ins", "".join(after[c:d])))
    return _without_islands(found)


def _without_islands(parts: Parts) -> Parts:
    """A lone space between two changes belongs to them: else every word of a new clause is marked by itself."""
    found: Parts = []
    gone, came = "", ""
    for index, (kind, text) in enumerate(parts):
        is_island = kind == "same" and not text.strip() and (gone or came) and index + 1 < len(parts)
        if kind == "del" or is_island:
            gone += text
        if kind == "ins" or is_island:
            came += text
        if kind == "same" and not is_island:
            found += _marked(gone, came)
            gone, came = "", ""
            found.append((kind, text))
    return found + _marked(gone, came)


def _marked(gone: str, came: str) -> Parts:
    return [*([("del", gone)] if gone else []), *([("ins", came)] if came else [])]


def elided(parts: Parts, most: int = 36) -> Parts:
    """The same with long stretches that stayed cut short, for narrow places."""
    last = len(parts) - 1
    found: Parts = []
    for index, (kind, text) in enumerate(parts):
        is_long = kind == "same" and len(text) > 2 * most + 3 and last > 0
        start, end = "" if index == 0 else text[:most], "" if index == last else text[-most:]
        found.append((kind, f"{start} … {end}" if is_long else text))
    return found


def changes_between(old: AutomationVersion, new: AutomationVersion) -> list[Change]:
    """The sentence, the name and the notes, each if it differs; empty for two that are the same."""
    a, b = parse(old.definition), parse(new.definition)
    found = []
    for label, before, after in (
        ("Does", old.sentence, new.sentence),
        ("Name", a.name, b.name),
        ("Notes", _notes(a.steps), _notes(b.steps)),
    ):
        if before != after:
            found.append(Change(label, word_diff(before, after)))
    if not found and old.definition != new.definition:
        found.append(Change("Does", [("same", new.sentence)]))
    return found


def _notes(steps: Sequence[object]) -> str:
    notes = [(number, getattr(step, "note", "")) for number, step in enumerate(steps, start=1)]
    return "; ".join(f"step {number}: {note}" for number, note in notes if note)


def told(versions: Sequence[AutomationVersion]) -> list[Listed]:
    """`versions`, newest first, each with what it changed; the last one of a list that goes on has nothing to compare."""
    return [
        Listed(version, changes_between(versions[index + 1], version) if index + 1 < len(versions) else None)
        for index, version in enumerate(versions)
    ]

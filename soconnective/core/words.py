"""Texts of people inside our own sentences: quoted so that two different texts never read the same."""

from __future__ import annotations

from hashlib import sha256

LONGEST = 160


def quoted(text: str) -> str:
    """“text”; a closing quote inside is doubled, and a new line is shown as a sign."""
    found = text.replace("”", "””").replace("⏎", "⏎⏎")
    for line in ("\r\n", "\r", "\n"):
        found = found.replace(line, " ⏎ ")
    return f"“{found}”"


def told(text: str, longest: int = LONGEST) -> str:
    """The same for what may be long: its beginning, and a mark that is another one for another text."""
    if len(text) <= longest:
        return quoted(text)
    return f"{quoted(f'{text[:60].rstrip()}…')} {marked(text)}"


def marked(text: str) -> str:
    """How long a text is, and a mark that is another one for another text: for what people do not read as it is."""
    mark = sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return f"({len(text):,} letters, {mark})"

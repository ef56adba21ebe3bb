"""The text part of a mail of which only the HTML was written: what a person would type in its place."""

from __future__ import annotations

import re

from soconnective.mail.markup import Tag, Words, tokens

_APART = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre"}
_ALONE = {"div", "li", "tr", "center", "caption", "thead", "tbody", "tfoot"}


class _Page:
    """Lines as they come about. `lists`: per open list the number of its next item, None for bullets."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.line = ""
        self.marker = ""
        self.apart: int | None = None  # an empty line is due, within so many quotes
        self.lists: list[int | None] = []
        self.quotes = self.fixed = self.items = 0
        self.links: list[tuple[str, int, int]] = []  # where each open one leads, and where its words begin

    def write(self, text: str) -> None:
        if self.fixed:
            first, *rest = text.split("\n")
            self.line += first
            for one in rest:
                self.end_line(is_kept=True)
                self.line = one
            return
        flat = re.sub(r"[ \t\r\n\f]+", " ", text)
        self.line += flat.lstrip(" ") if not self.line or self.line.endswith(" ") else flat

    def end_line(self, is_kept: bool = False) -> None:
        text = self.line if self.fixed else self.line.strip()
        self.line = ""
        if not (text or is_kept):
            return
        indent = "  " * max(0, self.items - 1)
        lead = f"{indent}{self.marker}" if self.marker else "  " * self.items
        self.marker = ""
        if self.apart is not None and self.lines:
            self.lines.append(("> " * min(self.apart, self.quotes)).rstrip())
        self.apart = None
        self.lines.append(f"{'> ' * self.quotes}{lead}{text}".rstrip())

    def gap(self) -> None:
        """An empty line before the next one; it is quoted only if both sides are."""
        self.end_line()
        self.apart = min(self.quotes, self.quotes if self.apart is None else self.apart)

    def begin(self, tag: Tag) -> None:
        name = tag.name
        if name == "br":
            self.end_line(is_kept=True)
        elif name == "hr":
            self.gap()
            self.line = "---"
            self.gap()
        elif name == "img":
            self.write(tag.attributes.get("alt", ""))
        elif name == "a":
            self.links.append((tag.attributes.get("href", ""), len(self.lines), len(self.line)))
        elif name in ("td", "th"):
            self.line += "  " if self.line.strip() else ""
        elif name in _APART or name in _ALONE:
            self.end_line() if name in _ALONE or self.lists else self.gap()
            self._begin_block(name, tag)

    def _begin_block(self, name: str, tag: Tag) -> None:
        if name in ("ul", "ol"):
            start = tag.attributes.get("start", "")
            first = int(start) if start.isascii() and start.isdigit() and len(start) < 7 else 1
            self.lists.append(first if name == "ol" else None)
        elif name == "li":
            number = self.lists[-1] if self.lists else None
            self.marker = "- " if number is None else f"{number}. "
            self.items += 1
            if number is not None:
                self.lists[-1] = number + 1
        self.quotes += name == "blockquote"
        self.fixed += name == "pre"

    def end(self, name: str) -> None:
        if name == "a" and self.links:
            self._end_link(*self.links.pop())
        elif name in _APART or name in _ALONE:
            self.end_line()
            self.quotes -= name == "blockquote" and self.quotes > 0
            self.fixed -= name == "pre" and self.fixed > 0
            self.items -= name == "li" and self.items > 0
            if name in ("ul", "ol") and self.lists:
                self.lists.pop()
            if name in _APART and not self.lists:
                self.gap()

    def _end_link(self, address: str, line: int, at: int) -> None:
        """The address behind its words, unless they say it already."""
        words = self.line[at:].strip() if line == len(self.lines) else "…"
        bare = re.sub(r"^(https?://|mailto:)", "", address, flags=re.IGNORECASE)
        if address and words not in (address, bare, bare.rstrip("/")):
            shown = bare if address.lower().startswith("mailto:") else address
            self.write(f" ({shown})" if words else shown)


def text_of(html: str) -> str:
    """`html`, which went through the allow-list, as a text."""
    page = _Page()
    for token in tokens(html):
        if isinstance(token, Words):
            page.write(token.text)
        elif token.is_end:
            page.end(token.name)
        else:
            page.begin(token)
    page.end_line()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(page.lines)).strip("\n")

"""The HTML beside a text: its paragraphs, its line breaks, and links; everything else escaped."""

from __future__ import annotations

import re

from flask import current_app
from markupsafe import Markup

_LINK = re.compile(r"https?://[^\s<>\"“”]+", re.IGNORECASE)
_TRAILING = ".,;:!?)]}'’…"
Piece = tuple[str, str]  # the text, and where it leads ("" for nowhere)


def pieces_of(line: str) -> list[Piece]:
    """`line` cut where a link begins or ends; a full stop after an address does not belong to it."""
    found: list[Piece] = []
    at = 0
    for match in _LINK.finditer(line):
        link = match[0].rstrip(_TRAILING)
        if len(link) <= len("https://"):
            continue
        found += [(line[at : match.start()], ""), (link, link)]
        at = match.start() + len(link)
    return [piece for piece in [*found, (line[at:], "")] if piece[0]]


def paragraphs_of(text: str) -> list[list[list[Piece]]]:
    """The paragraphs of `text` (what stands between empty lines), each as lines of pieces."""
    blocks = re.split(r"\n[ \t]*\n+", text.replace("\r\n", "\n").strip("\n"))
    return [[pieces_of(line) for line in block.split("\n")] for block in blocks if block.strip()]


def html_of(text: str, subject: str, footer: str = "", own: str = "") -> str:
    """A page for mail programs: `own`, which went through `markup.cleaned`, or else `text`.

    No style sheet; nothing is loaded from anywhere but the images that `own` was allowed to have.
    """
    template = current_app.jinja_env.get_template("email/message/body.html")
    paragraphs = [] if own else paragraphs_of(text)
    clean = Markup(own)  # noqa: S704  written anew, on an allow-list
    return template.render(own=clean, paragraphs=paragraphs, subject=subject, footer=footer)

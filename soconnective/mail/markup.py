"""HTML that people write for mails, read by a strict little grammar on an allow-list.

What is saved was looked at first (`markup_check`). Filled with values it goes through the list once more here, and
what leaves the house is written anew from what was understood: each value quoted, each tag closed. Script, style
sheets, frames, forms and SVG are not on the list, so there is nothing that a browser could read differently
(https://cure53.de/fp170.pdf).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Any

from soconnective.automation import merge
from soconnective.mail.markup_list import ATTRIBUTES, EVERYWHERE, STYLES, VOID

DEEPEST = 60
_ATTRIBUTE = r"""[A-Za-z][A-Za-z0-9-]*\s*=\s*(?:"[^"<]*"|'[^'<]*')"""
_TAG = re.compile(rf"<(/?)([A-Za-z][A-Za-z0-9]*)((?:\s+{_ATTRIBUTE})*)\s*/?>")
_ONE = re.compile(r"""([A-Za-z][A-Za-z0-9-]*)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")
_ENTITY = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);")
_STYLE = re.compile(r"[\w#%.,'\s-]{1,120}")
_LINK = re.compile(r"https?://[^/\s]\S*|mailto:\S+", re.IGNORECASE)
_PICTURE = re.compile(r"https://[^/\s]\S*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that was read; `attributes` as they are meant, not as they are written."""

    name: str
    is_end: bool
    attributes: dict[str, str]
    at: int


@dataclass(frozen=True, slots=True)
class Words:
    """What stands between tags, as it is meant. `is_odd`: a `<` that begins no tag."""

    text: str
    at: int
    is_odd: bool = False


@dataclass(slots=True)
class Clean:
    """HTML as it may leave the house, and what was left out of it, in words."""

    html: str
    left_out: list[str] = field(default_factory=list)


def tokens(source: str) -> Iterator[Tag | Words]:
    """The tags and texts of `source`; comments are passed by."""
    at, end_of_comments = 0, source.rfind("-->")
    while at < len(source):
        if source[at] != "<":
            upto = source.find("<", at)
            upto = len(source) if upto < 0 else upto
            yield Words(unescape(source[at:upto]), at)
            at = upto
        elif source.startswith("<!--", at) and at + 4 <= end_of_comments:
            at = source.index("-->", at + 4) + 3
        elif (found := _TAG.match(source, at)) is not None:
            pairs: dict[str, str] = {}
            for name, double, single in _ONE.findall(found[3]):
                pairs.setdefault(name.lower(), _meant(double or single))
            yield Tag(found[2].lower(), bool(found[1]), pairs, at)
            at = found.end()
        else:
            yield Words("<", at, is_odd=True)
            at += 1


def _meant(value: str) -> str:
    """An attribute's value: only what ends in a semicolon is an entity, as in `?a=1&copy=2`."""
    return _ENTITY.sub(lambda match: unescape(match[0]), value)


def kept(tag: str, name: str, value: str) -> str | None:
    """The value that leaves the house, or None if the attribute does not."""
    if name not in ATTRIBUTES[tag] and name not in EVERYWHERE:
        return None
    flat = value.strip()
    if any(unicodedata.category(char) in ("Cc", "Cs", "Cn") for char in flat):
        return None
    if name == "href":
        return flat.replace(" ", "%20") if _LINK.fullmatch(flat.replace(" ", "%20")) else None
    if name == "src":
        return flat if _PICTURE.fullmatch(flat) else None
    if name == "style":
        return _style(flat)
    return flat if name in ("title", "alt") or _STYLE.fullmatch(flat) else None


def _style(text: str) -> str | None:
    found = []
    for part in text.split(";"):
        if not part.strip():
            continue
        name, colon, value = (one.strip() for one in part.partition(":"))
        if not colon or name.lower() not in STYLES or not _STYLE.fullmatch(value):
            return None
        found.append(f"{name.lower()}: {value}")
    return "; ".join(found)


def filled(source: str, fields: Mapping[str, Mapping[str, Any]], has_images: bool = False) -> Clean:
    """`source` with its merge fields filled, as it may leave the house; raises `merge.MergeError`."""
    found = cleaned(merge.render(source, fields, is_html=True), has_images)
    found.html = found.html.strip()
    return found


def cleaned(source: str, has_images: bool = False) -> Clean:
    """HTML as it may leave the house. It never fails: what is not on the list stays away."""
    found: list[str] = []
    opened: list[str] = []
    result = Clean("")
    for token in tokens(source):
        if isinstance(token, Words):
            found.append(escape(_printable(token.text), quote=False))
        elif token.name not in ATTRIBUTES or (token.name == "img" and not has_images):
            continue
        elif token.is_end:
            while token.name in opened:
                found.append(f"</{opened[-1]}>")
                if opened.pop() == token.name:
                    break
        elif token.name in VOID or len(opened) < DEEPEST:
            found.append(_written(token, result.left_out))
            if token.name not in VOID:
                opened.append(token.name)
    found += [f"</{name}>" for name in reversed(opened)]
    result.html = "".join(found)
    return result


def _written(tag: Tag, left_out: list[str]) -> str:
    said = [f"<{tag.name}"]
    for name, value in tag.attributes.items():
        flat = kept(tag.name, name, value)
        if flat is not None:
            said.append(f' {name}="{escape(flat)}"')
        elif name == "href":
            left_out.append("a link was left out: its address is not https://, http:// or mailto:")
    return "".join(said) + ">"


def _printable(text: str) -> str:
    return "".join(
        char for char in text if char in "\n\t\r" or unicodedata.category(char) not in ("Cc", "Cs")
    )

"""What is wrong with HTML that somebody wrote for a mail: said in words when it is saved, with the line."""

from __future__ import annotations

import re

from soconnective.mail.markup import DEEPEST, Tag, Words, kept, tokens
from soconnective.mail.markup_list import ATTRIBUTES, EVERYWHERE, VALUES, VOID, WORDS

MOST = 3
_NAME = re.compile(r"</?\s*([A-Za-z!][A-Za-z0-9-]*)")
_LIQUID = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
FIELD, LOGIC = "\ue000", "\ue001"  # stand for {{ … }} and {% … %} while a source is looked at


def problems(source: str, has_images: bool = False) -> list[str]:
    """What is wrong with HTML that somebody wrote, merge fields and all: the first few, each with its line."""
    if FIELD in source or LOGIC in source:
        return ["It contains a character that cannot be used."]
    bare = _LIQUID.sub(lambda m: (FIELD if m[0][1] == "{" else LOGIC) + "\n" * m[0].count("\n"), source)
    found: list[str] = []
    opened: list[Tag] = []
    for token in tokens(bare):
        said = _wrong_text(token, bare) if isinstance(token, Words) else _wrong_tag(token, opened, has_images)
        found += [f"Line {_line(bare, token.at)}: {one}" for one in said]
        if len(found) >= MOST:
            return found[:MOST]
    if opened and not found:
        found.append(f"Line {_line(bare, opened[-1].at)}: <{opened[-1].name}> is never closed.")
    return found


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _wrong_text(token: Words, source: str) -> list[str]:
    if not token.is_odd:
        return []
    name = _NAME.match(source, token.at)
    if name is not None and name[1].lower() in WORDS:
        return [WORDS[name[1].lower()]]
    shown = (
        source[token.at : token.at + 30]
        .split("\n", maxsplit=1)[0]
        .replace(FIELD, "{{…}}")
        .replace(LOGIC, "{%…%}")
    )
    return [f'“{shown}” cannot be read. Attributes are written like href="…"; a lone < is written &lt;.']  # fmt: skip


def _wrong_tag(tag: Tag, opened: list[Tag], has_images: bool) -> list[str]:
    name = tag.name
    if name not in ATTRIBUTES:
        return [WORDS.get(name, f"<{name}> has no place in a mail. Leave it out.")]
    if tag.is_end:
        if name in VOID or not opened or opened[-1].name != name:
            inner = f" before <{opened[-1].name}> is closed" if opened and name not in VOID else ""
            return [f"</{name}> stands here{inner}, and closes nothing."]
        opened.pop()
        return []
    if name not in VOID:
        opened.append(tag)
        if len(opened) > DEEPEST:
            return [f"The tags stand more than {DEEPEST} deep in each other."]
    if name == "img" and not has_images:
        return [WORDS["img"]]
    found = [said for one, value in tag.attributes.items() if (said := _wrong_attribute(name, one, value))]
    if name == "a" and "href" not in tag.attributes:
        found.append('<a> needs an address: href="https://…".')  # fmt: skip
    if name == "img":
        found += [f"<img> needs {one}." for one in ("src", "alt") if one not in tag.attributes]
    return found


def _wrong_attribute(tag: str, name: str, value: str) -> str | None:
    if name not in ATTRIBUTES[tag] and name not in EVERYWHERE:
        is_script = name.startswith("on")
        known = WORDS.get(name, f"{name} is not possible at <{tag}>. Leave it out.")
        return f"{name} would be a script. Leave it out." if is_script else known
    if LOGIC in value:
        return "Conditions stand between tags, not inside one."
    if FIELD in value and name not in ("href", "title", "alt"):
        return f"A merge field cannot stand in {name}: only in the text, in href, title and alt."
    if kept(tag, name, value) is None and not (name == "href" and value.startswith(FIELD)):
        return VALUES.get(name, f"“{value[:30]}” is no {name}.")
    return None

"""Texts with merge fields: Liquid, with a short list of tags and filters, over flat dicts of allowed values.

No loops, no assignment, no includes, no filter that can grow a text without bound, and never an ORM
object (a Jinja sandbox around one is no sandbox). The language: https://shopify.github.io/liquid/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from liquid import BoundTemplate, Environment, StrictDefaultUndefined
from liquid.builtin import capitalize, content, default, downcase, illegal, output, strip, truncate, upcase
from liquid.builtin.tags.case_tag import CaseTag
from liquid.builtin.tags.if_tag import IfTag
from liquid.builtin.tags.unless_tag import UnlessTag
from liquid.exceptions import LiquidError

from soconnective.core.formats import date_text, datetime_text, money
from soconnective.core.registry import registry

MAX_SOURCE = 20_000
MAX_OUTPUT = 64_000
MAX_TAGS = 500

# What every rule may name beside the fields of its record.
COMMON: tuple[tuple[str, str], ...] = (("rule.name", "This rule's name"), ("actor.name", "Who caused it"))


class MergeError(Exception):
    """A text with merge fields cannot be read or filled; the message is for the person who wrote it."""


class _Environment(Environment):
    block_nesting_limit = 20
    context_depth_limit = 10
    output_stream_limit = MAX_OUTPUT

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        for tag in (content.Literal, output.Output, illegal.Illegal, IfTag, UnlessTag, CaseTag):
            self.add_tag(tag)
        self.filters.update(
            default=default,
            upcase=upcase,
            downcase=downcase,
            capitalize=capitalize,
            strip=strip,
            truncate=truncate,
            date=_date,
            money=_money,
        )


def _date(value: Any, *_ignored: Any) -> str:
    """A date or moment as the workspace writes it; anything else as it is."""
    try:
        text = str(value)
        if len(text) > 10:
            return datetime_text(datetime.fromisoformat(text))
        return date_text(date.fromisoformat(text))
    except ValueError:
        return str(value)


def _money(value: Any, currency: Any = None) -> str:
    """An amount with its currency; anything that is no amount as it is."""
    try:
        return money(str(value), str(currency) if currency else None)
    except (ArithmeticError, ValueError, KeyError):
        return str(value)


_environment = _Environment(undefined=StrictDefaultUndefined, strict_filters=True)
_escaping = _Environment(undefined=StrictDefaultUndefined, strict_filters=True, autoescape=True)


@lru_cache(maxsize=1024)
def _template(text: str, *, is_html: bool = False) -> BoundTemplate:
    if len(text) > MAX_SOURCE:
        raise MergeError(f"The text is longer than {MAX_SOURCE:,} characters.")
    if text.count("{{") + text.count("{%") > MAX_TAGS:
        raise MergeError(f"The text has more than {MAX_TAGS} merge fields.")
    if any(text.rfind(opening) > text.rfind(closing) for opening, closing in (("{{", "}}"), ("{%", "%}"))):
        # the library looks for the end of each one anew: many that never close keep it busy for seconds
        raise MergeError("A merge field is not closed: {{ needs }}, and {% needs %}.")
    try:
        return (_escaping if is_html else _environment).from_string(text)
    except LiquidError as error:
        raise MergeError(_in_words(error)) from None
    except RecursionError:
        raise MergeError("The text is nested too deeply.") from None


def render(text: str, fields: Mapping[str, Mapping[str, Any]], *, is_html: bool = False) -> str:
    """`text` with its merge fields filled from flat dicts, escaped in HTML; raises `MergeError`."""
    if "{" not in text:
        return text
    try:
        return _template(text, is_html=is_html).render(**fields)
    except LiquidError as error:
        raise MergeError(_in_words(error)) from None
    except (RecursionError, ArithmeticError, ValueError, TypeError) as error:
        raise MergeError(f"The text cannot be filled ({type(error).__name__}).") from None


def problems(text: str, record_type: str | None) -> list[str]:
    """What is wrong with `text` in a rule about `record_type`: empty when it can be used."""
    if "{" not in text:
        return []
    try:
        found = _template(text).analyze()
    except MergeError as error:
        return [str(error)]
    except (LiquidError, RecursionError) as error:
        return [_in_words(error)]
    allowed = {name for name, _label in merge_fields(record_type)}
    wrong = [
        f"The filter “{name[:40]}” is not available."
        for name in found.filters
        if name not in _environment.filters
    ]
    for variables in found.variables.values():
        for variable in variables:
            if any(not isinstance(segment, str) for segment in variable.segments):
                wrong.append("Merge fields are written plainly, like {{ deal.title }}.")
                continue
            name = ".".join(map(str, variable.segments))
            if name not in allowed:
                wrong.append(f"There is no field “{name[:80]}” here.")
    return list(dict.fromkeys(wrong))


def merge_fields(record_type: str | None) -> list[tuple[str, str]]:
    """(name, label) of every merge field in a rule about `record_type`."""
    kind = registry.record_types.get(record_type or "")
    own = [(f"{kind.name}.{name}", f"{kind.label}: {label}") for name, label in kind.fields] if kind else []
    return [*own, *COMMON]


def _in_words(error: BaseException) -> str:
    message = re.split(r" -> |\s\|\s|, on line", re.sub(r"\s+", " ", str(error)).strip())[0][:200]
    unknown = re.match(r"unexpected tag '(\w+)'", message)
    if unknown:
        return f"The tag “{unknown[1]}” is not available."
    gone = re.match(r"([\w.]+) is undefined", message)
    if gone:
        return f"There is no field “{gone[1]}” here."
    return f"The text cannot be read: {message}."

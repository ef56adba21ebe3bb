"""Texts with merge fields: Liquid, with a short list of tags and filters, over flat dicts of allowed values.

No loops, no assignment, no includes, no filter that can grow a text without bound, and never an ORM
object (a Jinja sandbox around one is no sandbox). See https://jg-rp.github.io/liquid/ for the language.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from liquid import Environment, StrictUndefined
from liquid.builtin.expressions import Path
from liquid.builtin.filters import misc, string
from liquid.builtin.tags.case_tag import CaseTag
from liquid.builtin.tags.if_tag import IfTag
from liquid.builtin.tags.unless_tag import UnlessTag
from liquid.exceptions import LiquidError

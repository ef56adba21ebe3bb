"""Conditions on a record: one tree, two ways to ask it.

`tree` is what is stored and said; `evaluate` gives a Python verdict with the wanted and the actual value of
each test; `sql` gives a WHERE clause. Both say the same of every record (tests/core/test_conditions.py).
Rules, list filters and saved views use it (`form` shows it to people); areas register the fields of their record types.
"""

from soconnective.core.conditions.evaluate import Facts, Finding, evaluate
from soconnective.core.conditions.fields import (
    Field,
    fields_of,
    register_fields,
    register_more_fields,
    through,
)
from soconnective.core.conditions.impossible import never_holds
from soconnective.core.conditions.operators import OPERATORS, Now, operators_of
from soconnective.core.conditions.sql import matching, where
from soconnective.core.conditions.tree import Group, Test, describe, each_test, normal, problems

__all__ = [
    "OPERATORS",
    "Facts",
    "Field",
    "Finding",
    "Group",
    "Now",
    "Test",
    "describe",
    "each_test",
    "evaluate",
    "fields_of",
    "matching",
    "never_holds",
    "normal",
    "operators_of",
    "problems",
    "register_fields",
    "register_more_fields",
    "through",
    "where",
]

"""The tree of conditions: groups (all, any, none of) of tests and of further groups, as stored, checked and said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Of

from soconnective.core.conditions.fields import Field
from soconnective.core.conditions.operators import MOST_DAYS, OPERATORS, Operator, operators_of, typed
from soconnective.core.words import quoted

MOST_TESTS = 50
MOST_VALUES = 50
DEEPEST = 5
MATCHES = {"all": "all of", "any": "any of", "none": "none of"}
Value = Annotated[str, Of(max_length=400)]


class Test(BaseModel):
    """One question: `value` is a text, a list of texts (between, one of) or nothing, as `Field.clean` made it."""

    __test__ = False  # pytest: no test case
    model_config = ConfigDict(extra="forbid", frozen=True)

    field: Annotated[str, Of(max_length=80)]
    operator: Annotated[str, Of(max_length=40)]
    value: Value | Annotated[list[Value], Of(max_length=MOST_VALUES)] | None = None


class Group(BaseModel):
    """Which of its items must hold. An empty group holds (and an empty `none`, too)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Literal["all", "any", "none"] = "all"
    items: Annotated[list[Test | Group], Of(max_length=MOST_TESTS)] = Of(default_factory=list)


def normal(group: Group) -> Group:
    """The same question in one way of writing: groups that say nothing are gone, one item needs no joining."""
    items: list[Test | Group] = []
    for item in group.items:
        found = normal(item) if isinstance(item, Group) else item
        if isinstance(found, Group) and not found.items:
            continue
        is_plain = isinstance(found, Group) and len(found.items) == 1 and found.match != "none"
        items.append(found.items[0] if is_plain and isinstance(found, Group) else found)
    if group.match != "none" and len(items) == 1:
        return items[0] if isinstance(items[0], Group) else Group(items=items)
    return Group(match=group.match if len(items) > 1 or group.match == "none" else "all", items=items)


def each_test(group: Group, path: str = "") -> Iterator[tuple[str, Test]]:
    """Every test with its path: "0-2" is the third of the first group."""
    for index, item in enumerate(group.items):
        here = f"{path}-{index}" if path else str(index)
        if isinstance(item, Test):
            yield here, item
        else:
            yield from each_test(item, here)


def depth(group: Group) -> int:
    return 1 + max((depth(item) for item in group.items if isinstance(item, Group)), default=0)


def problems(group: Group, fields: Mapping[str, Field], with_changes: bool) -> list[tuple[str, str]]:
    """What makes no sense here and now, as (path, message)."""
    tests = list(each_test(group))
    if len(tests) > MOST_TESTS:
        return [("", f"{MOST_TESTS} conditions at most.")]
    if depth(group) > DEEPEST:
        return [("", f"Groups can stand {DEEPEST} deep at most.")]
    return [(path, message) for path, test in tests if (message := problem(test, fields, with_changes))]


def problem(test: Test, fields: Mapping[str, Field], with_changes: bool) -> str | None:
    field, operator = fields.get(test.field), OPERATORS.get(test.operator)
    if field is None:
        return "This field does not exist here. Choose another one."
    if operator is None or operator not in operators_of(field, with_changes):
        return f"“{field.label}” cannot be asked this. Choose another comparison."
    try:
        checked(field, operator, test.value)
    except ValueError as error:
        return str(error)
    return None


def checked(field: Field, operator: Operator, value: Any) -> Any:
    """`value` as it is stored beside `operator`; raises `ValueError` with words for people."""
    if operator.takes == "nothing":
        return None
    if operator.takes == "days":
        text = str(value or "").strip()
        if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= MOST_DAYS):
            raise ValueError(f"Write a number of days, {MOST_DAYS} at most.")
        return text
    if operator.takes == "one":
        return field.clean(value[0] if isinstance(value, list) else value)
    values = value if isinstance(value, list) else [value]
    if operator.takes == "two":
        if len(values) != 2:
            raise ValueError("Write both ends.")
        found = [field.clean(one) for one in values]
        if field.read(found[0]) > field.read(found[1]):
            raise ValueError("The first must not be more than the second.")
        return found
    found = [field.clean(one) for one in values if one not in (None, "")]
    if not found:
        raise ValueError("Choose one at least.")
    found = list(dict.fromkeys(found))
    if len(found) > MOST_VALUES:
        raise ValueError(f"Choose {MOST_VALUES} at most.")
    return found if field.kind == "text" else sorted(found, key=_in_order)


def _in_order(value: str) -> tuple[int, str]:
    """Equal choices from a list are stored alike, whatever order a page sent them in."""
    return (int(value), "") if value.isascii() and value.isdigit() else (0, value)


def describe(group: Group, fields: Mapping[str, Field]) -> str:
    """In words: "amount is at least 1000 and (source is “Web” or source is “Fair”)"; empty for no test."""
    said = [_said(item, fields) for item in group.items]
    joined = (" or " if group.match == "any" else " and ").join(text for text in said if text)
    if group.match != "none":
        return joined
    joined = " or ".join(text for text in said if text)
    return f"not ({joined})" if joined else ""


def _said(item: Test | Group, fields: Mapping[str, Field]) -> str:
    if isinstance(item, Test):
        return say(item, fields)
    text = describe(item, fields)
    return f"({text})" if len(item.items) > 1 and item.match != "none" else text


def say(test: Test, fields: Mapping[str, Field]) -> str:
    """One test in words."""
    field, operator = fields.get(test.field), OPERATORS.get(test.operator)
    if field is None or operator is None:
        return f"⚠ {test.field} is gone"
    return f"{field.label} {asked(field, operator, test.value)}"


def asked(field: Field, operator: Operator, value: Any) -> str:
    """The operator with its value: "is between 5 and 10"."""
    if operator.takes == "nothing":
        return operator.label
    values = (value if isinstance(value, list) else [value]) or [None]
    if operator.takes == "days":
        return operator.label.replace("…", str(values[0] or "…"))
    quoted = [_quoted(field, one) for one in values]
    joint = " and " if operator.takes == "two" else " or "
    return f"{operator.label} {joint.join(quoted)}"


def _quoted(field: Field, value: Any) -> str:
    if value is None or value == "":  # in a draft: not written yet
        return "…"
    if field.kind == "text":
        return quoted(str(value))
    return field.label_of(value) or "⚠ something that is gone"


def read(field: Field, operator: Operator, test: Test) -> list[Any]:
    return typed(field, operator, test.value)

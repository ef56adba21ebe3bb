"""Values of rules as text says them and back: ids by name, numbers and dates bare, conditions as short tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from soconnective.automation.references import Unnamed, id_of, name_of
from soconnective.core.conditions import OPERATORS, Field, Group, Test
from soconnective.core.conditions.operators import Operator
from soconnective.core.conditions.tree import MATCHES, checked

NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def short(name: str, others: Any) -> str:
    """How the name of what holds an id reads: "stage_id" -> "stage", "person_ids" -> "persons"."""
    found = f"{name.removesuffix('_ids')}s" if name.endswith("_ids") else name.removesuffix("_id")
    return name if found in others else found


def long(name: str, others: Any) -> str:
    """The full name behind a short one; the name itself if there is none."""
    if name in others:
        return name
    return next((one for one in (f"{name}_id", f"{name.removesuffix('s')}_ids") if one in others), name)


def as_number(value: Any) -> Any:
    """A number's text as a number that is written the same; anything else as it is."""
    return Decimal(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


def say_value(field: Field, value: Any) -> Any:
    """A stored value of a field."""
    if value is None or value == "":
        return ""
    if field.refers_to:
        return name_of(field.refers_to, value)
    if field.kind == "number":
        return as_number(value)
    if field.kind == "date" and isinstance(value, str) and DAY.fullmatch(value):
        return date.fromisoformat(value)
    return value


def read_value(field: Field, value: Any) -> str:
    """What a text says of a field, as it is stored; raises `Unnamed`."""
    if field.refers_to and value != "":
        return str(id_of(field.refers_to, value))
    return plain_text(value)


def plain_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise Unnamed("a number must be finite.")
        return format(value, "f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, dict | list):
        raise Unnamed("one value is meant here, not several.")
    return str(value)


def say_group(group: Group, fields: Mapping[str, Field]) -> dict[str, Any]:
    """``{"all": [{"field": "amount", "at_least": 1000}, ...]}``."""
    items = [_say_test(i, fields) if isinstance(i, Test) else say_group(i, fields) for i in group.items]
    return {group.match: items}


def _say_test(test: Test, fields: Mapping[str, Field]) -> dict[str, Any]:
    field, operator = fields.get(test.field), OPERATORS.get(test.operator)
    if field is None or operator is None:
        raise Unnamed(f"a condition asks for “{test.field}”, which does not exist any more")
    name = short(field.name, fields) if field.refers_to else field.name
    return {"field": name, operator.id: _say_wanted(field, operator, test.value)}


def _say_wanted(field: Field, operator: Operator, value: Any) -> Any:
    if operator.takes == "nothing":
        return True
    if operator.takes == "days":
        return as_number(value)
    kind_is_day = field.kind == "moment"
    said = [
        date.fromisoformat(one) if kind_is_day and DAY.fullmatch(str(one)) else say_value(field, one)
        for one in (value if isinstance(value, list) else [value])
    ]
    if not isinstance(value, list):
        return said[0]
    return sorted(said) if operator.takes == "many" and field.refers_to else said


def read_group(table: Any, fields: Mapping[str, Field], deep: int = 1) -> Group:
    """The tree behind ``{"all": [...]}``; raises `Unnamed` with words for people."""
    joins = [join for join in MATCHES if isinstance(table, dict) and join in table]
    if len(joins) != 1 or len(table) != 1 or not isinstance(table[joins[0]], list):
        raise Unnamed("conditions are one list called all, any or none.")
    if deep > 5:
        raise Unnamed("groups can stand 5 deep at most.")
    items = table[joins[0]]
    if len(items) > 50:
        raise Unnamed("50 conditions at most.")
    if not items and deep > 1:  # it would be left out when it is stored, and none of it is not all of it
        raise Unnamed("a group inside another needs one condition at least.")
    read = [
        _read_test(i, fields) if isinstance(i, dict) and "field" in i else read_group(i, fields, deep + 1)
        for i in items
    ]
    return Group(match=joins[0], items=read)  # type: ignore[arg-type]


def _read_test(table: Mapping[str, Any], fields: Mapping[str, Field]) -> Test:
    name = table["field"]
    field = fields.get(long(name, fields)) if isinstance(name, str) else None
    if field is None:
        offered = ", ".join(short(f.name, fields) if f.refers_to else f.name for f in fields.values())
        raise Unnamed(f"there is no field “{name}” here. There is {offered or 'none'}.")
    asked = [key for key in table if key != "field"]
    operator = OPERATORS.get(asked[0]) if len(asked) == 1 else None
    if operator is None or field.kind not in operator.kinds:
        offered = ", ".join(o.id for o in OPERATORS.values() if field.kind in o.kinds)
        raise Unnamed(f"beside “{name}” stands one comparison: {offered}.")
    value = table[operator.id]
    if operator.takes == "nothing":
        if value is not True:
            raise Unnamed(f"write {operator.id} = true, or leave it out.")
        return Test(field=field.name, operator=operator.id)
    is_list = operator.takes in ("two", "many")
    if is_list != isinstance(value, list):
        raise Unnamed(f"{operator.id} takes {'a list' if is_list else 'one value'}.")
    read: Any
    if is_list:
        read = [read_value(field, one) for one in value]
        if operator.takes == "many" and field.refers_to:
            read = checked(field, operator, read)
    else:
        read = plain_text(value) if operator.takes == "days" else read_value(field, value)
    long_one = next((one for one in (read if is_list else [read]) if len(one) > 400), None)
    if long_one is not None or (is_list and len(read) > 50):
        raise Unnamed("that is too long: 400 characters and 50 values at most.")
    return Test(field=field.name, operator=operator.id, value=read)

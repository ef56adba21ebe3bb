"""What the tabs and selects above a list ask, as conditions: they are kept in a view like those of the form."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from flask import request

from soconnective.core.conditions import Test
from soconnective.core.listing import argument_id
from soconnective.saved_views.listed import ME


@dataclass(frozen=True)
class Quick:
    """One of them: `name` is its argument in the address. `is_seen`: the page shows it already (a tab, a select)."""

    name: str
    test: Test
    is_seen: bool = True
    is_tab: bool = False


def by_id(name: str, field: str = "", operator: str = "is", is_seen: bool = True) -> list[Quick]:
    """An id in the address; anything else counts as not given."""
    value = argument_id(name)
    if value is None:
        return []
    return [Quick(name, Test(field=field or name, operator=operator, value=str(value)), is_seen)]


def by_choice(name: str, offered: Collection[str], default: str = "", is_tab: bool = False) -> list[Quick]:
    """One of a few words in the address."""
    value = request.args.get(name, default)
    return (
        [Quick(name, Test(field=name, operator="is", value=value), is_tab=is_tab)] if value in offered else []
    )


def mine(field: str, is_tab: bool = False) -> list[Quick]:
    """`mine=1`: those of whoever looks."""
    return (
        [Quick("mine", Test(field=field, operator="is", value=ME), is_tab=is_tab)]
        if request.args.get("mine")
        else []
    )


def by_person(field: str, is_tab: bool = False) -> list[Quick]:
    """`mine=1`, or somebody's id."""
    return mine(field, is_tab) or by_id(field)

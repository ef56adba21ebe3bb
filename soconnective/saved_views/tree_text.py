"""A filter's tree as text: one way of writing each, so that two filters are the same if their texts are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from soconnective.core.conditions import Group, Test, normal

UNREADABLE = "The conditions cannot be read any more."
Item = Test | Group


def written(tree: Group) -> str:
    """`tree` as canonical JSON."""
    plain = normal(tree).model_dump(mode="json", exclude_none=True)
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def read(text: str) -> Group | None:
    """The tree, or None for what is none."""
    try:
        return Group.model_validate_json(text)
    except (ValidationError, ValueError):
        return None


def is_shown(tree: Group) -> bool:
    """Whether the form can show it: groups of conditions, without groups in them."""
    groups = [item for item in tree.items if isinstance(item, Group)]
    return (not groups or tree.match != "none") and all(
        isinstance(one, Test) for group in groups for one in group.items
    )


def both(tests: Sequence[Test], tree: Group) -> Group:
    """`tests` and `tree` as one tree, so that the form can show it wherever that is possible."""
    if not tests or not tree.items:
        return tree if tree.items else Group(items=list(tests))
    if tree.match == "all" and _is_flat(tree.items):
        return Group(items=[*tests, *tree.items])
    if tree.match == "all":
        return Group(items=[Group(items=list(tests)), *tree.items])
    parts = [_conjunction(item) for item in tree.items]
    if tree.match == "any" and not _is_flat(tree.items) and all(part is not None for part in parts):
        return Group(match="any", items=[Group(items=[*tests, *(part or [])]) for part in parts])
    return Group(items=[Group(items=list(tests)), tree])


def _is_flat(items: Iterable[Item]) -> bool:
    return all(isinstance(item, Test) for item in items)


def _conjunction(item: Item) -> list[Item] | None:
    """Its parts, if all of them must hold."""
    if isinstance(item, Test):
        return [item]
    return list(item.items) if item.match == "all" or (len(item.items) == 1 and item.match == "any") else None

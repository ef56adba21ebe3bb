"""Which rules name something that is about to go (a tag), and what they name instead.

A piece names it by its setting `<what>_id`; a condition by a field of the kind `<what>s`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from soconnective.automation.conditions import event_fields
from soconnective.automation.contracts import Piece
from soconnective.automation.definition import Definition, parse
from soconnective.automation.flow import If
from soconnective.automation.models import Automation, AutomationVersion
from soconnective.automation.operations import rewrite_automation
from soconnective.core.conditions import Group, Test, each_test
from soconnective.core.db import db


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that rules name: `what` it is ("tag") and its id."""

    what: str
    id: int


def rules_naming(reference: Reference) -> list[Automation]:
    """The rules that name it, in their order; those that are switched off among them."""
    return [rule for rule, _definition in _naming(reference)]


def replace_in_rules(old: Reference, new_id: int) -> int:
    """Let every rule that names `old` name another one; returns how many rules changed."""
    found = _naming(old)
    for rule, definition in found:
        rewrite_automation(rule, with_other(definition, old, new_id))
    return len(found)


def _naming(reference: Reference) -> list[tuple[Automation, Definition]]:
    """One statement, however many rules there are."""
    rows = db.session.execute(
        select(Automation, AutomationVersion.definition)
        .join(
            AutomationVersion,
            (AutomationVersion.automation_id == Automation.id)
            & (AutomationVersion.number == Automation.definition_number),
        )
        .where(Automation.deleted_at.is_(None))
        .order_by(Automation.position, Automation.id)
    ).all()
    return [(rule, found) for rule, text in rows if names(found := parse(text), reference)]


def names(definition: Definition, reference: Reference) -> bool:
    record_type = definition.conditions.record_type
    pieces: tuple[Piece, ...] = (definition.trigger, *definition.steps)
    trees = [definition.conditions.tree, *(p.settings.conditions for p in pieces if _has_conditions(p))]
    return any(_named(piece, reference) for piece in pieces) or any(
        _asks(test, record_type, reference) for tree in trees for _path, test in each_test(tree)
    )


def with_other(definition: Definition, old: Reference, new_id: int) -> Definition:
    """The definition with `new_id` in the place of `old`."""
    record_type = definition.conditions.record_type
    conditions = definition.conditions
    if conditions.tree.items:
        conditions = replace(conditions, tree=_tree(conditions.tree, record_type, old, new_id))
    return replace(
        definition,
        trigger=_piece(definition.trigger, record_type, old, new_id),
        steps=tuple(_piece(step, record_type, old, new_id) for step in definition.steps),
        conditions=conditions,
    )


def _has_conditions(piece: Any) -> bool:
    return isinstance(piece, If) and not piece.broken


def _named(piece: Any, reference: Reference) -> bool:
    return not piece.broken and getattr(piece.settings, f"{reference.what}_id", None) == reference.id


def _piece(piece: Any, record_type: str | None, old: Reference, new_id: int) -> Any:
    changes: dict[str, Any] = {}
    if _named(piece, old):
        changes[f"{old.what}_id"] = new_id
    if _has_conditions(piece):
        changes["conditions"] = _tree(piece.settings.conditions, record_type, old, new_id)
    return type(piece)(piece.settings.model_copy(update=changes)) if changes else piece


def _asks(test: Test, record_type: str | None, reference: Reference) -> bool:
    field = event_fields(record_type).get(test.field)
    wanted = test.value if isinstance(test.value, list) else [test.value]
    return field is not None and field.kind == f"{reference.what}s" and str(reference.id) in wanted


def _tree(group: Group, record_type: str | None, old: Reference, new_id: int) -> Group:
    return group.model_copy(update={"items": [_item(item, record_type, old, new_id) for item in group.items]})


def _item(item: Test | Group, record_type: str | None, old: Reference, new_id: int) -> Test | Group:
    if isinstance(item, Group):
        return _tree(item, record_type, old, new_id)
    if not _asks(item, record_type, old):
        return item
    if not isinstance(item.value, list):
        return item.model_copy(update={"value": str(new_id)})
    ids = {int(one) for one in item.value} - {old.id} | {new_id}
    return item.model_copy(update={"value": [str(one) for one in sorted(ids)]})

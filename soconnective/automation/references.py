"""What rules refer to by id (stages, people ...), its name in rules as text, and which rules name it.

An area registers a `Reference` for each kind of thing that the settings of its pieces (`Piece.references`) or
its condition fields (`Field.reference`) hold ids of. A kind that nobody registered (a record: a contact, a
deal) has no name that another workspace could know, so a rule that names one cannot be written as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from soconnective.automation import operations
from soconnective.automation.contracts import Piece
from soconnective.automation.definition import Definition, parse
from soconnective.automation.flow import If
from soconnective.automation.keys import slug
from soconnective.automation.models import Automation, AutomationDraft, AutomationReplacement
from soconnective.automation.rule_choice import coming
from soconnective.core import clock
from soconnective.core.conditions import Field, Group, Test, each_test
from soconnective.core.db import db
from soconnective.core.registry import people


class Unnamed(Exception):
    """An id has no name, or a name means nothing here; the message is for people."""


@dataclass(frozen=True)
class Reference:
    """A kind of thing: `named()` gives (id, name) of all of the current workspace, in an order that stays.

    The names should differ; of several with one name, the later ones are told apart by a number.
    """

    name: str
    label: str
    named: Callable[[], Iterable[tuple[Any, str]]]

    def by_id(self) -> dict[str, str]:
        """The name of each, by the text of its id."""
        found: dict[str, str] = {}
        taken: set[str] = set()
        for item_id, name in self.named():
            slug, number = name, 1
            while slug in taken:
                number += 1
                slug = f"{name} #{number}"
            taken.add(slug)
            found[str(item_id)] = slug
        return found


_references: dict[str, Reference] = {}


def register_reference(*items: Reference) -> None:
    for item in items:
        _references[item.name] = item


# What else names things and follows when one takes another's place: (kind, old id, new id).
_followers: list[Callable[[str, int, int], None]] = []


def follow_replacements(follow: Callable[[str, int, int], None]) -> None:
    """Let `follow` be called by `replace_reference`; the same one only once."""
    if follow not in _followers:
        _followers.append(follow)


def name_of(kind: str, item_id: Any) -> str:
    """The name of what `item_id` means; raises `Unnamed`."""
    known = _references.get(kind)
    if known is None:
        raise Unnamed(f"it names one {kind}, and such a record has no name that other workspaces know")
    name = known.by_id().get(str(item_id))
    if name is None:
        raise Unnamed(f"it names a {known.label} that is gone")
    return name


def id_of(kind: str, name: Any) -> int:
    """The id of what is called `name`; raises `Unnamed` with the names there are."""
    known = _references.get(kind)
    if known is None:
        raise Unnamed(f"one {kind} cannot be named in a text.")
    there = {slug: item_id for item_id, slug in known.by_id().items()}
    found = there.get(name) if isinstance(name, str) else None
    if found is None:
        offered = ", ".join(f"“{slug}”" for slug in list(there)[:12])
        raise Unnamed(f"there is no {known.label} “{name}” here. There is {offered or 'none'}.")
    return int(found)


@dataclass(frozen=True)
class Naming:
    """A rule that names something, and where: "in its trigger", "in step 2"."""

    rule: Automation
    places: list[str]


def rules_naming(kind: str, *ids: int) -> list[Naming]:
    """The rules that name one of these, in the order in which they run."""
    found, drafts = [], _drafts()
    for rule in _rules():
        definition = operations.definition_of(rule)
        said = list(dict.fromkeys(place for item_id in ids for place in places(definition, kind, item_id)))
        made = parse(drafts[rule.id].definition) if rule.id in drafts else None
        if made is not None and any(places(made, kind, item_id) for item_id in ids):
            said.append("in its draft")
        if said:
            found.append(Naming(rule, said))
    return found


def replace_reference(kind: str, old: int, new: int) -> list[Automation]:
    """Put `new` in the place of `old` in every rule, as new versions; returns the rules that changed.

    Drafts change with them, and what waits at an older version goes on with the replacement (`replaced_since`).

    A rule may make no sense afterwards (from a stage to the same stage): its page and the list say so.
    """
    changed, drafts = [], _drafts()
    db.session.add(AutomationReplacement(kind=kind, old_id=old, new_id=new, at=clock.now()))
    for rule in _rules():
        if (draft := drafts.get(rule.id)) is not None:
            draft.definition = replaced(parse(draft.definition), kind, old, new).to_text()
        definition = operations.definition_of(rule)
        fresh = replaced(definition, kind, old, new)
        if fresh.to_text() != definition.to_text():
            operations.rewrite(rule, fresh)
            changed.append(rule)
        if rule.examples:
            fields = definition.conditions.fields
            rule.examples = [_example_with(one, fields, kind, str(old), str(new)) for one in rule.examples]
    for follow in _followers:
        follow(kind, old, new)
    return changed


def replaced_since(definition: Definition, moment: datetime) -> Definition:
    """A definition of `moment` with all that was replaced since then."""
    rows = select(AutomationReplacement).where(AutomationReplacement.at > moment)
    for row in db.session.scalars(rows.order_by(AutomationReplacement.id)):
        definition = replaced(definition, row.kind, row.old_id, row.new_id)
    return definition


def replace_person(old: int, new: int | None) -> int:
    """Hand over what rules say of a member who leaves; returns how many rules changed.

    To nobody: steps do without, each as it says itself. A condition that asks for that person is left as it is, and
    the linter says so: what it should ask for then is for a person to decide.
    """
    if new is not None:
        return len(replace_reference("person", old, new))
    changed, drafts = 0, _drafts()
    for rule in _rules():
        if (draft := drafts.get(rule.id)) is not None:
            draft.definition = _without(parse(draft.definition), old).to_text()
        definition = operations.definition_of(rule)
        fresh = _without(definition, old)
        if fresh.to_text() != definition.to_text():
            operations.rewrite(rule, fresh)
            changed += 1
    return changed


def rules_with_person(person_id: int) -> int:
    """How many rules name this person."""
    return len(rules_naming("person", person_id))


def _without(definition: Definition, person_id: int) -> Definition:
    steps = tuple(
        step
        if step.broken or person_id not in step.persons(step.settings)
        else step.with_settings(
            step.settings.model_copy(update=step.replaced(step.settings, person_id, None))
        )
        for step in definition.steps
    )
    return replace(definition, steps=steps)


def _example_with(
    example: Mapping[str, Any], fields: Mapping[str, Field], kind: str, old: str, new: str
) -> dict[str, Any]:
    """An example of a rule (`automation.examples`) with the other id in its record and changes."""
    found = dict(example)
    for part in ("record", "changes"):
        for name, value in example.get(part, {}).items():
            field = fields.get(name)
            if field is not None and field.refers_to == kind:
                put = [new if one == old else one for one in (value if isinstance(value, list) else [value])]
                found[part] = {**found[part], name: put if isinstance(value, list) else put[0]}
    return found


def _drafts() -> dict[int, AutomationDraft]:
    return {draft.automation_id: draft for draft in db.session.scalars(select(AutomationDraft))}


def _rules() -> list[Automation]:
    return list(
        db.session.scalars(
            select(Automation)
            .where(Automation.deleted_at.is_(None))
            .order_by(Automation.position, Automation.id)
        )
    )


def places(definition: Definition, kind: str, item_id: int) -> list[str]:
    """Where `definition` names the thing, in words; empty if it does not."""
    found = []
    if _in_settings(definition.trigger, kind, item_id):
        found.append("in its trigger")
    if not definition.conditions.message and group_names(
        definition.conditions.tree, definition.conditions.fields, kind, item_id
    ):
        found.append("in its conditions")
    fields = definition.conditions.fields
    for number, step in enumerate(definition.steps, start=1):
        asked = isinstance(step, If) and group_names(step.settings.conditions, fields, kind, item_id)
        if asked or _in_settings(step, kind, item_id):
            found.append(f"in step {number}")
    return found


def _in_settings(piece: Piece, kind: str, item_id: int) -> bool:
    if piece.broken:
        return False
    for name, of in piece.refers().items():
        value = getattr(piece.settings, name, None)
        if of == kind and (item_id in value if isinstance(value, tuple | list) else value == item_id):
            return True
    return False


def group_names(group: Group, fields: Mapping[str, Field], kind: str, item_id: int) -> bool:
    """Whether conditions name the thing."""
    return any(str(item_id) in ids for ids in _ids_of(group, fields, kind))


def _ids_of(group: Group, fields: Mapping[str, Field], kind: str) -> Iterator[list[str]]:
    for _path, test in each_test(group):
        field = fields.get(test.field)
        if field is not None and field.refers_to == kind and test.value is not None:
            yield list(test.value) if isinstance(test.value, list) else [test.value]


def replaced(definition: Definition, kind: str, old: int, new: int) -> Definition:
    """The definition with `new` in each place of `old`."""
    conditions = definition.conditions
    if not conditions.message:
        tree = group_with(conditions.tree, conditions.fields, kind, str(old), str(new))
        conditions = type(conditions)(tree, conditions.record_type)
    steps = tuple(_piece_with(step, conditions.fields, kind, old, new) for step in definition.steps)
    trigger = _piece_with(definition.trigger, conditions.fields, kind, old, new)
    return replace(definition, trigger=trigger, steps=steps, conditions=conditions)


def _piece_with(piece: Any, fields: Mapping[str, Field], kind: str, old: int, new: int) -> Any:
    if piece.broken:
        return piece
    if isinstance(piece, If):
        tree = group_with(piece.settings.conditions, fields, kind, str(old), str(new))
        return piece.with_settings(piece.settings.model_copy(update={"conditions": tree}))
    changed: dict[str, Any] = {}
    for name, of in piece.refers().items():
        value = getattr(piece.settings, name, None)
        if of == kind and isinstance(value, tuple | list):
            changed[name] = tuple(dict.fromkeys(new if one == old else one for one in value))
        elif of == kind and value == old:
            changed[name] = new
    return piece.with_settings(piece.settings.model_copy(update=changed)) if changed else piece


def group_with(group: Group, fields: Mapping[str, Field], kind: str, old: str, new: str) -> Group:
    """Conditions with the other id in their tests."""
    items = [
        _test_with(item, fields, kind, old, new)
        if isinstance(item, Test)
        else group_with(item, fields, kind, old, new)
        for item in group.items
    ]
    return group.model_copy(update={"items": items})


def _test_with(test: Test, fields: Mapping[str, Field], kind: str, old: str, new: str) -> Test:
    field = fields.get(test.field)
    if field is None or field.refers_to != kind or test.value is None:
        return test
    if isinstance(test.value, list):
        value: Any = sorted(
            {new if one == old else one for one in test.value}, key=lambda one: (len(one), one)
        )
    else:
        value = new if test.value == old else test.value
    return test.model_copy(update={"value": value})


def _rule_keys() -> Iterator[tuple[int, str]]:
    for rule in sorted(_rules(), key=lambda rule: rule.id):
        yield rule.id, rule.key or slug(rule.name)
    for expected in coming():
        yield expected.id, expected.key


register_reference(
    Reference("person", "person", lambda: ((person.id, person.email) for person in people().values())),
    Reference("rule", "rule", _rule_keys),
)

"""What applying a text of rules would do, and doing it: all of it in one transaction, or nothing.

A rule of the text is the rule with its key. Rules that the text does not name are left alone, unless they are to
be pruned; those that cannot be written as text are left alone always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from soconnective.automation import operations
from soconnective.automation.definition import Definition
from soconnective.automation.examples import failures
from soconnective.automation.keys import slug
from soconnective.automation.models import ON_FAILURE, Automation
from soconnective.automation.references import Unnamed, replaced
from soconnective.automation.rule_choice import Coming, expecting
from soconnective.automation.text import BadText, RuleText, read_rules, rule_table, text_of, write_rules
from soconnective.automation.toml import NotToml, read_toml
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.workspace import current_workspace

WHAT = {
    "create": "new",
    "change": "change",
    "restore": "bring back",
    "delete": "delete",
    "same": "as it is",
    "alone": "left alone",
}


PLACE = 2**61  # ids from here on hold the places of rules that are still to be made
SWITCHED = {"on": "switched on", "shadow": "put into the shadow", "off": "switched off"}


@dataclass(frozen=True)
class Exported:
    """The rules as text, and those that could not be written: (name, why)."""

    text: str
    left_out: list[tuple[str, str]]


@dataclass
class Change:
    """What would happen to one rule: one of `WHAT`, the sentence before and after, and what changes beside it."""

    what: str
    key: str
    name: str
    before: str = ""
    after: str = ""
    notes: list[str] = field(default_factory=list)
    rule: Automation | None = None
    wanted: RuleText | None = None

    @property
    def is_change(self) -> bool:
        return self.what not in ("same", "alone")

    @property
    def label(self) -> str:
        return WHAT[self.what]


@dataclass
class Plan:
    """All changes in the order of the text, then the rules that it does not name."""

    changes: list[Change]
    is_reordered: bool = False
    failed: list[str] = field(default_factory=list)  # examples that do not hold

    @property
    def has_changes(self) -> bool:
        return self.is_reordered or any(change.is_change for change in self.changes)

    @property
    def summary(self) -> str:
        counts = {what: sum(change.what == what for change in self.changes) for what in WHAT}
        said = [f"{counts[what]} {label}" for what, label in WHAT.items() if counts[what]]
        if self.is_reordered:
            said.append("another order")
        return ", ".join(said) or "There are no rules."


def export_rules() -> Exported:
    """Every rule of the workspace that can be written, in the order in which they run."""
    tables, left_out = [], []
    for rule in _rules():
        try:
            tables.append(rule_table(text_of(rule, operations.definition_of(rule))))
        except Unnamed as error:
            left_out.append((rule.name, str(error)))
    return Exported(write_rules(tables, current_workspace().name, left_out), left_out)


def plan(text: str, prune: bool = False) -> Plan:
    """What `apply` would do; raises `BadText` with all that is wrong."""
    with expecting(expected_rules(text)):
        return _plan(text, prune)


def expected_rules(text: str) -> list[Coming]:
    """The rules of `text` that do not exist yet: its other rules may name them."""
    try:
        tables = read_toml(text).get("rule", [])
    except NotToml:
        return []
    there = {rule.key for rule in _rules()}
    found: dict[str, Coming] = {}
    for number, table in enumerate(tables if isinstance(tables, list) else ()):
        name, when = (table.get("name"), table.get("when")) if isinstance(table, dict) else (None, None)
        key = table.get("key", slug(name)) if isinstance(name, str) else None
        trigger = when.get("trigger") if isinstance(when, dict) else when
        if isinstance(name, str) and isinstance(key, str) and isinstance(trigger, str) and key not in there:
            found.setdefault(key, Coming(PLACE + number, key, name, trigger))
    return list(found.values())


def _plan(text: str, prune: bool) -> Plan:
    wanted = read_rules(text)
    rules = {rule.key: rule for rule in _rules(with_deleted=True)}
    changes = [_change(rules.get(rule.key), rule) for rule in wanted]
    problems = [
        f"{change.wanted.at(path)}: {message}"
        for change in changes
        if change.wanted is not None and change.is_change
        for path, _name, message in change.wanted.definition.problems()
    ]
    if problems:
        raise BadText(problems[:50])
    named = {rule.key for rule in wanted}
    unnamed = [rule for rule in rules.values() if rule.deleted_at is None and rule.key not in named]
    changes += [_unnamed(rule, prune) for rule in unnamed]
    failed = [f"{rule.place}, {said}" for rule in wanted for said in failures(rule.definition, rule.examples)]
    return Plan(changes, _is_reordered(changes), failed)


def apply(text: str, prune: bool = False, force: bool = False) -> Plan:
    """Do what `plan` says, in the transaction of the caller. Raises `BadText`, also when an example fails."""
    expected = expected_rules(text)
    with expecting(expected):
        made = _plan(text, prune)
        if made.failed and not force:
            raise BadText(made.failed)
        for change in made.changes:
            _do(change)
    ids = {rule.id: found.id for rule in expected for found in _rules() if found.key == rule.key}
    for change in made.changes:
        _name_them(change, ids)
    if made.is_reordered:
        _put_in_order([change.rule for change in made.changes if change.wanted and change.rule])
    db.session.flush()
    return made


def _rules(with_deleted: bool = False) -> Sequence[Automation]:
    """Those that do something; drafts of new ones have no key yet, and are nobody's business."""
    statement = (
        select(Automation)
        .where(Automation.definition_number > 0)
        .order_by(Automation.position, Automation.id)
    )
    if not with_deleted:
        statement = statement.where(Automation.deleted_at.is_(None))
    return db.session.scalars(statement).all()


def _change(rule: Automation | None, wanted: RuleText) -> Change:
    after = wanted.definition.sentence()
    if rule is None:
        notes = [SWITCHED[wanted.state]]
        return Change("create", wanted.key, wanted.definition.name, "", after, notes, None, wanted)
    old = operations.definition_of(rule)
    notes = _notes(rule, old, wanted)
    if rule.deleted_at is not None:
        what = "restore"
    else:
        what = "change" if notes or old.to_text() != wanted.definition.to_text() else "same"
    return Change(what, wanted.key, wanted.definition.name, old.sentence(), after, notes, rule, wanted)


def _notes(rule: Automation, old: Definition, wanted: RuleText) -> list[str]:
    """What changes beside the sentence."""
    new, notes = wanted.definition, []
    if old.name != new.name:
        notes.append(f"renamed from “{old.name}” to “{new.name}”")
    if rule.state != wanted.state:
        notes.append(SWITCHED[wanted.state])
    if old.on_failure != new.on_failure:
        notes.append(f"if a step fails: {ON_FAILURE[new.on_failure]}")
    if list(rule.examples or ()) != wanted.examples:
        notes.append("other examples" if wanted.examples else "no examples any more")
    return notes


def _unnamed(rule: Automation, prune: bool) -> Change:
    definition = operations.definition_of(rule)
    change = Change("alone", rule.key or "", rule.name, definition.sentence(), rule=rule)
    if prune:
        try:
            rule_table(text_of(rule, definition))
            change.what = "delete"
        except Unnamed as error:
            change.notes = [f"not deleted, since it cannot be written as text: {error}"]
    return change


def _do(change: Change) -> None:
    wanted, rule = change.wanted, change.rule
    try:
        if change.what == "delete" and rule is not None:
            operations.delete_automation(rule)
        elif wanted is not None and change.is_change:
            if rule is None:
                rule = operations.create_automation(wanted.definition)
                rule.key = wanted.key
            else:
                operations.restore_automation(rule)
                operations.update_automation(rule, wanted.definition)
            rule.examples = wanted.examples or None
            change.rule = rule
    except Refused as refused:
        place = wanted.place if wanted else change.name
        raise BadText([f"{place}: {refused.message}"]) from None


def _name_them(change: Change, ids: dict[int, int]) -> None:
    """Now that all rules are there: put the ids of those that were expected into the one that names them; switch it."""
    wanted, rule = change.wanted, change.rule
    if wanted is None or rule is None or not change.is_change:
        return
    definition = wanted.definition
    for place, rule_id in ids.items():
        definition = replaced(definition, "rule", place, rule_id)
    try:
        if definition.to_text() != wanted.definition.to_text():
            operations.update_automation(rule, definition)
        if rule.state != wanted.state:
            operations.set_state(rule, wanted.state)
    except Refused as refused:
        raise BadText([f"{wanted.place}: {refused.message}"]) from None


def _is_reordered(changes: Sequence[Change]) -> bool:
    """Whether the text names rules in another order than they would have: new ones come last."""
    there = [change.rule for change in changes if change.wanted is not None]
    is_new_before_old = any(
        rule is None and any(later is not None for later in there[n:]) for n, rule in enumerate(there)
    )
    places = [(rule.position, rule.id) for rule in there if rule is not None]
    return is_new_before_old or places != sorted(places)


def _put_in_order(rules: Sequence[Any]) -> None:
    """The rules of the text take the places that they hold together, in the order of the text."""
    every = list(_rules())
    for number, rule in enumerate(every, start=1):  # places of their own: old ones may share one
        rule.position = number
    for place, rule in zip(sorted(rule.position for rule in rules), list(rules), strict=True):
        rule.position = place

"""What looks wrong about rules that can be saved: said in words with what to do, never in the way.

About one rule: conditions that cannot hold, branches that are never taken, steps after a stop, a rule that would
start itself, and what its pieces warn of (no mail account, an endpoint that is off). About several: two that do
the same, two that write one field at one moment, rules that go round, by what they change or by starting each other.
It may miss things; what it calls impossible is so. References to what is gone are `Definition.problems`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from soconnective.automation.contracts import ANY
from soconnective.automation.definition import Definition, parse
from soconnective.automation.flow import Control, If, asleep, flow_of
from soconnective.automation.models import Automation, AutomationVersion
from soconnective.core.conditions import Field, Group, Test, each_test, fields_of, never_holds
from soconnective.core.db import db
from soconnective.core.registry import people, registry

EXCLUDE = "Make one rule of them, or give them conditions that exclude each other."
ROUND = "Each runs once per change and is then stopped. Add a condition that no longer holds the second time."
MOST_RULES = 300  # beyond, pairs of rules are not compared


@dataclass(frozen=True)
class Known:
    """A rule as the linter sees it."""

    id: int
    name: str
    definition: Definition
    is_active: bool = True


def concerns(rules: Sequence[Known]) -> dict[int, list[str]]:
    """What looks wrong, by rule; rules that are off are only looked at alone."""
    found = {rule.id: alone(rule.definition) for rule in rules}
    active = [rule for rule in rules if rule.is_active and not rule.definition.broken]
    if len(active) <= MOST_RULES:
        for rule_id, message in _together(active):
            found[rule_id].append(message)
    return found


def concerns_of(rule_id: int) -> list[str]:
    """What looks wrong about one rule, among all others; one statement."""
    rows = db.session.execute(
        select(Automation.id, Automation.name, Automation.is_active, AutomationVersion.definition)
        .join(
            AutomationVersion,
            (AutomationVersion.automation_id == Automation.id)
            & (AutomationVersion.number == Automation.definition_number),
        )
        .where(Automation.deleted_at.is_(None))
        .order_by(Automation.position, Automation.id)
    )
    return concerns([Known(row[0], row[1], parse(row[3]), row[2]) for row in rows]).get(rule_id, [])


def alone(definition: Definition) -> list[str]:
    """What looks wrong about one rule."""
    if definition.broken:
        return []
    found, tree, fields = [], definition.conditions.tree, definition.conditions.fields
    if never_holds([(tree, True)], fields):
        found.append("Its conditions can never all hold, so it never runs. Take one of them away.")
    elif flow_of(definition.steps).problems == ():
        found += _branches(definition, fields)
    found += _after_stops(definition)
    found += _gone_people(definition)
    found += definition.trigger.warnings()
    for number, step in enumerate(definition.steps, start=1):
        found += [] if step.is_off else [f"Step {number}: {said}" for said in step.warnings()]
    if definition.trigger.hears(_written(definition)):
        found.append(
            "What it does would start it again; that is stopped each time and stands among its runs. "
            "Let it look at one field only, or add a condition that no longer holds then."
        )
    return found


def _branches(definition: Definition, fields: Mapping[str, Field]) -> Iterator[str]:
    steps, flow = definition.steps, flow_of(definition.steps)
    for index, step in enumerate(steps):
        if step.type_id != "if" or not isinstance(step, If):
            continue
        # the record is as it was when the rule looked, as long as nothing was done or waited for
        is_first = all(isinstance(one, Control) and one.type_id == "if" for one in steps[:index])
        before: list[tuple[Group, bool]] = [(definition.conditions.tree, True)] if is_first else []
        here = index
        while here in flow.no:
            branch = steps[here]
            if isinstance(branch, If):
                asked = branch.settings.conditions
                if never_holds([(asked, True)], fields):
                    yield f"Step {here + 1}: its conditions can never all hold, so this branch is never taken."
                elif never_holds([*before, (asked, True)], fields):
                    why = "an earlier branch takes" if here != index else "the rule's own conditions exclude"
                    yield f"Step {here + 1}: this branch is never taken: {why} all that it asks for."
                before = [*before, (asked, False)]
            elif branch.type_id == "otherwise" and never_holds(before, fields):
                yield f"Step {here + 1}: “otherwise” is never reached: the branches before it take everything."
            here = flow.no[here]


def _after_stops(definition: Definition) -> Iterator[str]:
    markers = ("otherwise_if", "otherwise", "end_if")
    steps = definition.steps
    for index, step in enumerate(steps[:-1]):
        if step.type_id == "stop" and steps[index + 1].type_id not in markers:
            yield f"Step {index + 2} is never reached: step {index + 1} stops before it. Move or remove one of them."


def _gone_people(definition: Definition) -> Iterator[str]:
    """Conditions that ask for somebody who is no longer a member."""
    trees = [(definition.conditions.tree, "its conditions")]
    trees += [
        (s.settings.conditions, f"step {n}") for n, s in enumerate(definition.steps, 1) if isinstance(s, If)
    ]
    for tree, where in trees:
        for _path, test in each_test(tree):
            field = definition.conditions.fields.get(test.field)
            if field is None or field.refers_to != "person" or test.value is None:
                continue
            asked, known = test.value if isinstance(test.value, list) else [test.value], people()
            for gone in sorted(p.name for p in known.values() if str(p.id) in asked and not p.is_active):
                yield f"In {where}: {gone} is no longer an active member. Choose somebody else, or take that away."


def _written(definition: Definition, only_always: bool = False) -> dict[str, Any]:
    """All that its steps write; only what it always writes at once, if asked for."""
    found: dict[str, Any] = {}
    off = asleep(definition.steps)
    for index, depth in enumerate(flow_of(definition.steps).depths):
        step = definition.steps[index]
        if only_always and step.type_id in ("wait", "stop") and index not in off:
            break
        if step.broken or index in off or (only_always and depth):
            continue
        for name, value in step.written(definition.scope).items():
            found[name] = value if name not in found or found[name] == value else ANY
    return found


def _together(rules: Sequence[Known]) -> Iterator[tuple[int, str]]:
    same: dict[str, list[Known]] = {}
    moments: dict[str, list[Known]] = {}
    for rule in rules:
        same.setdefault(replace(rule.definition, name="").to_text(), []).append(rule)
        moments.setdefault(rule.definition.trigger.type_id, []).append(rule)
    twins = {(a.id, b.id) for group in same.values() for a in group for b in group if a is not b}
    for group in same.values():
        for rule in group[1:]:
            yield (
                rule.id,
                f"“{group[0].name}” does exactly the same. Delete one of the two, or switch it off.",
            )
    for group in moments.values():
        writes = {rule.id: _written(rule.definition, only_always=True) for rule in group}
        for later in range(1, len(group)):
            for earlier in range(later):
                one, other = group[earlier], group[later]
                if (one.id, other.id) not in twins:
                    yield from _clash(one, other, writes[one.id], writes[other.id])
    yield from _loops(rules)


def _clash(
    one: Known, other: Known, first: dict[str, Any], second: dict[str, Any]
) -> Iterator[tuple[int, str]]:
    """Two rules of one moment that write one field differently."""
    names = [n for n in first if "." in n and n in second and (first[n] == ANY or first[n] != second[n])]
    if not names or not _may_meet(one.definition, other.definition):
        return
    what = ", ".join(_name_of(name) for name in names)
    said = f"“{one.name}” writes {what} at the same moment; this rule runs later and overwrites it. {EXCLUDE}"
    yield other.id, said


def _may_meet(one: Definition, other: Definition) -> bool:
    """Whether one event could match both."""
    mine, theirs = one.trigger.stored(), other.trigger.stored()
    if any(mine[n] is not None and theirs.get(n) is not None and mine[n] != theirs[n] for n in mine):
        return False
    return not never_holds(
        [(one.conditions.tree, True), (other.conditions.tree, True)], one.conditions.fields
    )


def _name_of(name: str) -> str:
    """The words for “deal.amount”: “the deal's amount”."""
    record_type, _, field_name = name.partition(".")
    kind, field = registry.record_types.get(record_type), fields_of(record_type).get(field_name)
    return f"the {kind.label.lower() if kind else record_type}'s {field.label if field else field_name}"


def _loops(rules: Sequence[Known]) -> Iterator[tuple[int, str]]:
    """Rules that start each other in a circle; each is told the way round."""
    writes = {rule.id: _written(rule.definition) for rule in rules}
    by_id = {rule.id: rule for rule in rules}
    next_ones = {
        one.id: [
            o.id
            for o in rules
            if (o is not one and writes[one.id] and _starts(writes[one.id], o.definition))
            or _calls(one.definition, writes[one.id], o)
        ]
        for one in rules
    }
    for rule in rules:
        way = _way_round(rule.id, next_ones)
        if way:
            said = " → ".join(f"“{by_id[rule_id].name}”" for rule_id in way)
            yield rule.id, f"It goes round: {said}. {ROUND}"


def _starts(written: Mapping[str, Any], other: Definition) -> bool:
    """Whether writing `written` may start the other rule, as far as its conditions can be told."""
    if not other.trigger.hears(written):
        return False
    fields = other.conditions.fields
    known: list[Test | Group] = [
        Test(field=field.name, operator="is", value=str(value))
        for name, value in written.items()
        if value not in (ANY, None)
        and name.startswith(f"{other.trigger.record_type}.")
        and (field := fields.get(name.partition(".")[2])) is not None
        and field.kind not in ("date", "moment")
    ]
    return not never_holds([(other.conditions.tree, True), (Group(items=known), True)], fields)


def _calls(one: Definition, written: Mapping[str, Any], other: Known) -> bool:
    """Whether a step starts the other rule by its name, and that may match then, as far as can be told."""
    off = asleep(one.steps)
    if not any(other.id in step.started() for n, step in enumerate(one.steps) if n not in off):
        return False
    is_as_it_was = set(written) <= {"run"} and all(step.type_id != "wait" for step in one.steps)
    before = [(one.conditions.tree, True)] if is_as_it_was else []
    return not never_holds([*before, (other.definition.conditions.tree, True)], one.conditions.fields)


def _way_round(start: int, next_ones: Mapping[int, Sequence[int]]) -> list[int]:
    """The shortest way from a rule back to itself; empty if there is none."""
    queue, came_from = deque([start]), dict[int, int]()
    while queue:
        here = queue.popleft()
        for there in next_ones.get(here, ()):
            if there == start:
                way = [start, here]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return [*reversed(way[1:]), start] if here != start else [start, start]
            if there not in came_from:
                came_from[there] = here
                queue.append(there)
    return []

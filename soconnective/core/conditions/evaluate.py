"""The Python back end: a verdict on one record, with what each test wanted and what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from soconnective.core.conditions.fields import Field
from soconnective.core.conditions.operators import OPERATORS, Now
from soconnective.core.conditions.tree import Group, Test, asked, read


class CannotTell(Exception):
    """A condition cannot be answered; the message is for people."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is looked at: a flat snapshot, and of an event what it changed (field -> old and new)."""

    values: Mapping[str, Any]
    now: Now
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One test: its path, the field, what was wanted, what was there, and whether they agree."""

    path: str
    label: str
    wanted: str
    actual: str
    passed: bool


def evaluate(group: Group, fields: Mapping[str, Field], facts: Facts) -> tuple[bool, list[Finding], str]:
    """Whether it holds, each test that was asked, and why not in words. Raises `CannotTell`."""
    found: list[Finding] = []
    holds, why = _group(group, fields, facts, "", found)
    return holds, found, why


def _group(
    group: Group, fields: Mapping[str, Field], facts: Facts, path: str, found: list[Finding]
) -> tuple[bool, str]:
    answers = []
    for index, item in enumerate(group.items):
        here = f"{path}-{index}" if path else str(index)
        if isinstance(item, Test):
            finding = _test(item, fields, facts, here)
            found.append(finding)
            answers.append((finding.passed, f"{finding.label} {finding.wanted}, was {finding.actual}"))
        else:
            answers.append(_group(item, fields, facts, here, found))
    if not answers:
        return True, ""
    failed = [why for passed, why in answers if not passed]
    if group.match == "all":
        return not failed, "; ".join(failed)
    if group.match == "any":
        return len(failed) < len(answers), f"none of: {'; '.join(failed)}" if len(failed) > 1 else "".join(
            failed
        )
    passed = [why for is_passed, why in answers if is_passed]
    return not passed, f"should not be: {'; '.join(why for why in passed if why) or 'what it is'}"


def require_there(field: Field, test: Test) -> None:
    """Raise `CannotTell` for a tag that is gone: it would never match, and nobody would learn why."""
    if field.is_gone(test.value):
        raise CannotTell(f"The condition “{field.label} …” names a tag that does not exist any more")


def _test(test: Test, fields: Mapping[str, Field], facts: Facts, path: str) -> Finding:
    known, operator = fields.get(test.field), OPERATORS.get(test.operator)
    if known is None or operator is None:
        raise CannotTell(f"The condition asks for “{test.field}”, which does not exist any more")
    require_there(known, test)
    wanted = read(known, operator, test)
    if operator.of_change:
        old, new = facts.changes.get(test.field, (None, None))
        passed = operator.says((known.read(old), known.read(new)), wanted, facts.now)
        actual = known.changed(old, new) if test.field in facts.changes else "not changed"
    else:
        passed = operator.says(known.read(facts.values.get(test.field)), wanted, facts.now)
        actual = known.actual(facts.values)
    return Finding(path, known.label, asked(known, operator, test.value), actual, passed)

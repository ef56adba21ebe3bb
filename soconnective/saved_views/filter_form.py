"""The filter of a list as a form in its address: what is typed there, and the address of what is asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from werkzeug.datastructures import MultiDict

from soconnective.core.conditions import Field, Group, Test, describe, each_test
from soconnective.core.conditions.form import MOST_GROUPS, MOST_ROWS, ConditionForm, GroupRows, Row
from soconnective.core.conditions.tree import MOST_TESTS

BLANK = "choose a field …"
TOO_MANY = f"A filter has at most {MOST_GROUPS} groups of {MOST_ROWS} conditions, {MOST_TESTS} in all."
Place = tuple[int, int]


@dataclass(frozen=True)
class Chip:
    """A part of the filter in words, and the rows it stands for."""

    text: str
    places: frozenset[Place]


class FilterForm(ConditionForm):
    """Read from the address (`source`), or from a view (`tree`); there is always a row to begin with."""

    def __init__(
        self,
        fields: Mapping[str, Field],
        tree: Group | None = None,
        source: MultiDict[str, str] | None = None,
        record_type: str | None = None,
    ) -> None:
        super().__init__(fields, tree, source, blank=BLANK, record_type=record_type)
        if self.too_many:
            self.errors.append(TOO_MANY)
        self.begin()

    def begin(self) -> None:
        if not self.groups:
            self._draw([("all", [MultiDict()])], self.match)

    def tree_or_errors(self) -> Group | None:
        tree = self.read_tree()
        if tree is not None and len(list(each_test(tree))) > MOST_TESTS:
            self.errors.append(TOO_MANY)
            return None
        return tree

    @property
    def number(self) -> int:
        """How many conditions there are."""
        return sum(not row.is_blank for group in self.groups for row in group.rows)

    def address(self, without: Collection[Place] = ()) -> MultiDict[str, str]:
        """The arguments that ask the same, numbered anew, some rows left out."""
        found: MultiDict[str, str] = MultiDict()
        number = 0
        for group in self.groups:
            rows = [r for r in group.rows if not r.is_blank and (r.group, r.index) not in without]
            if not rows:
                continue
            if group.match != "all":
                found[f"if-{number}-match"] = group.match
            for index, row in enumerate(rows):
                for part, values in row.posted.lists():
                    found.setlist(f"if-{number}-{index}-{part}", [one for one in values if one])
            number += 1
        if self.match != "all" and number > 1:
            found["if-match"] = self.match
        return found

    def chips(self) -> list[Chip]:
        """The filter in parts that can be taken away one by one."""
        kept = [group for group in self.groups if self._tests(group)]
        if len(kept) > 1 and self.match == "any":
            tree = Group(match="any", items=[self._said(group) for group in kept])
            return [Chip(describe(tree, self.fields), frozenset(p for g in kept for p in _places(g)))]
        return [chip for group in kept for chip in self._chips(group)]

    def _chips(self, group: GroupRows) -> list[Chip]:
        if group.match == "all":
            return [
                Chip(describe(Group(items=[test]), self.fields), frozenset({place}))
                for place, test in self._tests(group)
            ]
        return [Chip(describe(self._said(group), self.fields), frozenset(_places(group)))]

    def _tests(self, group: GroupRows) -> list[tuple[Place, Test]]:
        return [((row.group, row.index), test) for row in group.rows if (test := _complete(row))]

    def _said(self, group: GroupRows) -> Group:
        return Group(match=group.match, items=[test for _place, test in self._tests(group)])  # type: ignore[arg-type]


def _complete(row: Row) -> Test | None:
    """What the row asks; no message beside one that is not complete."""
    errors = list(row.errors)
    test = row.read()
    row.errors = errors
    return test


def _places(group: GroupRows) -> list[Place]:
    return [(row.group, row.index) for row in group.rows]

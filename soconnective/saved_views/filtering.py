"""Which rows of a list the address asks for: a view, the filter's form, and the quick boxes above the list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from flask import abort, g, request, url_for
from sqlalchemy import Select, literal
from werkzeug.datastructures import MultiDict

from soconnective.core import clock
from soconnective.core.conditions import Field, Group, Now, describe, matching
from soconnective.core.conditions.evaluate import CannotTell
from soconnective.core.conditions.form import NAME
from soconnective.core.listing import address, argument_id
from soconnective.core.workspace import current_workspace
from soconnective.saved_views.filter_form import FilterForm
from soconnective.saved_views.listed import Listed, asked_fields, for_person
from soconnective.saved_views.models import SavedView
from soconnective.saved_views.queries import may_change, views_of
from soconnective.saved_views.quick import Quick
from soconnective.saved_views.tree_text import UNREADABLE, both, is_shown, read, written

VIEW, MARK = "saved", "filter"  # the view of the address; the address says by itself what is asked
LONGEST_ADDRESS = 12_000
TOO_LONG = "This address asks more than a list can be asked at once."
MOST_TABS = 5
OPS = ("add", "remove", "redraw")


class ListFilter:
    """What the address of a list asks.

    `quick(has_view)` are its tabs and boxes as conditions: a view comes without the tabs' own. Nothing that a person
    can put into an address breaks it: what makes no sense is told beside its row, and the list is empty.
    """

    def __init__(
        self, listed: Listed, quick: Callable[[bool], Sequence[Quick]] = lambda _has_view: ()
    ) -> None:
        self.listed = listed
        self.fields: dict[str, Field] = asked_fields(listed)
        self.views = views_of(listed.record_type)
        self.view = self._chosen()
        self.quick = list(quick(self.view is not None))
        self.op = request.args.get("op", "").partition(":")[0]
        self.problem = ""
        self.tree = self._read()

    def _chosen(self) -> SavedView | None:
        wanted = argument_id(VIEW)
        if wanted is None:
            return None
        return next((view for view in self.views if view.id == wanted), None) or abort(404)

    def _read(self) -> Group:
        """The tree of the form; without one, `problem` or its rows say why."""
        self.says = MARK in request.args or any(_is_ours(name) for name in request.args)
        stored = None
        if self.view is not None and not self.says:
            stored = read(self.view.conditions)
            if stored is None or not is_shown(stored):
                stored, self.problem = Group(), UNREADABLE
        if len(request.query_string) > LONGEST_ADDRESS:
            self.problem = TOO_LONG
            self.form = FilterForm(self.fields, Group(), None, self.listed.record_type)
            return Group()
        if stored is not None:
            self.form = FilterForm(self.fields, stored, None, self.listed.record_type)
        else:
            self.form = FilterForm(self.fields, None, request.args, self.listed.record_type)
        if self.op in OPS:
            if self.op != "redraw":
                self.form.apply(request.args["op"])
                self.form.begin()
            return self.form.complete_tree()
        return self.form.tree_or_errors() or Group()

    @property
    def is_broken(self) -> bool:
        """Whether something was asked that cannot be answered; a row that is still being filled in does not count."""
        rows = (row for group in self.form.groups for row in group.rows)
        return bool(self.problem or self.form.errors) or any(row.errors for row in rows)

    @cached_property
    def whole(self) -> Group:
        """All that is asked, the boxes included, as a view would keep it."""
        return both([one.test for one in self.quick], self.tree)

    def apply(self, statement: Select[Any]) -> Select[Any]:
        """`statement` with only the rows that are asked for; none where that cannot be told."""
        if not self.is_broken:
            tree = for_person(self.whole, self.fields, g.person.id)
            try:
                return statement.where(matching(tree, self.fields, self.now))
            except CannotTell as error:
                self.problem = f"{error}."
        return statement.where(
            literal(0) == 1
        )  # `false()` would take the other conditions away, the tenant's among them

    @property
    def now(self) -> Now:
        return Now(clock.now(), current_workspace().timezone)

    # What the page shows.

    @property
    def is_open(self) -> bool:
        """Whether the form stands open: somebody is at it, or something in it is wrong."""
        return self.op in OPS or (self.is_broken and not self.problem)

    @property
    def default_sort(self) -> str | None:
        return self.view.sort if self.view is not None and self.listed.is_sort(self.view.sort) else None

    @property
    def sort(self) -> str | None:
        """The order that the address asks for, or the view's."""
        asked = request.args.get("sort")
        return asked if self.listed.is_sort(asked) else self.default_sort

    @property
    def text(self) -> str:
        """All that is asked, for a view."""
        return written(self.whole)

    @property
    def is_changed(self) -> bool:
        """Whether the address asks something else than its view."""
        view = self.view
        if view is None or self.is_broken:
            return False
        return self.text != view.conditions or self.sort != self.default_sort

    @property
    def is_refined(self) -> bool:
        """Whether more is asked than the tab itself."""
        return bool(self.tree.items) or any(not one.is_tab for one in self.quick) or self.sort is not None

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """What links of this list keep of the address."""
        kept = MultiDict(
            (name, value)
            for name, value in request.args.items(multi=True)
            if name not in ("op", MARK, "after", "before") and not _is_ours(name)
        )
        is_same = self.view is not None and self.text == self.view.conditions
        if self.says and not is_same and self.problem != TOO_LONG:
            kept.update(self.form.address())
            if self.view is not None:
                kept[MARK] = "1"
        return kept

    def url(self, **changes: Any) -> str:
        return address(self.listed.endpoint, self.args, **{"after": None, "before": None, **changes})

    def tab_url(self, **changes: Any) -> str:
        """The list under one of its own tabs; from a view, without it."""
        kept = self.args if self.view is None else MultiDict[str, str]()
        return address(self.listed.endpoint, kept, **changes)

    @property
    def chips(self) -> list[tuple[str, str]]:
        """Each part of the filter in words, with the address that asks without it."""
        found = [
            (describe(Group(items=[one.test]), self.fields), self.url(**{one.name: None}))
            for one in self.quick
            if not one.is_seen
        ]
        bare = MultiDict((n, v) for n, v in self.args.items(multi=True) if not _is_ours(n) and n != MARK)
        for chip in self.form.chips():
            rest = MultiDict([*bare.items(multi=True), *self.form.address(chip.places).items(multi=True)])
            if self.view is not None:
                rest[MARK] = "1"
            found.append((chip.text, address(self.listed.endpoint, rest)))
        return found

    @property
    def clear_url(self) -> str:
        """The list without its filter, or the view as it is kept."""
        kept = {name: None for name in self.args if _is_ours(name) or name == MARK}
        boxes = {one.name: None for one in self.quick if not one.is_tab}
        return self.url(**kept, **boxes, sort=None)

    @property
    def tabs(self) -> tuple[list[SavedView], list[SavedView]]:
        """The views that stand beside the list's own tabs, and those in the menu after them."""
        front = self.views[:MOST_TABS]
        if self.view is not None and self.view not in front:
            front = [*front[:-1], self.view]
        return front, [view for view in self.views if view not in front]

    def url_of(self, view: SavedView) -> str:
        return url_for(self.listed.endpoint, saved=view.id)

    @property
    def may_change(self) -> bool:
        return self.view is not None and may_change(self.view)


def _is_ours(name: str) -> bool:
    return name == "if-match" or (name.isascii() and NAME.fullmatch(name) is not None)

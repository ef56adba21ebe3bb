"""Conditions and form fields at their edges: what can never hold, one way of writing, what is typed and what is stored."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import MultiDict
from wtforms import Form

from soconnective.core.conditions import (
    Field,
    Group,
    Now,
    Test,
    evaluate,
    fields_of,
    never_holds,
    normal,
    register_more_fields,
    where,
)
from soconnective.core.conditions import fields as conditions_fields
from soconnective.core.conditions.evaluate import Facts
from soconnective.core.conditions.form import ConditionForm
from soconnective.core.db import db
from soconnective.core.fields import AmountField, ClockField, DayField, IdField
from soconnective.core.tenancy import acting_in
from soconnective.tasks.models import Task
from tests.factories.records import make_deal

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_a_list_that_cannot_be_asked_in_sql_says_so(inside: Any) -> None:
    """Declared wrongly by an area: found when it is asked, never answered wrongly."""
    broken = Field("labels", "labels", "tags", column=lambda: Task.id, choices=lambda: [("1", "One")])
    tree = Group(items=[Test(field="labels", operator="include", value="1")])
    with pytest.raises(TypeError, match="labels is no list"):
        where(tree, {"labels": broken}, Now(AT, "UTC"))
    assert evaluate(tree, {"labels": broken}, Facts({"labels": [1]}, Now(AT, "UTC")))[0]


LABELS = Field("labels", "labels", "tags", choices=lambda: [("1", "One"), ("2", "Two")])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([], [1], "gained One"), ([1], [], "lost One"), ([2], [1], "gained One, lost Two"), ([], [], "not changed"),
        (None, [1, 2], "gained One, Two"), ([7], None, "lost one that is gone"),
    ],
)  # fmt: skip
def test_a_changed_list_is_told_by_what_came_and_left(old: Any, new: Any, said: str) -> None:
    assert LABELS.changed(old, new) == said


@pytest.mark.parametrize("value", [None, "", [], "9"])
def test_what_has_no_label_has_none(value: Any) -> None:
    assert LABELS.label_of(value) is None


def both(*tests: tuple[str, str, Any], match: str = "all") -> list[tuple[Group, bool]]:
    items = [Test(field=f, operator=o, value=v) for f, o, v in tests]
    return [(Group(match=match, items=items), True)]  # type: ignore[arg-type]


IMPOSSIBLE = [
    (both(("amount", "greater", "5"), ("amount", "less", "5")), True),
    (both(("amount", "greater", "5"), ("amount", "less", "5.01")), False),  # 5.005 lies between: sound, not complete
    (both(("amount", "empty", None), ("amount", "at_least", "0")), True),
    (both(("amount", "empty", None)), False),
    (both(("source", "is", "web"), ("source", "is", "fair")), True),
    (both(("source", "one_of", ["web", "fair"]), ("source", "is_not", "web")), False),
    (both(("source", "contains", "ab"), ("source", "not_contains", "a")), True),
    (both(("source", "starts_with", "ab"), ("source", "starts_with", "ac")), True),
    (both(("source", "starts_with", "ab"), ("source", "starts_with", "a")), False),
    (both(("source", "ends_with", "ba"), ("source", "ends_with", "ca")), True),
    (both(("source", "changed", None), ("source", "contains", "a")), False),
    (both(("source", "empty", None), ("source", "contains", "a")), True),
    (both(("expected_close_on", "before", "2026-01-02"), ("expected_close_on", "after", "2026-01-01")), True),
    (both(("expected_close_on", "next_days", "3"), ("expected_close_on", "last_days", "3")), False),  # today
    (both(("expected_close_on", "empty", None), ("expected_close_on", "next_days", "3")), True),
    (both(("expected_close_on", "past", None), ("expected_close_on", "not_past", None)), True),
    (both(("expected_close_on", "past", None), ("expected_close_on", "next_days", "3")), True),
    (both(("expected_close_on", "past", None), ("expected_close_on", "on", "2199-01-01")), False),  # some day it will be
    (both(("expected_close_on", "not_past", None), ("expected_close_on", "before", "2000-01-01")), False),
    (both(("expected_close_on", "past", None), ("expected_close_on", "empty", None)), True),
    (both(("stage_entered_at", "on", "2026-01-01"), ("stage_entered_at", "on", "2026-01-02")), True),  # a moment
    (both(("stage_entered_at", "before", "2026-01-02"), ("stage_entered_at", "after", "2026-01-01")), True),
    (both(("stage_entered_at", "last_days", "3"), ("stage_entered_at", "not_empty", None)), False),
    (both(("source", "starts_with", "a"), match="none"), False),  # what has no opposite is left out
    (both(("owner_id", "is", "1"), ("owner_id", "is", "2")), True),
    (both(("stage_id", "changed_to", "1"), ("stage_id", "changed_to", "2")), True),
    (both(("stage_id", "changed_to", "1"), ("stage_id", "changed_from", "2")), False),
    (both(("tag_ids", "include", "1"), ("tag_ids", "include_not", "1")), False),  # nobody looks at lists
    (both(("amount", "contains", "1")), False),  # makes no sense, which another check tells
    (both(("gone", "is", "1")), False),
    (both(("amount", "is", "nonsense")), False),
    ([(Group(match="any"), True)], False),
    ([(Group(), False)], True),  # an empty group holds
    ([*both(("amount", "greater", "5")), (Group(match="none", items=both(("amount", "greater", "1"))[0][0].items), True)], True),
    ([(both(("amount", "greater", "5"))[0][0], False), *both(("amount", "at_least", "5.01"))], True),
    (both(*[("amount", "is", str(n)) for n in range(15)], match="any") * 2 + both(*[("amount", "is", "x")], match="any"), False),
    (both(*[("amount", "is", str(n)) for n in range(15)], match="any") * 3, False),  # too many ways to look at
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(IMPOSSIBLE)))
def test_what_can_never_hold(inside: Any, number: int) -> None:
    asked, never = IMPOSSIBLE[number]
    assert never_holds(asked, fields_of("deal")) is never


EMPTY = Group()
LEAF = Test(field="amount", operator="empty")
NORMAL = [
    (Group(items=[EMPTY, LEAF]), Group(items=[LEAF])),
    (Group(match="any", items=[LEAF]), Group(items=[LEAF])),
    (Group(items=[Group(match="none", items=[LEAF])]), Group(match="none", items=[LEAF])),
    (Group(match="any", items=[Group(items=[EMPTY]), LEAF, Group(items=[LEAF])]), Group(match="any", items=[LEAF, LEAF])),
    (Group(match="any"), Group()),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NORMAL)))
def test_groups_that_say_nothing_go_and_one_item_needs_no_joining(number: int) -> None:
    written, meant = NORMAL[number]
    assert normal(written) == meant == normal(meant)


def test_fields_of_a_workspace_are_asked_only_inside_one(app: Flask, team: Any) -> None:
    assert fields_of(None) == {} and fields_of("boat") == {}
    register_more_fields("boat", lambda: [LABELS])
    try:
        assert fields_of("boat") == {}
        with app.app_context(), acting_in(team.id):
            assert fields_of("boat") == {"labels": LABELS}
    finally:
        conditions_fields._more.pop("boat")


@pytest.mark.parametrize(
    ("kind", "typed", "stored"),
    [
        ("date", " 2026-12-31 ", "2026-12-31"), ("moment", "2026-01-01", "2026-01-01"), ("number", "1,250.50", "1250.5"),
        ("text", " Web ", "Web"), ("tags", "1", "1"),
    ],
)  # fmt: skip
def test_what_is_typed_is_stored_in_one_way(kind: Any, typed: str, stored: str) -> None:
    assert Field("x", "x", kind, choices=LABELS.choices).clean(typed) == stored


@pytest.mark.parametrize(
    ("kind", "typed", "said"),
    [("tags", "9", "Choose a tag"), ("date", "1899-12-31", "between 1900"), ("number", "Infinity", "two decimals"), ("number", "1e", "Write a number")],
)  # fmt: skip
def test_what_cannot_be_stored_is_told(kind: Any, typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Field("x", "x", kind, choices=LABELS.choices).clean(typed)


# --- fields of forms ------------------------------------------------------------------------------------


class Some(Form):  # type: ignore[misc]
    deal = IdField("Deal", record_type="deal")
    day = DayField("Day")
    at = ClockField("At")
    amount = AmountField("Amount")


def said_of(inside: Any, **typed: str) -> tuple[Some, dict[str, Any]]:
    form = Some(MultiDict(typed))
    form.deal.offer([])
    form.validate()
    return form, {name: list(found) for name, found in form.errors.items()}


def test_a_record_that_was_found_by_its_words_is_put_on_the_list(inside: Any, rivals: Any) -> None:
    mine = make_deal(inside.stages["Lead"], "Found").id
    with acting_in(rivals.id):
        theirs = [make_deal(rivals.stages["Lead"], "Theirs").id for _ in range(2)][-1]
        db.session.rollback()
    form, errors = said_of(inside, deal=str(mine))
    assert errors == {} and (str(mine), "Found") in [(one.value, one.label) for one in form.deal.choices]
    assert said_of(inside, deal=str(theirs))[1] == {"deal": ["Choose one of the list."]}
    assert said_of(inside)[1] == {}


FORM_CASES = [
    ({"day": "2199-12-31"}, {}), ({"day": "2200-01-01"}, {"day": ["Choose a date between 1900 and 2199."]}),
    ({"day": "1066-10-14"}, {"day": ["Choose a date between 1900 and 2199."]}),
    ({"amount": "Infinity"}, {"amount": ["Write an amount like 1250.00."]}), ({"amount": "NaN"}, {"amount": ["Write an amount like 1250.00."]}),
    ({"amount": "1 250,50"}, {}), ({"amount": "1,250.50"}, {}), ({"at": "09:30"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "errors"), FORM_CASES)
def test_what_days_and_amounts_take(inside: Any, typed: Any, errors: Any) -> None:
    assert said_of(inside, **typed)[1] == errors


def test_a_clock_reads_what_settings_store() -> None:
    assert Some(None, at="09:30").at.data == time(9, 30) == Some(None, at=time(9, 30)).at.data


@pytest.mark.parametrize(("value", "kept"), [("", True), ("12", True), ("a lot", False), ("\u0007", False)])
def test_a_draft_may_lack_a_value_but_holds_no_wrong_one(inside: Any, value: str, kept: bool) -> None:
    source = MultiDict({"if-0-0-field": "amount", "if-0-0-operator": "greater", "if-0-0-value": value})
    form = ConditionForm(fields_of("deal"), source=source)
    tree = form.read_tree(is_draft=True)
    assert (tree is not None) is kept
    assert bool(form.groups[0].rows[0].errors) is not kept
    if tree is not None:
        assert tree.items == [Test(field="amount", operator="greater", value=value)]


def test_conditions_deeper_than_the_page_shows_are_told_of(inside: Any) -> None:
    test = Test(field="amount", operator="greater", value="5")
    deep = Group(items=[Group(items=[test, Group(items=[test, test])]), test])
    told = ConditionForm(fields_of("deal"), deep).errors
    assert len(told) == 1 and "deeper than this page shows; saving keeps only what it shows" in told[0]
    assert ConditionForm(fields_of("deal"), Group(items=[Group(items=[test, test]), test])).errors == []

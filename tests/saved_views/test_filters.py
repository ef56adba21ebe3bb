"""Filters of lists: the rows are those of the Python verdict, page by page; whatever an address says, nothing breaks."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from werkzeug.datastructures import MultiDict

from soconnective.appointments.operations import schedule_appointment
from soconnective.core import clock
from soconnective.core.conditions import Facts, Group, Now, Test, evaluate, matching, operators_of, where
from soconnective.core.conditions.form import _choices
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.operations import create_deal
from soconnective.events.watch import watches
from soconnective.saved_views import filtering
from soconnective.saved_views.filter_form import FilterForm
from soconnective.saved_views.listed import asked_fields, for_person, lists
from soconnective.saved_views.operations import create_view
from soconnective.saved_views.tree_text import both, is_shown, read, written
from soconnective.tasks.operations import complete_task, create_task
from tests.core.test_conditions import AMOUNTS, DAYS, WORDS
from tests.factories.records import make_company, make_contact, make_deal, make_tag

AREAS = {
    "contact": "contacts",
    "company": "companies",
    "deal": "deals",
    "task": "tasks",
    "appointment": "appointments",
}


def make_records(team: Any) -> None:
    """Some of each kind, with empty values among them."""
    people = [None, team.owner.id, team.member.id]
    tags = [make_tag(name).id for name in ("VIP", "Fair")]
    companies = [make_company(f"Firm {w}", domain=[None, f"d{n}.example"][n % 2], owner_id=people[n % 3], tag_ids=tags[: n % 3])
                 for n, w in enumerate(WORDS[:6])]  # fmt: skip
    contacts = [make_contact(w, "Ruiz", [None, f"p{n}@x.example"][n % 2], company_id=[None, companies[n].id][n % 2],
                             owner_id=people[n % 3], tag_ids=tags[n % 3 :]) for n, w in enumerate(WORDS[:6])]  # fmt: skip
    deals = [
        make_deal(
            list(team.stages.values())[n % 6], WORDS[n], amount=[None, AMOUNTS[n % 6]][n % 2], owner_id=people[n % 3], lost_reason="price",
            company_id=[None, companies[n % 6].id][n % 2], contact_ids=[contacts[n % 6].id][: n % 2], tag_ids=tags[: n % 3],
            expected_close_on=[None, DAYS[n % 8]][n % 2],
        )
        for n in range(10)
    ]  # fmt: skip
    with write_transaction():
        for n in range(10):
            task = create_task(f"Do {WORDS[n]}", deal_id=[None, deals[n].id][n % 2], due_on=[None, DAYS[n % 8]][n % 2],
                               assignee_id=people[n % 3], priority=["high", "normal", "low"][n % 3])  # fmt: skip
            if n % 3 == 0:
                complete_task(task)
            start = clock.now() + timedelta(days=n - 5)
            schedule_appointment(f"At {WORDS[n]}", start, start + timedelta(hours=1), deal_id=[None, deals[n].id][n % 2],
                                 owner_id=people[n % 3], place=[None, "Office"][n % 2])  # fmt: skip


@st.composite
def asked_trees(draw: Any, fields: Any) -> Group:
    """What the form can show: conditions, or groups of them."""

    def tests() -> list[Test]:
        return [draw_test() for _ in range(draw(st.integers(1, 2)))]

    def draw_test() -> Test:
        field = draw(
            st.sampled_from(
                [f for f in fields.values() if f.kind not in ("tags", "record") or _choices(f, [])]
            )
        )
        operator = draw(st.sampled_from(operators_of(field)))
        offered = (
            [choice.value for choice in _choices(field, [])]
            if field.kind in ("choice", "tags", "person", "record")
            else None
        )
        one = st.sampled_from(
            offered or {"number": AMOUNTS, "text": WORDS}.get(field.kind) or [day.isoformat() for day in DAYS]
        )
        value: Any = None
        if operator.takes == "days":
            value = str(draw(st.integers(0, 9)))
        elif operator.takes == "two":
            value = sorted(draw(st.lists(one, min_size=2, max_size=2)), key=field.read)
        elif operator.takes == "many":
            value = draw(st.lists(one, min_size=1, max_size=3, unique=True))
        elif operator.takes == "one":
            value = draw(one)
        return Test(field=field.name, operator=operator.id, value=value)

    how = st.sampled_from(["all", "any", "none"])
    if draw(st.booleans()):
        return Group(match=draw(how), items=tests())
    return Group(
        match=draw(st.sampled_from(["all", "any"])),
        items=[Group(match=draw(how), items=tests()) for _ in range(2)],
    )


@pytest.mark.parametrize("kind", AREAS)
def test_a_list_shows_what_the_python_verdict_says(app: Flask, team: Any, owner: Any, kind: str) -> None:
    compare(app, team, owner, kind, [Phase.generate, Phase.shrink])


def compare(app: Flask, team: Any, owner: Any, kind: str, phases: list[Phase]) -> None:
    listed, counts = lists()[kind], {"some": 0, "tried": 0}
    declared = next(watch for watch in watches.values() if watch.record_type == kind)
    with app.app_context(), acting_in(team.id):
        make_records(team)
        with write_transaction():
            view_id = create_view(listed, "All", Group(), None, team.owner.id, is_shared=False).id
        fields = asked_fields(listed)
        now = Now(clock.now(), "Europe/Madrid")
        rows = {
            row.id: Facts(
                {**declared.snapshot(row), **{f.name: getattr(row, f.name) for f in listed.more}}, now
            )
            for row in db.session.scalars(select(declared.model))
        }

        @given(asked_trees(fields))
        @settings(
            max_examples=18,
            derandomize=True,
            deadline=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        )
        def agree(tree: Group) -> None:
            args = FilterForm(fields, tree).address()
            if any(not text for name, text in args.items(multi=True) if name.endswith("value")):
                return
            answer = owner.get(
                f"/dashboard/{AREAS[kind]}",
                query_string=MultiDict([("saved", view_id), ("filter", "1"), *args.items(multi=True)]),
            )
            shown = {
                int(one)
                for one in re.findall(
                    rf'primary-link[^"]*" href="/dashboard/{AREAS[kind]}/(\d+)"', answer.text
                )
            }
            mine = for_person(tree, fields, team.owner.id)
            wanted = {row_id for row_id, facts in rows.items() if evaluate(mine, fields, facts)[0]}
            assert answer.status_code == 200 and shown == wanted, (args, shown ^ wanted)
            counts["some"] += 0 < len(shown) < len(rows)
            counts["tried"] += 1

        agree()
        db.session.rollback()
    assert counts["some"] >= 1 and len(rows) >= 6, counts


def test_the_proof_sees_a_filter_that_forgets_a_condition(
    app: Flask, team: Any, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        filtering, "matching", lambda tree, fields, now: matching(Group(items=tree.items[:1]), fields, now)
    )
    with pytest.raises((AssertionError, ExceptionGroup)):
        compare(app, team, owner, "deal", [Phase.generate])


def test_plain_comparisons_can_use_an_index(inside: Any) -> None:
    fields, now = asked_fields(lists()["deal"]), Now(clock.now(), "UTC")
    tree = Group(
        items=[
            Test(field="status", operator="is", value="open"),
            Test(field="stage_id", operator="one_of", value=["1"]),
        ]
    )
    assert "coalesce" in str(where(tree, fields, now)) and "coalesce" not in str(matching(tree, fields, now))
    none = tree.model_copy(update={"match": "none"})
    assert str(matching(none, fields, now)) == str(where(none, fields, now))


def test_every_row_comes_once_under_a_filter(app: Flask, team: Any, owner: Any) -> None:
    """Pages forwards and back, with words searched beside, keep the filter, all values of a choice among it."""
    with app.app_context(), acting_in(team.id), write_transaction():
        for n in range(130):
            stage_id = [team.stages["Lead"], team.stages["Proposal"], team.stages["Qualified"]][n % 3]
            create_deal(f"Deal no {n:03}", stage_id, amount=[None, 5, n][n % 3])
        db.session.flush()
    args = MultiDict([("if-0-0-field", "stage_id"), ("if-0-0-operator", "one_of"), ("if-0-0-value", team.stages["Lead"]),
                      ("if-0-0-value", team.stages["Proposal"]), ("sort", "-amount"), ("q", "deal")])  # fmt: skip
    page = owner.get("/dashboard/deals", query_string=args).text
    assert "87 in all" in page
    seen, number = [], 1
    seen += re.findall(r"Deal no (\d+)</a>", page)
    while found := re.search(r'rel="next" href="([^"]+)"', page):
        page = owner.get(found[1].replace("&amp;", "&")).text
        seen += re.findall(r"Deal no (\d+)</a>", page)
        number += 1
    assert number == 2 and len(seen) == 87 == len(set(seen)) and all(int(n) % 3 != 2 for n in seen)
    back = re.search(r'rel="prev" href="([^"]+)"', page)
    assert back is not None
    assert re.findall(r"Deal no (\d+)</a>", owner.get(back[1].replace("&amp;", "&")).text) == seen[:50]


ROW = {"if-0-0-field": "amount", "if-0-0-operator": "at_least", "if-0-0-value": "5"}
TITLE = {"if-0-0-field": "title", "if-0-0-operator": "is"}
WRONG: list[tuple[Any, str]] = [
    ({**ROW, "if-0-0-value": "<b>lots</b>"}, "Write a number"), ({**ROW, "if-0-0-value": ""}, "Write what to compare with"),
    ({**ROW, "if-0-0-field": "password"}, "This field does not exist here"), ({**ROW, "if-0-0-field": "__class__"}, "does not exist here"),
    ({**ROW, "if-0-0-operator": "between", "if-0-0-other": "1"}, "must not be more"), ({**TITLE, "if-0-0-value": "x" * 201}, "200 characters"),
    ({**TITLE, "if-0-0-value": "a\u202eb"}, "cannot be stored"),
    ({**TITLE, "if-0-0-operator": "one_of", "if-0-0-value": ",".join(map(str, range(60)))}, "Choose 50 at most"),
    ({"if-0-0-field": "stage_id", "if-0-0-operator": "one_of", "if-0-0-value": [str(n) for n in range(900, 990)]}, "Choose from the list"),
    ({"if-0-0-field": "owner_id", "if-0-0-operator": "is", "if-0-0-value": "99999"}, "Choose from the list"),
    ({"if-0-0-field": "tag_ids", "if-0-0-operator": "include", "if-0-0-value": "77"}, "does not exist any more"),
    ({"if-0-0-field": "expected_close_on", "if-0-0-operator": "last_days", "if-0-0-value": "²"}, "number of days"),
    ({"if-0-0-field": "expected_close_on", "if-0-0-operator": "on", "if-0-0-value": "2026-02-30"}, "Write a date"),
    ({f"if-0-{n}-field": "title" for n in range(30)}, "at most"),
    ({f"if-{n}-0-{part}": value for n in range(12) for part, value in (("field", "source"), ("operator", "empty"))}, "at most"),
    ({f"if-{n // 20}-{n % 20}-{part}": value for n in range(60) for part, value in (("field", "source"), ("operator", "empty"))}, "at most"),
    ({"q": "x" * 13_000}, "more than a list can be asked"), ({**ROW, "tag_id": "77"}, "names a tag that does not exist any more"),
]  # fmt: skip


@pytest.fixture
def some_deal(app: Flask, team: Any) -> None:
    with app.app_context(), acting_in(team.id):
        make_deal(team.stages["Lead"], "The only deal", amount="7")
        db.session.rollback()


def test_what_makes_no_sense_is_told_and_nothing_is_listed(owner: Any, some_deal: None) -> None:
    for asked, message in WRONG:
        answer = owner.get("/dashboard/deals", query_string=asked)
        assert answer.status_code == 200, asked
        assert message in answer.text and "nothing is listed" in answer.text.lower(), (
            str(asked)[:80],
            message,
        )
        assert "The only deal" not in answer.text
        panel = owner.get("/dashboard/views/filter/deal", query_string=asked)
        assert panel.status_code == 200 and '<details class="menu filter" id="filter"' in panel.text
    page = owner.get("/dashboard/deals", query_string=WRONG[0][0]).text
    assert (
        'value="&lt;b&gt;lots&lt;/b&gt;"' in page
        and 'aria-describedby="if-0-0-error"' in page
        and " open>" in page
    )


ODD: list[Any] = [
    {"if-²-0-field": "title"}, {"if-9999-0-field": "title"}, {"if-0-0-field-x": "1"}, {"if-0": "x"}, {"if-": "x"}, {"if-0-0-value": "x"},
    {"if-match": "x" * 5000}, {"if-0-match": "maybe", **ROW}, {"op": "add:99999999999"}, {"op": "remove:9:9", **ROW}, {"op": "remove:²:1"},
    {"op": "add"}, {"op": "redraw", "if-0-0-field": "company_id"}, {"op": "rm -rf", **ROW}, {"filter": "x"}, {"saved": "abc"}, {"saved": "9" * 99},
    {**ROW, "if-0-0-operator": "changed"}, {**ROW, "if-0-0-operator": "' or 1=1"}, {**TITLE, "if-0-0-value": "'; DROP TABLE deals; --"},
    {**TITLE, "if-0-0-value": ["a", "b", "c"]}, {"conditions": '{"items":' * 500}, {"endpoint": "x", "_scheme": "y", "_method": "POST", "_anchor": "z", **ROW},
    {"sort": "-" * 50}, {"sort": "amount", "after": "x", **ROW}, "if-0-0-field=title&if-0-0-operator=is&if-0-0-value=%ED%B3%BF", "if-0-0-field=%FF&if-%FF=%FF",
]  # fmt: skip


def test_nothing_that_an_address_says_breaks_a_list(owner: Any, some_deal: None) -> None:
    for area in AREAS.values():
        for asked in ODD:
            assert owner.get(f"/dashboard/{area}", query_string=asked).status_code == 200, (area, asked)
        assert owner.get(f"/dashboard/{area}", query_string={"saved": 2**40}).status_code == 404
        assert (
            owner.get(f"/dashboard/{area}", query_string={**TITLE, "if-0-0-value": "\x00"}).status_code == 400
        )
    for kind in AREAS:
        for asked in ODD:
            assert owner.get(f"/dashboard/views/filter/{kind}", query_string=asked).status_code == 200, (
                kind,
                asked,
            )
    assert owner.get("/dashboard/views/filter/user").status_code == 404


def test_a_part_of_the_filter_is_taken_away_and_rows_come_and_go(owner: Any, some_deal: None) -> None:
    asked = {**ROW, "if-0-1-field": "title", "if-0-1-operator": "contains", "if-0-1-value": "nothing has it"}
    page = owner.get("/dashboard/deals", query_string=asked).text
    assert "The only deal" not in page
    away = re.findall(r'href="([^"]+)" title="Take away" aria-label="Take away: title contains', page)
    assert len(away) == 1 and "The only deal" in owner.get(away[0].replace("&amp;", "&")).text
    panel = owner.get("/dashboard/views/filter/deal", query_string={**asked, "op": "add:0"}).text
    assert panel.count('class="filter-row"') == 3 and "field-error" not in panel and "autofocus" in panel
    less = owner.get("/dashboard/deals", query_string={**asked, "op": "remove:0:1"}).text
    assert less.count('class="filter-row"') == 1 and "The only deal" in less
    half = owner.get("/dashboard/deals", query_string={**ROW, "if-0-1-field": "title", "op": "redraw"}).text
    assert "The only deal" in half and "field-error" not in half and 'name="if-0-1-operator"' in half


def test_the_boxes_above_a_list_are_conditions_too(app: Flask, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        company = make_company("Alder")
        make_deal(
            team.stages["Lead"],
            "Late one",
            expected_close_on=DAYS[0].replace(year=2020),
            company_id=company.id,
        )
        make_deal(
            team.stages["Won"],
            "Won late",
            expected_close_on=DAYS[0].replace(year=2020),
            owner_id=team.owner.id,
        )
        make_deal(team.stages["Lead"], "In time", expected_close_on=DAYS[0].replace(year=2199))
        company_id = company.id
        db.session.rollback()
    for asked, wanted in (
        ({"overdue": 1}, {"Late one"}), ({"status": "won"}, {"Won late"}), ({"company_id": company_id, "status": "all"}, {"Late one"}),
        ({"mine": 1, "status": "all"}, {"Won late"}), ({}, {"Late one", "In time"}), ({"stage_id": team.stages["Won"]}, set()),
        ({"stage_id": 2**40}, set()), ({"owner_id": team.owner.id, "status": "all"}, {"Won late"}),
    ):  # fmt: skip
        page = owner.get("/dashboard/deals", query_string=asked).text
        assert set(re.findall(r">(Late one|Won late|In time)</a>", page)) == wanted, asked
    assert "company is Alder" in owner.get("/dashboard/deals", query_string={"company_id": company_id}).text


def test_a_filter_shows_only_the_workspaces_own_rows(app: Flask, team: Any, rivals: Any, owner: Any) -> None:
    with app.app_context(), acting_in(rivals.id):
        make_company("Pad")
        theirs = make_company("Theirs Ltd", domain="theirs.example")
        theirs_id = theirs.id
        make_deal(rivals.stages["Lead"], "Their deal", company_id=theirs.id)
        db.session.rollback()
    for asked in (
        {**TITLE, "if-0-0-operator": "not_empty"},
        {"if-0-0-field": "company_domain", "if-0-0-operator": "contains", "if-0-0-value": "theirs"},
    ):
        page = owner.get("/dashboard/deals", query_string={**asked, "status": "all"}).text
        assert "No deal matches" in page and "Their deal" not in page
    company = {"if-0-0-field": "company_id", "if-0-0-operator": "is", "status": "all"}
    pages = [
        owner.get("/dashboard/deals", query_string={**company, "if-0-0-value": one}).text
        for one in (theirs_id, 2**40)
    ]
    assert "Choose from the list" in pages[0] and "Theirs" not in pages[0]
    bare = [
        re.sub(rf'\b({theirs_id}|{2**40})\b|nonce="[^"]*"|value="[^"]{{40,}}"', "", page) for page in pages
    ]
    assert bare[0] == bare[1]


def a(field: str) -> Test:
    return Test(field=field, operator="empty")


@pytest.mark.parametrize(
    ("tree", "wanted", "shown"),
    [
        (Group(), Group(items=[a("q")]), True),
        (Group(items=[a("x"), a("y")]), Group(items=[a("q"), a("x"), a("y")]), True),
        (Group(match="any", items=[a("x"), a("y")]), Group(items=[Group(items=[a("q")]), Group(match="any", items=[a("x"), a("y")])]), True),
        (Group(items=[Group(match="any", items=[a("x")]), Group(items=[a("y")])]),
         Group(items=[Group(items=[a("q")]), Group(match="any", items=[a("x")]), Group(items=[a("y")])]), True),
        (Group(match="any", items=[Group(items=[a("x"), a("y")]), Group(items=[a("z")])]),
         Group(match="any", items=[Group(items=[a("q"), a("x"), a("y")]), Group(items=[a("q"), a("z")])]), True),
        (Group(match="any", items=[Group(match="none", items=[a("x")]), Group(items=[a("z")])]), None, False),
    ],
)  # fmt: skip
def test_boxes_and_filter_are_put_together_so_that_the_form_can_show_them(
    tree: Group, wanted: Any, shown: bool
) -> None:
    made = both([a("q")], tree)
    assert is_shown(made) is shown
    assert wanted is None or made == wanted
    assert both([], tree) == tree
    again = read(written(made))
    assert again is not None and written(again) == written(made)

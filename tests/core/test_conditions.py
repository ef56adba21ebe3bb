"""Conditions: the Python verdict and the SQL filter say the same of every record and every tree."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from soconnective.appointments.operations import schedule_appointment
from soconnective.contacts.operations import create_company, create_contact
from soconnective.core import clock
from soconnective.core.conditions import (
    Facts,
    Group,
    Now,
    Test,
    describe,
    each_test,
    evaluate,
    fields_of,
    matching,
    operators_of,
    problems,
    where,
)
from soconnective.core.conditions.evaluate import CannotTell
from soconnective.core.conditions.fields import _fields
from soconnective.core.db import db, write_transaction
from soconnective.deals.events import snapshot as deal_snapshot
from soconnective.deals.models import Deal
from soconnective.events import watched_models
from soconnective.events.watch import watches
from soconnective.tasks.operations import create_task
from tests.factories.records import make_company, make_contact, make_deal, make_tag

WORDS = ["Ana", "ana", "ÀÉß", "İstanbul", "ΑΣ", "100%", "a_b", "x'y", "\\", " space", "a/b", "Ana Ruiz"]
DAYS = [date(2026, 11, 20) + timedelta(days=n) for n in range(8)]
AMOUNTS = ["0", "0.01", "5", "99.99", "100", "999999999999.99"]
TODAY = datetime(2026, 11, 24, 23, 30, tzinfo=clock.UTC)  # the 25th in Madrid


@pytest.fixture
def deals(inside: Any) -> list[Deal]:
    """Deals with all kinds of values, the empty ones among them."""
    companies = [make_company("Acme", domain="acme.example"), make_company("Globex")]
    contacts = [make_contact("Ana", email="Ana@x.example", job_title="Ana's Boss"), make_contact("Bo")]
    tags = [make_tag(name) for name in ("VIP", "Éclair", "vip 2", "No deal has it")]
    return [
        make_deal(
            list(inside.stages.values())[number % 6],
            WORDS[number % len(WORDS)],
            amount=None if number % 4 == 0 else Decimal(AMOUNTS[number % len(AMOUNTS)]),
            source=None if number % 3 == 0 else WORDS[(number * 5) % len(WORDS)],
            owner_id=[None, inside.owner.id, inside.member.id][number % 3],
            company_id=None if number % 5 == 0 else companies[number % 2].id,
            contact_ids=[] if number % 2 else [contacts[number % 4 // 2].id],
            expected_close_on=None if number % 7 == 0 else DAYS[number % len(DAYS)],
            lost_reason="price",
            tag_ids=[tag.id for place, tag in enumerate(tags) if number >> place & 1],
        )
        for number in range(24)
    ]


def a_value(field: Any, operator: Any, draw: Any) -> Any:
    texts: dict[str, Any] = {
        "text": st.sampled_from(
            [*WORDS, "a", "ß", "i", "σ", "%", "_", "acme.example", "ana@X.example", "boss"]
        ),
        "number": st.sampled_from(AMOUNTS),
        "date": st.sampled_from(DAYS).map(date.isoformat),
        "moment": st.sampled_from(DAYS).map(date.isoformat),
        "choice": st.sampled_from([value for value, _ in field.choices()] if field.choices else ["x"]),
        "person": st.sampled_from(["1", "2", "3"]),
        "record": st.sampled_from(["1", "2"]),
        "tags": st.sampled_from([value for value, _ in field.choices()] if field.choices else []),
    }
    one = texts[field.kind]
    if operator.takes == "nothing":
        return None
    if operator.takes == "days":
        return str(draw(st.integers(0, 9)))
    if operator.takes == "two":
        return sorted(draw(st.lists(one, min_size=2, max_size=2)), key=field.read)
    if operator.takes == "many":
        return draw(st.lists(one, min_size=1, max_size=3))
    return draw(one)


@st.composite
def trees(draw: Any, deep: int = 2, kind: str | None = None) -> Group:
    """Of the fields of a deal, or of those of one kind."""
    known = [
        field
        for field in fields_of("deal").values()
        if kind in (None, field.kind) and (field.kind != "tags" or (field.choices and field.choices()))
    ]
    items: list[Any] = []
    for _ in range(draw(st.integers(0, 3))):
        if deep and draw(st.booleans()):
            items.append(draw(trees(deep - 1, kind)))
        else:
            field = draw(st.sampled_from(known))
            operator = draw(st.sampled_from(operators_of(field)))
            items.append(Test(field=field.name, operator=operator.id, value=a_value(field, operator, draw)))
    return Group(match=draw(st.sampled_from(["all", "any", "none"])), items=items)


def test_both_back_ends_agree(inside: Any, deals: list[Deal]) -> None:
    known = fields_of("deal")
    now = Now(TODAY, "Europe/Madrid")
    facts = {deal.id: Facts(deal_snapshot(deal), now) for deal in deals}
    counts = {"all": 0, "some": 0}
    asked: Counter[str] = Counter()

    def agree(tree: Group) -> None:
        by_python = {deal_id for deal_id, found in facts.items() if evaluate(tree, known, found)[0]}
        by_sql = set(db.session.scalars(select(Deal.id).where(where(tree, known, now))))
        assert by_python == by_sql, (describe(tree, known), by_python ^ by_sql)
        assert by_sql == set(db.session.scalars(select(Deal.id).where(matching(tree, known, now))))
        counts["some" if 0 < len(by_sql) < len(facts) else "all"] += 1
        asked.update(test.operator for _path, test in each_test(tree))

    for kind in (None, "tags"):
        drawn = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
        drawn(given(trees(kind=kind))(agree))()
    assert counts["some"] > 30
    of_tags = [o.id for o in operators_of(known["tag_ids"])]
    assert len(of_tags) == 6 and sum(asked[name] for name in of_tags) > 30


@pytest.mark.parametrize("kind", ["task", "appointment", "contact"])
def test_fields_of_related_records_agree_too(inside: Any, deals: list[Deal], kind: str) -> None:
    """Asked of the record that this one points to: the snapshot and the subselect see the same."""
    with write_transaction():
        for number, deal_id in enumerate([None, *(deal.id for deal in deals)]):
            create_task(f"Task {number}", deal_id=deal_id)
            schedule_appointment(f"At {number}", TODAY, TODAY + timedelta(hours=1), deal_id=deal_id)
        for number, domain in enumerate([None, "acme.example", "x.example", "boss.example"] * 2):
            company = create_company(f"Company {number}", domain=f"{number}.{domain}" if domain else None)
            create_contact(f"Person {number}", company_id=company.id)
    declared = next(watch for watch in watches.values() if watch.record_type == kind)
    known = {name: field for name, field in fields_of(kind).items() if field.is_related}
    now = Now(TODAY, "Europe/Madrid")
    rows = {row.id: Facts(declared.snapshot(row), now) for row in db.session.scalars(select(declared.model))}
    found = {"some": 0, "tried": 0}

    @given(st.data())
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    def agree(data: Any) -> None:
        field = data.draw(st.sampled_from(list(known.values())))
        operator = data.draw(st.sampled_from(operators_of(field, with_changes=True)))
        tree = Group(
            items=[Test(field=field.name, operator=operator.id, value=a_value(field, operator, data.draw))]
        )
        by_python = {row_id for row_id, facts in rows.items() if evaluate(tree, known, facts)[0]}
        by_sql = set(db.session.scalars(select(declared.model.id).where(where(tree, known, now))))  # type: ignore[attr-defined]
        assert by_python == by_sql, describe(tree, known)
        found["some"] += 0 < len(by_sql) < len(rows)
        found["tried"] += 1

    agree()
    assert found["some"] > 2, found


def test_a_related_field_cannot_be_asked_whether_it_changed(inside: Any) -> None:
    field = fields_of("task")["deal_amount"]
    assert not [o for o in operators_of(field, with_changes=True) if o.of_change]
    assert problems(one("deal_amount", "changed"), fields_of("task"), with_changes=True)
    assert not problems(one("due_on", "changed"), fields_of("task"), with_changes=True)


def test_moments_are_asked_by_the_wall_calendar(inside: Any) -> None:
    from soconnective.appointments.events import snapshot
    from soconnective.appointments.models import Appointment
    from soconnective.appointments.operations import schedule_appointment

    known, now = fields_of("appointment"), Now(TODAY, "Europe/Madrid")
    with write_transaction():
        for hours in range(-80, 80, 5):
            start = TODAY + timedelta(hours=hours)
            schedule_appointment(f"At {hours}", start, start + timedelta(hours=1))
    rows = list(db.session.scalars(select(Appointment)))
    seen = set()
    for operator in operators_of(known["starts_at"]):
        for value in (["2026-11-24", "2026-11-26"], ["2026-11-25"], ["2"]):
            if len(value) != {"two": 2, "one": 1, "days": 1, "nothing": 1}[operator.takes] or (
                (operator.takes == "days") != (value == ["2"])
            ):
                continue
            stored = value if operator.takes == "two" else value[0]
            tree = Group(items=[Test(field="starts_at", operator=operator.id, value=stored)])
            by_sql = set(db.session.scalars(select(Appointment.id).where(where(tree, known, now))))
            by_python = {row.id for row in rows if evaluate(tree, known, Facts(snapshot(row), now))[0]}
            assert by_python == by_sql, operator.id
            seen.add(operator.id)
    assert {"on", "before", "after", "between_days", "last_days", "next_days", "past", "not_past"} <= seen


def test_every_field_stands_in_the_snapshots_and_in_the_database(inside: Any) -> None:
    """A field that no snapshot holds could never match."""
    by_type = {watch.record_type: watch for watch in watches.values()}
    deal = make_deal(inside.stages["Lead"])
    contact, company = make_contact(), make_company()
    rows = {"deal": deal, "contact": contact, "company": company}
    count = 0
    for record_type, fields in _fields.items():
        model = by_type[record_type].model
        assert model in watched_models()
        for field in fields.values():
            db.session.execute(select(model.id).where(field.column().is_(None))).all()  # type: ignore[attr-defined, misc]
            if record_type in rows:
                assert field.name in by_type[record_type].snapshot(rows[record_type]), (
                    record_type,
                    field.name,
                )
            count += 1
    assert count >= 30


def facts(values: dict[str, Any], changes: Any = None) -> Facts:
    return Facts(values, Now(TODAY, "Europe/Madrid"), changes or {})


def one(field: str, operator: str, value: Any = None) -> Group:
    return Group(items=[Test(field=field, operator=operator, value=value)])


@pytest.mark.parametrize(
    ("tree", "values", "changes", "holds"),
    [
        (one("amount", "changed"), {}, {"amount": ["1", "2"]}, True),
        (one("amount", "changed"), {}, {"title": ["a", "b"]}, False),
        (one("amount", "changed_to", "100"), {}, {"amount": ["1", "100.00"]}, True),
        (one("amount", "changed_to", "100"), {"amount": "100"}, {}, False),
        (one("stage_id", "changed_from", "1"), {}, {"stage_id": [1, 2]}, True),
        (one("stage_id", "changed_from", "2"), {}, {"stage_id": [1, 2]}, False),
        (one("source", "is", "WEB"), {"source": "Web"}, {}, True),
        (one("source", "is_not", "web"), {"source": None}, {}, True),
        (one("source", "not_contains", "w"), {}, {}, True),
        (one("expected_close_on", "before", "2026-11-26"), {"expected_close_on": None}, {}, False),
        (one("expected_close_on", "next_days", "0"), {"expected_close_on": "2026-11-25"}, {}, True),
        (one("expected_close_on", "last_days", "0"), {"expected_close_on": "2026-11-24"}, {}, False),
        (one("expected_close_on", "past"), {"expected_close_on": "2026-11-24"}, {}, True),
        (one("expected_close_on", "past"), {"expected_close_on": "2026-11-25"}, {}, False),
        (one("expected_close_on", "past"), {"expected_close_on": None}, {}, False),
        (one("expected_close_on", "not_past"), {"expected_close_on": "2026-11-25"}, {}, True),
        (Group(), {}, {}, True),
        (Group(match="any"), {}, {}, True),
        (Group(match="none"), {}, {}, True),
        (Group(match="none", items=one("source", "empty").items), {"source": "x"}, {}, True),
    ],
)
def test_single_questions(inside: Any, tree: Group, values: Any, changes: Any, holds: bool) -> None:
    assert evaluate(tree, fields_of("deal"), facts(values, changes))[0] is holds


def test_a_verdict_says_what_was_wanted_and_seen(inside: Any) -> None:
    tree = Group(
        items=[
            Test(field="amount", operator="at_least", value="1000"),
            Group(match="any", items=[Test(field="source", operator="is", value="Web"), Test(field="stage_id", operator="is", value=str(inside.stages["Won"]))]),
            Group(match="none", items=[Test(field="title", operator="contains", value="test")]),
        ]
    )  # fmt: skip
    values = {"amount": "500.00", "source": None, "stage_id": inside.stages["Lead"], "title": "A Test"}
    holds, found, why = evaluate(tree, fields_of("deal"), facts(values))
    assert not holds
    assert [(f.path, f.label, f.wanted, f.actual, f.passed) for f in found] == [
        ("0", "amount", "is at least 1000", "500.00", False),
        ("1-0", "source", "is “Web”", "empty", False),
        ("1-1", "stage", "is Won", "Lead", False),
        ("2-0", "title", "contains “test”", "A Test", True),
    ]
    assert why == (
        "amount is at least 1000, was 500.00; none of: source is “Web”, was empty; stage is Won, was Lead; "
        "should not be: title contains “test”, was A Test"
    )
    assert describe(tree, fields_of("deal")) == (
        "amount is at least 1000 and (source is “Web” or stage is Won) and not (title contains “test”)"
    )


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (("nothing", "is", "x"), "This field does not exist here"),
        (("amount", "contains", "x"), "cannot be asked this"),
        (("amount", "is", "much"), "Write a number"),
        (("amount", "is", "1.234"), "two decimals"),
        (("amount", "is", ""), "Write what to compare with"),
        (("amount", "between", ["5", "1"]), "must not be more"),
        (("amount", "between", ["5"]), "both ends"),
        (("expected_close_on", "on", "31.12.2026"), "Write a date"),
        (("expected_close_on", "on", "1066-10-14"), "between 1900 and 2199"),
        (("expected_close_on", "last_days", "-1"), "number of days"),
        (("expected_close_on", "last_days", "²"), "number of days"),
        (("stage_id", "is", "999"), "Choose from the list"),
        (("owner_id", "is", "999"), "Choose from the list"),
        (("company_id", "is", "x"), "Choose from the list"),
        (("company_id", "one_of", []), "Choose one at least"),
        (("title", "is", "x" * 201), "200 characters"),
        (("amount", "changed", None), "cannot be asked this"),
    ],
)
def test_what_makes_no_sense_is_refused_with_words(inside: Any, test: Any, message: str) -> None:
    tree = Group(items=[Test(field=test[0], operator=test[1], value=test[2])])
    ((path, said),) = problems(tree, fields_of("deal"), with_changes=False)
    assert path == "0" and message in said


def test_too_many_and_too_deep(inside: Any) -> None:
    leaf = Test(field="amount", operator="empty")
    wide = Group(items=[Group(items=[leaf] * 40), Group(items=[leaf] * 11)])
    assert "50 conditions" in problems(wide, fields_of("deal"), False)[0][1]
    deep = Group(items=[leaf])
    for _ in range(5):
        deep = Group(items=[deep])
    assert "deep at most" in problems(deep, fields_of("deal"), False)[0][1]
    assert problems(Group(items=[leaf] * 50), fields_of("deal"), False) == []


def test_what_is_gone_cannot_be_told(inside: Any) -> None:
    gone = one("gone", "is", "x")
    with pytest.raises(CannotTell, match="does not exist any more"):
        evaluate(gone, fields_of("deal"), facts({}))
    with pytest.raises(CannotTell, match="does not exist any more"):
        where(gone, fields_of("deal"), Now(TODAY, "UTC"))
    with pytest.raises(CannotTell, match="of an event only"):
        where(one("amount", "changed"), fields_of("deal"), Now(TODAY, "UTC"))
    assert "⚠ gone is gone" in describe(gone, fields_of("deal"))
    assert "⚠ something that is gone" in describe(one("stage_id", "is", "999"), fields_of("deal"))

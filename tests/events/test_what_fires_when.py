"""The tables of what fires when, a test a row; and that rolled-back work leaves no event."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from soconnective.contacts.operations import Identity, create_company, update_contact
from soconnective.core.db import db, write_transaction
from soconnective.deals.models import Deal, Stage
from soconnective.deals.operations import create_deal, delete_deal, move_deal, set_deal_contacts, update_deal
from soconnective.deals.pipeline_operations import create_pipeline
from soconnective.events import EventRow, namespace
from soconnective.tasks.models import Task
from tests.factories.records import make_company, make_contact, make_deal, make_tag, move


def names(after: int = 0) -> list[str]:
    return [
        row.name
        for row in db.session.scalars(select(EventRow).where(EventRow.id > after).order_by(EventRow.id))
    ]


def last_id() -> int:
    return max((row.id for row in db.session.scalars(select(EventRow))), default=0)


@pytest.mark.parametrize(
    ("came", "went", "expected"),
    [
        ("Lead", "Proposal", ["deal.stage_changed"]),
        ("Lead", "Won", ["deal.stage_changed", "deal.won"]),
        ("Lead", "Lost", ["deal.stage_changed", "deal.lost"]),
        ("Won", "Lead", ["deal.stage_changed"]),
        ("Lost", "Won", ["deal.stage_changed", "deal.won"]),
        ("Lead", "Lead", []),
    ],
)
def test_a_move(inside: Any, came: str, went: str, expected: list[str]) -> None:
    deal = make_deal(inside.stages[came])
    before = last_id()
    move(deal, inside.stages[went], "price")
    assert names(before) == expected


@pytest.mark.parametrize(
    ("stage", "expected"), [("Lead", ["deal.created"]), ("Won", ["deal.created", "deal.won"])]
)
def test_a_creation(inside: Any, stage: str, expected: list[str]) -> None:
    make_deal(inside.stages[stage])
    assert names() == expected


def test_won_to_won_in_another_pipeline_is_only_a_move(inside: Any) -> None:
    with write_transaction():
        other = create_pipeline("Other")
        won = next(stage.id for stage in other.stages if stage.kind == "won")
    deal = make_deal(inside.stages["Won"])
    before = last_id()
    move(deal, won)
    assert names(before) == ["deal.stage_changed"]


def test_several_flushes_fold_to_one_change(inside: Any) -> None:
    deal = make_deal(inside.stages["Lead"])
    before = last_id()
    with write_transaction():
        for stage in ("Qualified", "Proposal"):
            move_deal(deal, db.session.get_one(Stage, inside.stages[stage]))
            db.session.flush()
    assert names(before) == ["deal.stage_changed"]
    row = db.session.scalars(select(EventRow).where(EventRow.id > before)).one()
    assert row.changes["stage_id"] == [inside.stages["Lead"], inside.stages["Proposal"]]


def test_there_and_back_is_nothing(inside: Any) -> None:
    deal = make_deal(inside.stages["Lead"])
    before = last_id()
    with write_transaction():
        for stage in ("Won", "Lead"):
            move_deal(deal, db.session.get_one(Stage, inside.stages[stage]))
            db.session.flush()
    assert names(before) == []


def test_created_and_deleted_is_nothing(inside: Any) -> None:
    with write_transaction():
        delete_deal(create_deal("Gone", inside.stages["Lead"]))
    assert names() == []


def test_the_old_value_is_there_after_an_expiry(inside: Any) -> None:
    deal = make_deal(inside.stages["Lead"], title="Old")
    before = last_id()
    with write_transaction():
        db.session.expire(deal)
        update_deal(deal, title="New")
    row = db.session.scalars(select(EventRow).where(EventRow.id > before)).one()
    assert (row.name, row.changes["title"]) == ("deal.updated", ["Old", "New"])


def test_a_rolled_back_savepoint_leaves_no_event(inside: Any) -> None:
    deal = make_deal(inside.stages["Lead"])
    before = last_id()
    with write_transaction():
        savepoint = db.session.begin_nested()
        update_deal(deal, title="Lost")
        db.session.flush()
        savepoint.rollback()
        update_deal(deal, source="Kept")
    row = db.session.scalars(select(EventRow).where(EventRow.id > before)).one()
    assert list(row.changes) == ["source"]


def test_a_savepoint_rolled_back_between_change_and_commit_loses_none(inside: Any) -> None:
    deal = make_deal(inside.stages["Lead"])
    before = last_id()
    with write_transaction():
        update_deal(deal, title="Kept")
        db.session.flush()
        db.session.begin_nested().rollback()
    assert names(before) == ["deal.updated"]


def test_people_on_a_deal_are_a_change_of_it(inside: Any) -> None:
    ana, bob = make_contact("Ana", "Ruiz"), make_contact("Bob", "Berg")
    deal = make_deal(inside.stages["Lead"], contact_ids=[ana.id])
    before = last_id()
    with write_transaction():
        set_deal_contacts(deal, [ana.id, bob.id])
    row = db.session.scalars(select(EventRow).where(EventRow.id > before)).one()
    assert (row.name, row.changes["contact_ids"]) == ("deal.updated", [[], [bob.id]])


TAGS: list[tuple[list[str], list[str], dict[str, Any], list[str]]] = [
    ([], ["A"], {}, ["deal.tag_added"]),
    (["A"], [], {}, ["deal.tag_removed"]),
    ([], ["A", "B"], {}, ["deal.tag_added"]),
    (["A"], ["B"], {}, ["deal.tag_added", "deal.tag_removed"]),
    (["A"], ["A"], {}, []),
    ([], ["A"], {"title": "New"}, ["deal.updated", "deal.tag_added"]),
    ([], ["A"], {"stage": "Won"}, ["deal.stage_changed", "deal.won", "deal.tag_added"]),
]


@pytest.mark.parametrize(("came", "went", "beside", "expected"), TAGS)
def test_tags_have_events_of_their_own(
    inside: Any, came: list[str], went: list[str], beside: dict[str, Any], expected: list[str]
) -> None:
    ids = {name: make_tag(name).id for name in ("A", "B")}
    deal = make_deal(inside.stages["Lead"], tag_ids=[ids[name] for name in came])
    before, values = last_id(), dict(beside)
    if stage := values.pop("stage", None):
        values["stage_id"] = inside.stages[stage]
    with write_transaction():
        update_deal(deal, tag_ids=[ids[name] for name in went], **values)
    assert names(before) == expected


def test_a_new_record_with_tags_got_them(inside: Any) -> None:
    tag = make_tag()
    make_deal(inside.stages["Won"], tag_ids=[tag.id])
    make_contact(tag_ids=[tag.id])
    make_company(tag_ids=[tag.id])
    assert names() == [
        "deal.created", "deal.won", "deal.tag_added", "contact.created", "contact.tag_added",
        "company.created", "company.tag_added",
    ]  # fmt: skip


def test_a_tag_put_on_and_taken_off_in_one_save_is_nothing(inside: Any) -> None:
    tag, deal = make_tag(), make_deal(inside.stages["Lead"])
    before = last_id()
    with write_transaction():
        update_deal(deal, tag_ids=[tag.id])
        update_deal(deal, tag_ids=[])
    assert names(before) == []


def test_a_deleted_record_only_tells_that(inside: Any) -> None:
    deal = make_deal(inside.stages["Lead"], tag_ids=[make_tag().id])
    before = last_id()
    with write_transaction():
        delete_deal(deal)
    assert names(before) == ["deal.deleted"]


def test_a_changed_address_is_a_change_of_the_contact(inside: Any) -> None:
    contact = make_contact("Ana", "Ruiz", "ana@x.example")
    before = last_id()
    with write_transaction():
        update_contact(contact, [Identity("email", "ana@y.example")])
    row = db.session.scalars(select(EventRow).where(EventRow.id > before)).one()
    assert (row.name, row.changes["identities"]) == (
        "contact.updated",
        [["ana@x.example"], ["ana@y.example"]],
    )


def test_a_receiver_that_fails_never_reaches_the_write(inside: Any) -> None:
    def broken(_sender: Any, **_kwargs: Any) -> None:
        raise RuntimeError("planted")

    signal = namespace.signal("deal.created")
    signal.connect(broken, weak=False)
    try:
        make_deal(inside.stages["Lead"])
    finally:
        signal.disconnect(broken)
    assert names() == ["deal.created"]


def test_an_sql_expression_on_a_watched_field_is_refused(inside: Any) -> None:
    deal = make_deal(inside.stages["Lead"])
    with pytest.raises(TypeError, match="SQL expression"):
        deal.title = Deal.title + "x"


def test_a_flush_that_fails_in_a_savepoint_loses_nothing_of_before(inside: Any) -> None:
    with write_transaction():
        company = create_company("Before")
        db.session.flush()
        with suppress(IntegrityError), db.session.begin_nested():
            create_company("Within")
            db.session.add(Task(title="x", status="nonsense", priority="normal"))
            db.session.flush()
        company_id = company.id
    told = [(e.name, e.record_id) for e in db.session.scalars(select(EventRow)) if e.record_type == "company"]
    assert told == [("company.created", company_id)]

"""What is kept of an event, and what is told of a record that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from soconnective.core.access import Actor
from soconnective.core.db import db, write_transaction
from soconnective.deals.operations import delete_deal, set_deal_contacts, update_deal
from soconnective.events import DomainEvent, EventLink, EventRow, follow_with, rules, snapshot_now
from soconnective.events.store import _followers
from soconnective.tags.operations import set_tags
from tests.factories.records import make_company, make_contact, make_deal, make_tag


def last(name: str) -> EventRow:
    newest = select(EventRow).where(EventRow.name == name).order_by(EventRow.id.desc()).limit(1)
    return db.session.scalars(newest).one()


def test_a_stored_event_is_the_event_that_it_was() -> None:
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    changes, snapshot = {"title": ["Old", "New"]}, {"title": "New"}
    row = EventRow(
        id=9, tenant_id=3, name="deal.updated", record_type="deal", record_id=4, occurred_at=at,
        actor_kind="person", actor_id=6, actor_name="Ana", changes=changes, snapshot=snapshot,
        parent_id=8, root_id=7, depth=2, rules="log",
    )  # fmt: skip
    event = row.as_event()
    assert event == DomainEvent(
        name="deal.updated", tenant_id=3, record_type="deal", record_id=4, occurred_at=at,
        actor=Actor("person", 6, "Ana"), changes=changes, snapshot=snapshot, links=(),
        id=9, parent_id=8, root_id=7, depth=2, rules="log",
    )  # fmt: skip
    event.snapshot["title"] = event.changes["title"] = []  # a copy: who looks at it changes no row
    assert (row.changes, row.snapshot) == ({"title": ["Old", "New"]}, {"title": "New"})


def test_a_deleted_record_is_told_as_it_was_last_without_a_way_to_what_is_gone(inside: Any) -> None:
    contact, tag = make_contact(email="a@x.example"), make_tag("VIP")
    deal = make_deal(inside.stages["Lead"], "Big", amount="12.50", company_id=make_company("Acme").id)
    with write_transaction():
        set_deal_contacts(deal, [contact.id])
        set_tags(deal, [tag.id])
    deal_id, company_id = deal.id, deal.company_id
    now = snapshot_now("deal", deal_id)
    assert now is not None and (now["contact"], now["company"], now["tags"]) == ("Ana Ruiz", "Acme", "VIP")
    with write_transaction():
        delete_deal(deal)
    event = last("deal.deleted")
    ids = {"stage_id": inside.stages["Lead"], "pipeline_id": inside.pipeline_id, "company_id": company_id}
    plain = {name: value for name, value in now.items() if not name.endswith("_id")}
    assert event.snapshot == {**plain, **ids, "id": deal_id}
    assert (plain["tag_ids"], event.changes["contact_ids"]) == ([tag.id], [[contact.id], []])


def test_a_change_that_a_deletion_follows_at_once_never_was(inside: Any) -> None:
    deal = make_deal(inside.stages["Lead"], "Big")
    with write_transaction():
        deal.title, deal.stage_id = "Renamed", inside.stages["Proposal"]
        db.session.flush()
        delete_deal(deal)
    told = last("deal.deleted")
    assert (told.snapshot["title"], told.snapshot["stage"]) == ("Big", "Lead")
    assert told.changes["title"] == ["Big", None]


def test_an_old_value_that_is_not_loaded_is_told_too(inside: Any) -> None:
    deal = make_deal(inside.stages["Lead"], "Big")
    with write_transaction():
        db.session.expire(deal)
        deal.title = "Bigger"
    assert last("deal.updated").changes == {"title": ["Big", "Bigger"]}


@pytest.fixture
def followers() -> Iterator[None]:
    before = list(_followers)
    yield
    _followers[:] = before


def test_a_follower_hears_of_each_event_once_and_knows_its_number(inside: Any, followers: None) -> None:
    heard: list[tuple[str, int | None]] = []

    def follower(_session: Any, events: Any) -> None:
        heard.extend((event.name, event.id) for event in events)

    follow_with(follower)
    follow_with(follower)
    deal = make_deal(inside.stages["Lead"])
    with write_transaction():
        update_deal(deal, title="Other")
    stored = db.session.scalars(select(EventRow).order_by(EventRow.id))
    assert heard == [(row.name, row.id) for row in stored]


def test_of_two_changes_told_as_one_the_one_that_runs_the_rules_counts(inside: Any) -> None:
    deal = make_deal(inside.stages["Lead"])
    for first, then, told in (("log", "run", "run"), ("run", "log", "run"), ("skip", "log", "log")):
        with write_transaction():
            with rules(first):  # type: ignore[arg-type]
                update_deal(deal, title=f"{first} before")
            with rules(then):  # type: ignore[arg-type]
                update_deal(deal, title=f"{first} before {then}")
        assert last("deal.updated").rules == told


def test_who_joins_and_who_leaves_a_record_has_it_on_the_timeline(inside: Any) -> None:
    deal, contact = make_deal(inside.stages["Lead"]), make_contact()
    for chosen in ([contact.id], []):
        with write_transaction():
            set_deal_contacts(deal, chosen)
        event = last("deal.updated")
        links = select(EventLink.record_type, EventLink.record_id).where(
            EventLink.tenant_id == inside.id, EventLink.event_id == event.id
        )
        assert ("contact", contact.id) in {tuple(row) for row in db.session.execute(links)}

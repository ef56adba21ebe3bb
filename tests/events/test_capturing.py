"""What a flush did, seen closely: parts that change where they are, values that only seem to change, events nobody wants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from soconnective.automation.models import AutomationRun
from soconnective.contacts.models import Contact, ContactIdentity
from soconnective.contacts.operations import Identity, update_contact
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.search import matching
from soconnective.deals.models import Deal
from soconnective.deals.operations import delete_deal, update_deal
from soconnective.events import (
    DomainEvent,
    EventLink,
    EventRow,
    capture,
    namespace,
    snapshot_now,
    tell,
    watches_of,
)
from tests.factories.records import make_contact, make_deal, make_rule


@pytest.fixture
def since(inside: Any) -> Any:
    """Begin to look: `since()` are the events from then on."""
    last: list[int] = []

    def found() -> list[EventRow]:
        newest = db.session.scalars(select(EventRow.id).order_by(EventRow.id.desc())).first() or 0
        if not last:
            last.append(newest)
            return []
        return list(db.session.scalars(select(EventRow).where(EventRow.id > last[0]).order_by(EventRow.id)))

    return found


def address_of(contact: Contact) -> ContactIdentity:
    return db.session.scalars(select(ContactIdentity).where(ContactIdentity.contact_id == contact.id)).one()


def test_a_part_that_changes_where_it_is_left_and_came(inside: Any, since: Any) -> None:
    contact = make_contact(email="old@x.example")
    since()
    with write_transaction():
        address_of(contact).value = "new@x.example"
    (event,) = since()
    assert (event.name, event.record_id) == ("contact.updated", contact.id)
    assert event.changes == {"identities": [["old@x.example"], ["new@x.example"]]}


def test_a_part_that_changes_in_what_is_not_told_is_no_event(inside: Any, since: Any) -> None:
    contact = make_contact(email="old@x.example")
    since()
    with write_transaction():
        address_of(contact).normalised = "another@x.example"
    assert since() == [] and address_of(contact).normalised == "another@x.example"


def test_a_part_that_moves_is_told_of_both(inside: Any, since: Any) -> None:
    first, second = make_contact("Ana", email="a@x.example"), make_contact("Bo", "Lee")
    since()
    with write_transaction():
        address_of(first).contact_id = second.id
    told = {event.record_id: event.changes for event in since()}
    assert told == {
        first.id: {"identities": [["a@x.example"], []]},
        second.id: {"identities": [[], ["a@x.example"]]},
    }


def test_a_record_that_changes_behind_its_new_part_is_told_once(inside: Any, since: Any) -> None:
    contact = make_contact(email="a@x.example")
    since()
    with write_transaction():
        update_contact(contact, [Identity("email", "b@x.example")], job_title="Boss")
    (event,) = since()
    assert event.changes["job_title"] == [None, "Boss"]
    assert event.changes["identities"] == [["a@x.example"], ["b@x.example"]]


def test_what_nobody_listens_to_is_stored_and_wakes_no_rule(
    inside: Any, since: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_rule("deal.updated", [("log_note", {"body": "x"})])
    deal = make_deal(inside.stages["Lead"])
    since()
    with monkeypatch.context() as patch:
        patch.setattr(namespace["deal.updated"], "receivers", {})
        with write_transaction():
            update_deal(deal, title="Quiet")
    assert [event.name for event in since()] == ["deal.updated"]
    assert db.session.scalars(select(AutomationRun)).all() == []
    with write_transaction():  # the control: with its receivers it wakes the rule
        update_deal(deal, title="Loud")
    assert [run.outcome for run in db.session.scalars(select(AutomationRun))] == ["succeeded"]


def test_a_receiver_that_fails_never_reaches_the_write(
    inside: Any, since: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_sender: Any, **_more: Any) -> None:
        raise RuntimeError("planted")

    deal = make_deal(inside.stages["Lead"])
    since()
    with namespace["deal.updated"].connected_to(broken), write_transaction():
        update_deal(deal, title="Renamed")
    assert "a receiver of deal.updated failed; the write goes on" in caplog.text
    assert [event.name for event in since()] == ["deal.updated"]
    assert db.session.get_one(Deal, deal.id).title == "Renamed"


def test_an_event_that_stands_on_no_timeline_is_stored_alone(inside: Any, since: Any) -> None:
    """As that of a schedule whose rule is gone by then."""
    deal = make_deal(inside.stages["Lead"])
    since()
    with write_transaction():
        event = DomainEvent(
            "deal.schedule_due", inside.id, "deal", deal.id, inside.owner.actor, clock.now(), {}, {}, (), rule_id=10**9
        )  # fmt: skip
        tell(db.session(), [event])
    (stored,) = since()
    assert (stored.name, stored.id) == ("deal.schedule_due", event.id)
    links = select(EventLink).where(EventLink.tenant_id == inside.id, EventLink.event_id == stored.id)
    assert db.session.scalars(links).all() == []


def test_what_was_told_in_a_transaction_that_is_rolled_back_is_forgotten(inside: Any, since: Any) -> None:
    deal = make_deal(inside.stages["Lead"])
    since()
    event = DomainEvent("deal.updated", inside.id, "deal", deal.id, inside.owner.actor, clock.now(), {}, {})
    tell(db.session(), [event])
    db.session.rollback()
    with write_transaction():
        pass
    assert since() == []


def test_a_kind_that_nobody_watches_has_no_snapshot_and_no_fields(inside: Any) -> None:
    assert snapshot_now("boat", 1) is None and watches_of("boat") == []
    assert snapshot_now("deal", 10**9) is None and "title" in watches_of("deal")


def test_a_record_and_its_parts_in_one_flush_are_told_and_found_once(inside: Any, since: Any) -> None:
    since()
    with write_transaction():
        contact = Contact(name="Ana Ruiz", first_name="Ana", last_name="Ruiz")
        contact.identities = [
            ContactIdentity(kind="email", value="ana@x.example", normalised="ana@x.example")
        ]
        db.session.add(contact)
        db.session.flush()
    (event,) = since()
    assert event.name == "contact.created" and event.changes["identities"] == [[], ["ana@x.example"]]
    assert matching("contact", "ana ruiz") == matching("contact", "ana@x") == [contact.id]


def test_a_record_that_cannot_say_how_it_was_is_deleted_and_told_all_the_same(
    inside: Any, since: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_deal: Any) -> Any:
        raise RuntimeError("planted")

    deal = make_deal(inside.stages["Lead"])
    deal_id, title = deal.id, deal.title
    since()
    monkeypatch.setitem(capture.watches, Deal, replace(capture.watches[Deal], snapshot=broken))
    with write_transaction():
        delete_deal(deal)
    assert "a deal that is deleted cannot say how it was" in caplog.text
    (event,) = since()
    assert (event.name, event.record_id, event.snapshot["title"]) == ("deal.deleted", deal_id, title)
    assert db.session.get(Deal, deal_id) is None

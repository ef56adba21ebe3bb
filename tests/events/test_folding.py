"""Whatever one transaction does in whatever steps: its event tells the first and the last value, or nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from soconnective.automation.models import AutomationRun
from soconnective.contacts.operations import Identity, update_contact
from soconnective.core.access import current_actor
from soconnective.core.clock import now
from soconnective.core.db import db, write_transaction
from soconnective.deals.models import Deal, Stage
from soconnective.deals.operations import move_deal
from soconnective.events import EventRow, fold
from soconnective.events.pending import Note, pending_of
from soconnective.events.store import store
from soconnective.events.watch import watches
from tests.factories.records import make_contact, make_deal, make_rule

_steps = st.lists(
    st.tuples(
        st.sampled_from(["title", "source"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["", "flush", "expire", "undo"]),
    ),
    max_size=8,
)


@given(_steps)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_first_and_last(inside: Any, steps: list[tuple[str, str, str]]) -> None:
    deal = make_deal(inside.stages["Lead"], "a", source="a")
    last_event = max(db.session.scalars(select(EventRow.id)))
    expected = {"title": "a", "source": "a"}
    with write_transaction():
        for name, value, how in steps:
            savepoint = db.session.begin_nested()
            setattr(deal, name, value)
            if how == "flush":
                db.session.flush()
            if how == "undo":
                db.session.flush()
                savepoint.rollback()
                continue
            savepoint.commit()
            expected[name] = value
            if how == "expire":
                db.session.expire(deal)
    stored = db.session.get_one(Deal, deal.id)
    assert {"title": stored.title, "source": stored.source} == expected
    events = list(db.session.scalars(select(EventRow).where(EventRow.id > last_event)))
    changed = {name: ["a", value] for name, value in expected.items() if value != "a"}
    assert [event.changes for event in events] == ([changed] if changed else [])


def test_a_change_that_rules_want_stays_wanted_when_a_later_flush_changes_more(inside: Any) -> None:
    make_rule("deal.won", [("log_note", {"body": "x"})])
    deal = make_deal(inside.stages["Lead"])
    with write_transaction():
        move_deal(deal, db.session.get_one(Stage, inside.stages["Won"]), None)
        db.session.flush()
        deal.source = "told later"
        db.session.flush()
    assert [run.outcome for run in db.session.scalars(select(AutomationRun))] == ["succeeded"]


def test_a_later_flush_is_wanted_though_the_first_was_not(inside: Any) -> None:
    make_rule("deal.won", [("log_note", {"body": "x"})])
    deal = make_deal(inside.stages["Lead"])
    with write_transaction():
        deal.source = "told first"
        db.session.flush()
        move_deal(deal, db.session.get_one(Stage, inside.stages["Won"]), None)
        db.session.flush()
    assert [run.outcome for run in db.session.scalars(select(AutomationRun))] == ["succeeded"]


def test_members_that_come_and_go_in_several_flushes_are_told_once(inside: Any) -> None:
    contact = make_contact(email="a@x.example")
    last = max(db.session.scalars(select(EventRow.id)))

    def has(*addresses: str) -> None:
        update_contact(contact, identities=[Identity("email", one) for one in addresses])
        db.session.flush()

    with write_transaction():
        has("b@x.example")
        has("a@x.example", "b@x.example")
        has("a@x.example", "c@x.example")
    (event,) = db.session.scalars(select(EventRow).where(EventRow.id > last))
    assert event.changes["identities"] == [[], ["c@x.example"]]


def test_members_that_go_and_come_back_are_no_event(inside: Any) -> None:
    contact = make_contact(email="a@x.example")
    last = max(db.session.scalars(select(EventRow.id)))
    with write_transaction():
        update_contact(contact, identities=[])
        db.session.flush()
        update_contact(contact, identities=[Identity("email", "a@x.example")])
    assert list(db.session.scalars(select(EventRow).where(EventRow.id > last))) == []


def test_a_record_that_is_gone_from_the_database_tells_nothing_of_its_parts(inside: Any) -> None:
    """Its row was deleted past the session, which only a script would do."""
    contact = make_contact(email="a@x.example")
    last = max(db.session.scalars(select(EventRow.id)))
    contact_id = contact.id
    with write_transaction():
        update_contact(contact, identities=[])
        db.session.flush()
        db.session.expunge(contact)
        db.session.connection().execute(text("DELETE FROM contact_identities"))
        db.session.connection().execute(text("DELETE FROM search_words WHERE record_type = 'contact'"))
        db.session.connection().execute(text(f"DELETE FROM contacts WHERE id = {contact_id}"))
        take_only_parts(db.session())
    assert list(db.session.scalars(select(EventRow).where(EventRow.id > last))) == []


def take_only_parts(session: Any) -> None:
    """Leave the notes as a part alone would make them: the record not loaded."""
    for note in pending_of(session).notes:
        note.record = None


def test_a_change_that_amounts_to_no_event_is_not_stored(inside: Any) -> None:
    make_deal(inside.stages["Lead"])
    watch = replace(watches[Deal], classify=lambda _change: ())
    deal = db.session.scalars(select(Deal)).one()
    note = Note(
        watch, deal.id, inside.id, deal, "updated", {"title": ("a", "b")}, {}, {}, current_actor(), now()
    )
    assert fold(db.session(), [note]) == []
    store(db.session(), [])  # nothing to store is nothing to do

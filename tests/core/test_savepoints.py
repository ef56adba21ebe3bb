"""What an undone savepoint leaves in the session: nothing, whatever was forgotten and read again meanwhile."""

import gc
from contextlib import suppress

import pytest
from sqlalchemy import event, select

from soconnective.core.db import Session, _on_made, db, savepoint, write_transaction
from soconnective.deals.models import DealContact
from tests.factories.records import make_contact, make_deal


class Undo(Exception):
    """Ends the savepoint."""


def put_on(team) -> None:
    """A contact on a deal: a row that nothing else in the session holds."""
    db.session.add(DealContact(tenant_id=team.id, deal_id=1, contact_id=1))
    db.session.flush()
    gc.collect()


def made_forgotten_and_undone(team) -> list[object]:
    """A row made in a savepoint, forgotten, read again and undone with it; what the session still holds of it."""
    found = None
    with suppress(Undo), savepoint(db.session()):
        put_on(team)
        found = db.session.scalars(select(DealContact)).one()
        db.session.delete(found)
        db.session.flush()
        raise Undo
    assert found is not None
    return [row for row in db.session.identity_map.values() if isinstance(row, DealContact)]


@pytest.fixture
def deal(inside):
    with write_transaction():
        assert (make_deal(inside.stages["Lead"]).id, make_contact().id) == (1, 1)
    db.session.remove()
    return inside


def test_a_row_that_was_forgotten_goes_with_its_savepoint(deal):
    with write_transaction():
        assert made_forgotten_and_undone(deal) == []
        put_on(deal)  # on SQLite it gets the same id, and SQLAlchemy would warn of two rows under one
    assert len(db.session.scalars(select(DealContact)).all()) == 1
    assert "made" not in db.session().info


def test_without_holding_it_a_ghost_stays(deal):
    event.remove(Session, "pending_to_persistent", _on_made)
    try:
        with write_transaction():
            assert len(made_forgotten_and_undone(deal)) == 1
            db.session.expunge_all()
    finally:
        event.listen(Session, "pending_to_persistent", _on_made)

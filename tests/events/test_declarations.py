"""What an area says of itself: event types are declared once, models are watched once, and what that brings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, inspect, literal
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from soconnective.core.db import db
from soconnective.core.tenancy import acting_in, has_tenant
from soconnective.deals.models import Deal
from soconnective.events import catalogue
from soconnective.events.catalogue import EventType, declare, event_types, namespace
from soconnective.events.watch import Change, Part, Watch, parts, watch, watched_models, watches
from tests.factories.records import make_deal


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Take back what a test declared."""
    before = (dict(catalogue._types), dict(watches), dict(parts))
    yield
    for kept, register in zip(before, (catalogue._types, watches, parts), strict=True):
        register.clear()  # type: ignore[attr-defined]
        register.update(kept)  # type: ignore[attr-defined]
    namespace.pop("boat.sunk", None)


def _declare(title: str = "Boat sunk") -> EventType:
    return declare("boat.sunk", "boat", title, sent_when="It sank.", not_when="It floats.")


def test_a_declaration_says_everything_and_makes_the_signal() -> None:
    assert _declare() == EventType("boat.sunk", "boat", "Boat sunk", "It sank.", "It floats.")
    assert event_types()["boat.sunk"] == _declare()
    assert namespace["boat.sunk"].__doc__ == "It sank."


def test_a_name_means_one_thing() -> None:
    _declare()
    with pytest.raises(ValueError, match=r"^the event boat\.sunk is declared twice$"):
        _declare("Boat lost")
    assert event_types()["boat.sunk"].title == "Boat sunk"


def test_the_list_is_a_copy() -> None:
    event_types().clear()
    assert "deal.won" in event_types()


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        ({}, True), ({"old": 1}, True), ({"new": 2}, True), ({"old": 1, "new": 2}, True),
        ({"old": 2}, False), ({"new": 1}, False), ({"old": 1, "new": 3}, False), ({"old": None}, False),
    ],
)  # fmt: skip
def test_what_moved(ask: dict[str, Any], expected: bool) -> None:
    change = Change("updated", {"stage": (1, 2)}, None)
    assert change.moved("stage", **ask) is expected
    assert change.moved("other", **ask) is False


class _Base(DeclarativeBase):
    pass


@pytest.fixture
def boats() -> Any:
    """A model with parts that nobody watches yet, and a watch for it."""

    class Boat(_Base):
        __tablename__ = "boats"
        __table_args__ = {"extend_existing": True}
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        colour: Mapped[str | None]

    class Oar(_Base):
        __tablename__ = "oars"
        __table_args__ = {"extend_existing": True}
        id: Mapped[int] = mapped_column(primary_key=True)
        boat_id: Mapped[int] = mapped_column(ForeignKey("boats.id"))
        length: Mapped[int]

    part = Part(Oar, "boat_id", "oars", lambda row: row.length)
    declaration = Watch(Boat, "boat", ("name",), lambda _c: (), lambda _r: {}, parts=(part,))
    watch(declaration)
    yield Boat, Oar, declaration, part
    _Base.registry.dispose()
    _Base.metadata.clear()


def test_a_watched_model_and_its_parts_are_known(boats: Any) -> None:
    boat, oar, declaration, part = boats
    assert watches[boat] is declaration
    assert parts[oar] == (declaration, part)
    assert {boat, oar} <= set(watched_models())
    watch(Watch(boat, "other", (), lambda _c: (), lambda _r: {}))
    assert watches[boat] is declaration  # the first declaration stays


def test_watched_columns_refuse_what_leaves_no_history(boats: Any) -> None:
    boat, oar, _declaration, _part = boats
    with pytest.raises(TypeError, match=r"^Boat\.name is watched: set a value, not an SQL expression$"):
        boat().name = literal("x")
    with pytest.raises(TypeError, match=r"^Oar\.length is watched"):
        oar().length = literal(1)
    boat().colour = literal("red")  # nobody tells it


def test_a_subclass_is_watched_as_well(boats: Any) -> None:
    boat, *_rest = boats

    class Ship(boat):  # single-table inheritance
        pass

    with pytest.raises(TypeError):
        Ship().name = literal("x")


def test_the_old_value_is_loaded_before_a_set(inside: Any) -> None:
    """An expired column has no old value unless it is asked for (F11)."""
    deal = make_deal(inside.stages["Lead"], "before")
    db.session.expire(deal)
    deal.title = "after"
    assert list(inspect(deal).attrs.title.history.deleted) == ["before"]
    db.session.rollback()
    assert isinstance(db.session(), Session) and db.session.get_one(Deal, deal.id).title == "before"


def test_whether_a_workspace_is_set(app: Any) -> None:
    assert has_tenant() is False
    with app.app_context(), acting_in(1):
        assert has_tenant() is True
    assert has_tenant() is False

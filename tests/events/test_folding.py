"""Whatever one transaction does in whatever steps: its event tells the first and the last value, or nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from soconnective.core.db import db, write_transaction
from soconnective.deals.models import Deal
from soconnective.events import EventRow
from tests.factories.records import make_deal

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

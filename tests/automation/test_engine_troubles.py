"""When the engine's own parts fail: the save goes on, what can still run does, and the log says what happened."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from soconnective.automation import engine
from soconnective.automation.models import AutomationRun
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import TransactionLost
from soconnective.deals.models import Deal
from soconnective.deals.operations import update_deal
from soconnective.events import DomainEvent, EventRow, tell
from tests.automation.timed import note, notes, work
from tests.factories.records import make_deal, make_rule, move

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def _broken(*_args: Any, **_more: Any) -> Any:
    raise RuntimeError("planted")


def _ended(session: Any, *_more: Any, **_named: Any) -> Any:
    """What a full disk does: the transaction is over, and the driver alone knows."""
    session.connection().connection.dbapi_connection.execute("ROLLBACK")
    raise RuntimeError("planted")


def outcomes() -> list[str]:
    db.session.expire_all()
    return list(db.session.scalars(select(AutomationRun.outcome).order_by(AutomationRun.id)))


def test_runs_that_cannot_be_woken_go_on_at_their_time(
    inside: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wait = ("wait", {"mode": "event", "event": "deal.updated", "amount": 1, "unit": "days"})
    with clock.at(NOW):
        make_rule(steps=[wait, note("after")])
        deal = make_deal(inside.stages["Lead"])
        move(deal, inside.stages["Won"])
        deal_id = deal.id
        with monkeypatch.context() as patch:
            patch.setattr(engine, "wake", _broken)
            with write_transaction():
                update_deal(deal, title="Renamed")
    assert db.session.get_one(Deal, deal_id).title == "Renamed"
    assert "the waiting runs could not be woken" in caplog.text
    assert outcomes() == ["waiting"] and work(NOW + timedelta(hours=1)) == []
    assert work(NOW + timedelta(days=1, seconds=1)) == ["done"] and notes() == ["after"]


PARTS = ["wake", "candidates", "addressed"]


def tell_due(inside: Any, deal_id: int, rule_id: int) -> None:
    """An event that is addressed to one rule, as a schedule tells it, and a change of a person beside it."""
    with write_transaction():
        due = DomainEvent(
            "deal.won", inside.id, "deal", deal_id, inside.owner.actor, clock.now(), {},
            {"title": "Due", "deal_id": deal_id}, (("deal", deal_id),), rule_id=rule_id,
        )  # fmt: skip
        tell(db.session(), [due])
        update_deal(db.session.get_one(Deal, deal_id), title="Renamed")


def test_addressees_that_cannot_be_read_stop_nobody_else(
    inside: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    meant = make_rule(steps=[note("meant")]).id
    make_rule("deal.updated", [note("other")], name="Other")
    deal_id = make_deal(inside.stages["Lead"]).id
    monkeypatch.setattr(engine, "addressed", _broken)
    tell_due(inside, deal_id, meant)
    assert "the rules that events are addressed to could not be read" in caplog.text
    assert notes() == ["other"] and outcomes() == ["succeeded"]
    told = db.session.scalars(select(EventRow.name).where(EventRow.name.in_(["deal.won", "deal.updated"])))
    assert sorted(told) == ["deal.updated", "deal.won"]  # stored, whoever could look at it


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_ends_the_transaction_is_no_quiet_success(
    inside: Any, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    meant = make_rule(steps=[note("meant")]).id
    make_rule("deal.updated", [note("other")], name="Other")
    deal_id = make_deal(inside.stages["Lead"]).id
    monkeypatch.setattr(engine, part, _ended)
    with pytest.raises(TransactionLost):
        tell_due(inside, deal_id, meant)
    db.session.rollback()
    assert db.session.get_one(Deal, deal_id).title == "Roll-out" and notes() == [] and outcomes() == []


def test_an_engine_that_fails_after_a_rule_keeps_what_the_rule_did(
    inside: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The rule is through: its note stays and is told of; the run that was begun behind it says that it never came."""
    make_rule(steps=[note("first")])
    make_rule(steps=[note("second")], name="Second")
    deal = make_deal(inside.stages["Lead"])
    real = engine.execute

    def execute(session: Any, job: Any) -> None:
        real(session, job)
        raise RuntimeError("planted")

    monkeypatch.setattr(engine, "execute", execute)
    monkeypatch.setattr(engine, "execute_together", lambda *_args: False)
    with caplog.at_level(logging.ERROR):
        move(deal, inside.stages["Won"])
    assert "the engine failed at event" in caplog.text
    assert db.session.get_one(Deal, deal.id).status == "won" and notes() == ["first"]
    found = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id))
    assert [(run.outcome, run.detail) for run in found] == [
        ("succeeded", "note logged"),
        ("failed", "the engine itself failed before this rule could run"),
        ("failed", "the engine itself failed: RuntimeError: planted"),
    ]
    told = list(db.session.scalars(select(EventRow.name).where(EventRow.record_type == "note")))
    assert told == ["note.logged"]


def test_a_statement_that_postgresql_refuses_poisons_nothing_that_is_kept(
    inside: Any, monkeypatch: pytest.MonkeyPatch, database_kind: str
) -> None:
    """On PostgreSQL a bad statement of the engine ends the save, loudly; on SQLite it is told and the save goes on."""
    make_rule()
    deal = make_deal(inside.stages["Lead"])
    deal_id = deal.id

    def bad(session: Any, *_more: Any) -> Any:
        return session.connection().execute(text("SELECT nonsense FROM nowhere"))

    monkeypatch.setattr(engine, "candidates", bad)
    if database_kind == "postgresql":
        with pytest.raises(TransactionLost):
            move(deal, inside.stages["Won"])
        db.session.rollback()
    else:
        move(deal, inside.stages["Won"])
    expected = "open" if database_kind == "postgresql" else "won"
    assert db.session.get_one(Deal, deal_id).status == expected and outcomes() == []

"""A rule never breaks, blocks or half-changes the write that started it: faults planted in every layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from soconnective.automation import candidates as candidates_module
from soconnective.automation import engine, listen, trace
from soconnective.automation.contracts import Action, ActionFailed, RunContext, StepResult, Trigger, Verdict
from soconnective.automation.models import AutomationRun
from soconnective.automation.registry import _actions, _triggers, register_action, register_trigger
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import TransactionLost
from soconnective.deals.models import Deal
from soconnective.events import EventRow
from soconnective.tasks.models import Task
from soconnective.timeline.models import Note
from soconnective.timeline.operations import write_note
from tests.factories.records import make_deal, make_rule, move


class Faulty(Action):
    """Writes a note, then does what the test planted."""

    type_id, label, group = "faulty", "Fail", "Test"
    plant: Any = None

    def run(self, context: RunContext) -> StepResult:
        write_note("half", deal_id=context.event.record_id)
        type(self).plant()
        return StepResult("went well")


class Raising(Trigger):
    type_id, record_type, label, group = "deal.updated", "deal", "a deal is updated", "Test"

    def match(self, event: Any) -> Verdict:
        raise RecursionError("planted")


@pytest.fixture(autouse=True)
def pieces() -> Iterator[None]:
    register_action(Faulty)
    kept = dict(_triggers)
    yield
    _actions.pop("faulty", None)
    _triggers.update(kept)


def _raise(error: BaseException) -> Any:
    def plant() -> None:
        raise error

    return plant


def _bad_row() -> None:
    db.session.execute(text("INSERT INTO notes (tenant_id) VALUES (NULL)"))


def _bad_flush() -> None:
    db.session.add(Task(title="x", status="nonsense", priority="normal"))


def _swallowed() -> None:
    with suppress(Exception):  # what a careless action would do
        db.session.connection().execute(text("SELECT nonsense"))


PLANTED: dict[str, Any] = {
    "python error": _raise(ValueError("planted")),
    "recursion": _raise(RecursionError("planted")),
    "memory": _raise(MemoryError()),
    "says why": _raise(ActionFailed("planted")),
    "integrity": _bad_row,
    "bad sql": lambda: db.session.execute(text("SELECT nonsense FROM nowhere")),
    "flush error": _bad_flush,
}


@pytest.mark.parametrize("fault", PLANTED)
@pytest.mark.parametrize("on_failure", ["undo", "keep"])
def test_a_fault_leaves_nothing_of_the_rule_and_the_save_stays(
    inside: Any, fault: str, on_failure: str
) -> None:
    Faulty.plant = staticmethod(PLANTED[fault])
    make_rule(steps=[("faulty", {})], on_failure=on_failure)
    make_rule(steps=[("log_note", {"body": "the next rule"})], name="Next")
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    db.session.expire_all()
    assert db.session.get_one(Deal, deal.id).status == "won"
    assert [note.body for note in db.session.scalars(select(Note))] == ["the next rule"]
    found = list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))
    assert [run.outcome for run in found] == ["failed", "succeeded"]
    assert found[0].detail
    told = [row.name for row in db.session.scalars(select(EventRow)) if row.record_type == "note"]
    assert told == ["note.logged"]


def test_a_swallowed_error_is_no_success(inside: Any, database_kind: str) -> None:
    Faulty.plant = staticmethod(_swallowed)
    make_rule(steps=[("faulty", {})])
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    run = db.session.scalars(select(AutomationRun)).one()
    assert run.outcome == ("failed" if database_kind == "postgresql" else "succeeded")
    assert db.session.get_one(Deal, deal.id).status == "won"


def test_a_condition_that_raises_is_an_error_never_a_match(inside: Any) -> None:
    register_trigger(Raising)
    listen()
    make_rule("deal.updated", [("log_note", {"body": "x"})])
    deal = make_deal(inside.stages["Lead"])
    with write_transaction():
        deal.title = "Other"
    assert [run.outcome for run in db.session.scalars(select(AutomationRun))] == ["failed"]
    assert db.session.scalar(select(func.count()).select_from(Note)) == 0


def test_a_transaction_that_ended_under_us_fails_loudly(inside: Any, database_kind: str) -> None:
    """Never success without the row: the control is the same fault without the alive check."""

    def end() -> None:
        db.session.connection().connection.dbapi_connection.execute("ROLLBACK")  # type: ignore[union-attr]

    Faulty.plant = staticmethod(end)
    make_rule(steps=[("faulty", {})])
    deal = make_deal(inside.stages["Lead"])
    deal_id = deal.id
    with pytest.raises((TransactionLost, OperationalError, Exception)):
        move(deal, inside.stages["Won"])
    db.session.rollback()
    db.session.expire_all()
    assert db.session.get_one(Deal, deal_id).status == "open"


def test_an_engine_that_cannot_read_its_rules_lets_the_save_go_on(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_rule()
    deal = make_deal(inside.stages["Lead"])
    monkeypatch.setattr(engine, "candidates", lambda *_a: (_ for _ in ()).throw(RuntimeError("planted")))
    move(deal, inside.stages["Won"])
    assert db.session.get_one(Deal, deal.id).status == "won"
    assert candidates_module.candidates is not engine.candidates


def test_a_trace_that_cannot_be_written_loses_no_run(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_rule()
    deal = make_deal(inside.stages["Lead"])
    real = trace.record
    calls = []

    def flaky(session: Any, runs: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise IntegrityError("planted", None, Exception("planted"))
        real(session, runs)

    monkeypatch.setattr(trace, "record", flaky)
    move(deal, inside.stages["Won"])
    assert "trace could not be written" in db.session.scalars(select(AutomationRun)).one().detail


def test_texts_that_no_database_can_hold_do_not_break_the_save(inside: Any) -> None:
    Faulty.plant = staticmethod(_raise(ActionFailed("a\x00b\ud800")))
    make_rule(steps=[("faulty", {})])
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    assert "a" in db.session.scalars(select(AutomationRun)).one().detail

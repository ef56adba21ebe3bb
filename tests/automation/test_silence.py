"""Rules that wait for silence: nothing that people do for so many days; once for each silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from soconnective.automation.models import Automation
from soconnective.automation.operations import set_active
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.deals.operations import delete_deal, update_deal
from soconnective.events import EventRow
from soconnective.tasks.models import Task
from soconnective.tasks.operations import complete_task, create_task
from tests.automation.timed import note, notes, rows, runs, tick, work
from tests.factories.records import make_deal, make_rule

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


def rule(steps: Any = None, **more: Any) -> int:
    with clock.at(NOW):
        return int(make_rule("deal.went_silent", steps or [note("silent")], settings={"days": 7}, **more).id)


def deal(inside: Any, at: datetime = NOW) -> int:
    with clock.at(at):
        return int(make_deal(inside.stages["Lead"]).id)


def test_it_comes_so_many_days_after_the_last_activity(inside: Any) -> None:
    rule()
    record = deal(inside)
    assert rows() == [(record, NOW.isoformat(), NOW + WEEK, "planned")]
    later = NOW + timedelta(days=3, minutes=7)
    with clock.at(later), write_transaction():
        update_deal(db.session.get_one(Deal, record), title="Another")
    assert rows() == [(record, later.isoformat(), later + WEEK, "planned")]
    assert tick(NOW + WEEK) == 0
    assert tick(later + WEEK) == 1 and notes() == ["silent"]
    assert runs()[0].trace["checks"][0]["actual"] == "on time"


def test_what_happens_to_what_is_linked_to_it_is_activity(inside: Any) -> None:
    rule()
    record = deal(inside)
    later = NOW + timedelta(days=2)
    with clock.at(later), write_transaction():
        made = create_task("Call", deal_id=record)
    task = made.id
    assert rows()[0][2] == later + WEEK
    with clock.at(later + WEEK - timedelta(days=1)), write_transaction():
        complete_task(db.session.get_one(Task, task))
    assert rows()[0][2] == later + 2 * WEEK - timedelta(days=1)


def test_what_rules_do_is_no_activity_so_it_fires_once_in_a_silence(inside: Any) -> None:
    record = deal(inside)
    rule([note("silent"), ("create_task", {"title": "Ask them"})])
    with clock.at(NOW):
        make_rule("task.created", [note("and so on")], name="Second")
    assert tick(NOW + WEEK) == 1
    assert sorted(notes()) == ["and so on", "silent"]
    for weeks in range(2, 9):
        assert tick(NOW + weeks * WEEK) == 0
    assert len(notes()) == 2 and [row[3] for row in rows()] == ["fired"]
    again = NOW + 10 * WEEK
    with clock.at(again), write_transaction():
        update_deal(db.session.get_one(Deal, record), title="Spoke to them")
    assert tick(again + WEEK) == 1 and notes().count("silent") == 2


def test_control_if_what_rules_do_counted_it_would_come_again_and_again(
    inside: Any, monkeypatch: Any
) -> None:
    from soconnective.automation import due, timed_silence

    monkeypatch.setattr(due, "is_activity", lambda event: True)
    monkeypatch.setattr(timed_silence, "NOT_ACTIVE", ("nobody",))
    deal(inside)
    rule()
    for weeks in range(1, 4):
        tick(NOW + weeks * WEEK + timedelta(minutes=weeks))
    assert len(notes()) > 1


def test_switching_on_looks_at_what_exists_and_leaves_old_silences(inside: Any) -> None:
    deal(inside, NOW - 5 * WEEK)
    recent = deal(inside, NOW - timedelta(days=2))
    found = rule()
    work(NOW)
    assert rows() == [(recent, (NOW - timedelta(days=2)).isoformat(), NOW + timedelta(days=5), "planned")]
    with clock.at(NOW), write_transaction():
        set_active(db.session.get_one(Automation, found), False)
    work(NOW)
    assert rows() == []


def test_a_deleted_record_is_not_silent(inside: Any) -> None:
    rule()
    record = deal(inside)
    with clock.at(NOW), write_transaction():
        create_task("Call", deal_id=record)
    with clock.at(NOW), write_transaction():
        for task in db.session.scalars(select(Task)):
            task.deal_id = None
        delete_deal(db.session.get_one(Deal, record))
    assert rows() == [] and tick(NOW + 2 * WEEK) == 0


def test_it_is_told_by_the_schedule_to_one_rule(inside: Any) -> None:
    first = rule(name="First")
    deal(inside)
    tick(NOW + WEEK)
    fact = db.session.scalars(select(EventRow).where(EventRow.name == "deal.went_silent")).one()
    assert (fact.actor_kind, fact.actor_id, fact.snapshot["rule_id"]) == ("schedule", first, first)


def test_workspaces_do_not_meet(inside: Any, rivals: Any) -> None:
    rule()
    with acting_in(rivals.id):
        with clock.at(NOW):
            make_deal(rivals.stages["Lead"])
        assert rows() == []
        db.session.rollback()
    assert tick(NOW + WEEK) == 0


def test_it_is_said_as_a_sentence(inside: Any) -> None:
    from soconnective.automation.definition import build

    said = build("x", "deal.went_silent", {"days": 1}, [note("x")]).sentence()
    assert said == "When nothing happens to a deal for 1 day → log note “x”"

"""The edges of what is due: closed for good, many at once, rows in another's hand, records that go on the way, and old rows."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from soconnective.automation import due, due_fire
from soconnective.automation.due_fire import FireDue, take_due
from soconnective.automation.due_models import AutomationDue
from soconnective.automation.due_plan import PlanDue, is_timed, rule_changed
from soconnective.automation.due_queries import coming
from soconnective.automation.due_schedule import RunSchedule
from soconnective.automation.engine import OFF
from soconnective.automation.hours import save_hours
from soconnective.automation.models import Automation
from soconnective.automation.operations import definition_of, set_active
from soconnective.automation.timed import span_text
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.deals.operations import create_deal, delete_deal, update_deal
from soconnective.jobs import Job, enqueue
from soconnective.jobs.kinds import ticks
from tests.automation.test_due_dates import CLOSE, DUE, NOW, deal, rule
from tests.automation.timed import elsewhere, note, notes, rows, runs, tick, work
from tests.factories.records import make_deal, make_rule

WEEK: list[Any] = [(time(9), time(17))] * 5 + [None] * 2
DAILY = {"mode": "weekdays", "weekdays": [0, 1, 2, 3, 4], "at": "09:00"}


def hours(week: list[Any]) -> None:
    with clock.at(NOW), write_transaction():
        save_hours(week, "", "", [])


def test_a_workspace_that_never_opens_plans_nothing_and_breaks_nothing(inside: Any) -> None:
    """On working days only, and there are none: never due. Other rules are planned as ever."""
    rule({**CLOSE, "working_days": True}, name="Never")
    other = rule(name="Other")
    hours([None] * 7)
    record = deal(inside)
    assert [row[:3] for row in rows()] == [(record.id, "2026-03-20", DUE)]
    assert db.session.scalars(select(AutomationDue.automation_id)).one() == other.id
    work(NOW)  # what was planned when the rules were switched on
    jobs = db.session.scalars(select(Job).where(Job.kind == due.PLAN)).all()
    assert jobs and {job.state for job in jobs} == {"done"}
    assert tick(DUE) == 1 and notes() == ["Roll-out closes"]


def test_what_was_planned_before_it_closed_for_good_is_taken_back(inside: Any) -> None:
    rule({**CLOSE, "working_days": True})
    deal(inside)
    work(NOW)
    assert len(rows()) == 1
    hours([None] * 7)
    assert tick(DUE) == 1 and notes() == [] and rows() == []


def test_more_than_one_turn_of_due_rows_leaves_the_rest_to_the_next(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One workspace does not keep the scheduler from the others."""
    monkeypatch.setattr(due_fire, "SLICE", 2)
    monkeypatch.setattr(due_fire, "MOST_SLICES", 2)
    rule()
    for _ in range(5):
        deal(inside)
    work(NOW)
    assert [tick(DUE), tick(DUE), tick(DUE)] == [4, 1, 0] and len(notes()) == 5


def test_a_record_that_goes_while_its_rule_is_about_to_fire(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read, then deleted by somebody else, then told: nothing is told, and the row is gone."""
    rule()
    deal(inside)
    work(NOW)
    monkeypatch.setattr(
        due_fire, "addressed_event", lambda *_args, **_more: None
    )  # what it says of a missing record
    assert tick(DUE) == 1 and rows() == [] and runs() == []


def test_a_value_that_came_back_to_one_that_fired_does_not_fire_again(inside: Any) -> None:
    """Fired for the 20th; a row for another day is due, but behind our back the date is the 20th again."""
    rule()
    record = deal(inside)
    assert tick(DUE) == 1
    with clock.at(NOW), write_transaction():
        update_deal(record.row, expected_close_on=date(2026, 5, 20))
    with write_transaction():
        row = db.session.scalars(select(AutomationDue).where(AutomationDue.state == "planned")).one()
        row.at = DUE + timedelta(days=1)
        db.session.connection().execute(
            Deal.__table__.update()
            .where(Deal.__table__.c.tenant_id == inside.id)
            .values(expected_close_on=date(2026, 3, 20))  # type: ignore[attr-defined]
        )
    assert tick(DUE + timedelta(days=2)) == 1
    assert len(notes()) == 1 and [row[3] for row in rows()] == ["fired"]


def test_a_row_in_the_hand_of_a_worker_is_planned_by_a_job(app: Any, inside: Any, database_kind: str) -> None:
    """On PostgreSQL a save waits for no worker; on SQLite there is one writer, and nothing to wait for."""
    rule()
    record = deal(inside)
    work(NOW)
    holds, done = threading.Event(), threading.Event()

    def hold() -> None:
        with app.app_context(), acting_in(inside.id), write_transaction():
            db.session.scalars(select(AutomationDue).with_for_update()).one()
            holds.set()
            done.wait(20)

    db.session.rollback()
    if database_kind == "postgresql":
        thread = threading.Thread(target=hold)
        thread.start()
        assert holds.wait(20)
    with clock.at(NOW), write_transaction():
        update_deal(record.row, expected_close_on=date(2026, 4, 10))
    moved = (record.id, "2026-04-10", datetime(2026, 4, 7, 7, tzinfo=UTC), "planned")
    if database_kind == "postgresql":
        assert rows() == [(record.id, "2026-03-20", DUE, "planned")]
        db.session.rollback()
        done.set()
        thread.join(20)
        work(NOW)
    assert rows() == [moved]


def test_what_fired_long_ago_is_forgotten_in_parts(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rule()
    old = [deal(inside).id for _ in range(12)]
    tick(DUE)
    recent = deal(inside, "2027-03-20")
    tick(DUE + timedelta(days=365))
    monkeypatch.setattr(due_fire, "SLICE", 1)  # five at once
    assert [row[0] for row in rows()] == [*old, recent.id]
    late = DUE + due_fire.KEPT + timedelta(days=1)
    [forget] = [tick for tick in ticks() if tick.name == "forget_due"]
    with clock.at(late):
        elsewhere(forget.run, late)
        elsewhere(forget.run, late)  # the same day: once
        jobs = select(Job).where(Job.kind == due_fire.ForgetDue.kind)
        assert len(db.session.scalars(jobs).all()) == 1
        db.session.rollback()
    work(late)
    assert [row[0] for row in rows()] == [recent.id]


def test_the_jobs_are_told_by_the_names_of_their_rules(inside: Any) -> None:
    made = rule(name="Closing soon")
    asked = {"automation_id": made.id, "due_id": 1}
    assert PlanDue().describe(asked) == "“Closing soon”"
    assert PlanDue().describe({**asked, "done": 1500}) == "“Closing soon”, 1,500 records looked at"
    assert FireDue().describe(asked) == "“Closing soon”"
    assert RunSchedule().describe({**asked, "done": 25}) == "“Closing soon”, 25 records so far"
    gone = {"automation_id": made.id + 100, "done": 3}
    assert (PlanDue().describe(gone), FireDue().describe(gone)) == ("a rule that is gone",) * 2


def test_a_rule_that_waits_for_no_time_needs_no_plan(inside: Any) -> None:
    assert is_timed("deal.date_reached") and is_timed("deal.schedule_due")
    assert not is_timed("deal.won") and not is_timed("deal.never_heard_of")
    made = make_rule()
    with write_transaction():
        rule_changed(made, "deal.lost")
    assert db.session.scalars(select(Job).where(Job.kind == due.PLAN)).all() == []


def test_a_date_that_is_gone_plans_nothing_and_takes_back_what_was(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The field that the rule names was known when it was saved."""
    from soconnective.automation import due_plan, timed_dates

    made = rule()
    deal(inside)
    work(NOW)
    known = dict(due_plan.fields_of("deal"))
    known.pop("expected_close_on")
    for module in (due_plan, timed_dates):
        monkeypatch.setattr(module, "fields_of", lambda _kind: known)
    with clock.at(NOW), write_transaction():
        enqueue(due.PLAN, {"automation_id": made.id, "since": NOW.isoformat()})
    work(NOW)
    assert tick(DUE) == 1 and notes() == [] and rows() == []
    said = definition_of(made.row).trigger.describe()
    assert said == "it is 3 days before a deal's ⚠ a date that is gone at 09:00"


def test_one_record_is_planned_alone_if_that_is_asked(inside: Any) -> None:
    made = rule()
    work(NOW)
    with clock.at(NOW):
        ids = [make_deal(inside.stages["Lead"], f"Deal {n}", expected_close_on=date(2026, 3, 20)).id for n in range(2)]  # fmt: skip
        with write_transaction():
            for row in db.session.scalars(select(AutomationDue)):
                db.session.delete(row)
            payload = {"automation_id": made.id, "record_id": ids[1], "since": NOW.isoformat()}
            enqueue(due.PLAN, payload)
    work(NOW)
    assert [row[0] for row in rows()] == [ids[1]]


def test_a_plan_that_comes_late_fires_late(inside: Any) -> None:
    """What became due since it was asked for is planned, though its moment is over when the job runs."""
    with clock.at(NOW), write_transaction():
        create_deal("Late", inside.stages["Lead"], expected_close_on=date(2026, 3, 20))
    rule()
    assert rows() == []
    work(DUE + timedelta(hours=1))
    assert [row[3] for row in rows()] == ["planned"]
    assert tick(DUE + timedelta(hours=1)) == 1 and notes() == ["Late closes"]


def test_what_a_rules_page_says_of_the_time_to_come(app: Any, inside: Any) -> None:
    won = make_rule(name="Won")
    made = rule()
    records = [deal(inside, f"2026-03-{day}", title=f"On {day}") for day in (22, 21, 20)]
    with clock.at(NOW), app.test_request_context():
        assert coming(won, definition_of(won)) is None
        found = coming(made.row, definition_of(made.row))
        assert [one.title for one in found or ()] == ["On 20", "On 21", "On 22"]
        assert found is not None and found[0].at == DUE and found[0].url.endswith(f"/deals/{records[2].id}")
        with write_transaction():
            set_active(made.row, False)
        assert coming(made.row, definition_of(made.row)) == []
        daily = make_rule("deal.schedule_due", [note("x")], settings=DAILY, name="Daily")
        assert [one.at.day for one in coming(daily, definition_of(daily)) or ()] == [3, 4, 5]


def test_a_row_whose_record_is_gone_is_shown_as_such(app: Any, inside: Any) -> None:
    made = rule()
    record = deal(inside)
    with write_transaction():
        delete_deal(record.row)
        db.session.flush()
    with clock.at(NOW), write_transaction():
        db.session.add(
            AutomationDue(
                automation_id=made.id, number=1, record_type="deal", record_id=record.id, due_value="2026-03-20", at=DUE,
                tenant_id=inside.id,
            )
        )  # fmt: skip
    with clock.at(NOW), app.test_request_context():
        assert [one.title for one in coming(made.row, definition_of(made.row)) or ()] == [
            "a record that is gone"
        ]
    assert tick(DUE) == 1 and rows() == [] and runs() == []


SCHEDULE_CHANGES = ["off", "another trigger"]


@pytest.mark.parametrize("change", SCHEDULE_CHANGES)
def test_a_schedule_whose_rule_changed_between_the_tick_and_the_job(inside: Any, change: str) -> None:
    from soconnective.automation.definition import build
    from soconnective.automation.operations import update_automation

    with clock.at(NOW):
        found = make_rule("deal.schedule_due", [note("x")], settings=DAILY).id
        make_deal(inside.stages["Lead"])
    work(NOW)
    at = datetime(2026, 3, 3, 8, tzinfo=UTC)
    with clock.at(at):
        assert elsewhere(take_due, at) == 1
    with clock.at(at), write_transaction():
        row = db.session.get_one(Automation, found)
        if change == "off":
            set_active(row, False)
        else:
            update_automation(row, build("x", "deal.won", {}, [note("x")]))
    work(at)
    assert notes() == []
    if (
        change == "off"
    ):  # it had come: the record is told that the rule was off, and no next moment is planned
        assert [(run.outcome, run.detail) for run in runs()] == [("skipped", OFF)]
        assert {row[3] for row in rows()} == {"fired"}
    else:
        assert rows() == []


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(seconds=59), "0 min"), (timedelta(minutes=-5), "0 min"), (timedelta(minutes=61), "1 h 1 min"),
        (timedelta(days=2, minutes=5), "2 d 5 min"), (timedelta(days=1, hours=2, minutes=3), "1 d 2 h"),
    ],
)  # fmt: skip
def test_spans_are_told_in_their_two_largest_units(span: timedelta, said: str) -> None:
    assert span_text(span) == said

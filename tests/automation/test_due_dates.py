"""Rules that wait for a date: planned with the change, fired once, late ones marked, moved and taken back with it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select, text

from soconnective.appointments.operations import schedule_appointment, update_appointment
from soconnective.automation import due, due_fire, due_plan
from soconnective.automation.definition import build
from soconnective.automation.due_fire import take_due
from soconnective.automation.due_models import AutomationDue
from soconnective.automation.engine import OFF
from soconnective.automation.models import Automation
from soconnective.automation.operations import (
    create_automation,
    delete_automation,
    set_active,
    update_automation,
)
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.deals.operations import delete_deal, update_deal
from soconnective.events import EventRow
from soconnective.jobs import Job
from soconnective.jobs.queue import claim
from soconnective.jobs.worker import perform
from soconnective.tasks.operations import create_task
from tests.automation.timed import elsewhere, note, notes, rows, runs, tick, work
from tests.factories.records import make_deal, make_rule

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # Madrid: 13:00, UTC+1; from 29 March UTC+2
CLOSE = {"field": "expected_close_on", "amount": 3, "unit": "days", "direction": "before", "at": "09:00"}


@dataclass(frozen=True)
class Ref:
    """A row by its id: workers let go of what the test has loaded."""

    model: Any
    id: int

    @property
    def row(self) -> Any:
        return db.session.get_one(self.model, self.id)


def rule(settings: Any = None, **more: Any) -> Ref:
    with clock.at(NOW):
        made = make_rule(
            "deal.date_reached", more.pop("steps", [note("{{ deal.title }} closes")]), settings=settings or CLOSE, **more
        )  # fmt: skip
        return Ref(Automation, made.id)


def deal(inside: Any, close: str | None = "2026-03-20", **values: Any) -> Ref:
    with clock.at(NOW):
        day = date.fromisoformat(close) if close else None
        return Ref(Deal, make_deal(inside.stages["Lead"], expected_close_on=day, **values).id)


def change(record: Ref, **values: Any) -> None:
    with clock.at(NOW), write_transaction():
        update_deal(record.row, **values)


DUE = datetime(2026, 3, 17, 8, tzinfo=UTC)


def test_it_is_planned_with_the_save_and_fires_once(inside: Any) -> None:
    made = rule()
    record = deal(inside)
    assert rows() == [(record.id, "2026-03-20", DUE, "planned")]
    assert tick(DUE - timedelta(seconds=1)) == 0 and notes() == []
    assert tick(DUE) == 1
    assert notes() == ["Roll-out closes"]
    [run] = runs()
    assert (run.outcome, run.automation_id) == ("succeeded", made.id)
    assert run.trace["checks"][0]["label"] == "Due" and run.trace["checks"][0]["actual"] == "on time"
    assert rows() == [(record.id, "2026-03-20", DUE, "fired")]
    assert tick(DUE + timedelta(days=9)) == 0 and len(notes()) == 1


def test_its_event_is_addressed_told_by_the_schedule_and_on_the_timeline(inside: Any) -> None:
    made, other = rule(name="Mine"), rule({**CLOSE, "amount": 2}, name="Other")
    record = deal(inside)
    tick(DUE)
    fact = db.session.scalars(select(EventRow).where(EventRow.name == "deal.date_reached")).one()
    assert (fact.actor_kind, fact.actor_id, fact.actor_name) == ("schedule", made.id, "Schedule of “Mine”")
    assert fact.snapshot["rule_id"] == made.id and fact.changes == {} and fact.root_id is None
    assert [run.automation_id for run in runs()] == [made.id] != [other.id]
    linked = db.session.execute(
        text("SELECT record_type, record_id FROM event_links WHERE tenant_id = :t AND event_id = :e"),
        {"t": inside.id, "e": fact.id},
    ).all()
    assert [tuple(row) for row in linked] == [("deal", record.id)]


def test_one_that_comes_late_says_so(inside: Any) -> None:
    rule()
    deal(inside)
    tick(DUE + timedelta(hours=26, minutes=5))
    [run] = runs()
    assert run.trace["checks"][0]["actual"].endswith("1 d 2 h late")
    fact = db.session.scalars(select(EventRow).where(EventRow.name == "deal.date_reached")).one()
    assert fact.changes["due_at"] == [DUE.isoformat(), (DUE + timedelta(hours=26, minutes=5)).isoformat()]


def test_a_moved_date_moves_it_and_an_empty_one_takes_it_back(inside: Any) -> None:
    rule()
    record = deal(inside)
    change(record, expected_close_on=date(2026, 4, 10))
    moved = datetime(2026, 4, 7, 7, tzinfo=UTC)  # summer time
    assert rows() == [(record.id, "2026-04-10", moved, "planned")]
    change(record, title="Another")
    assert rows() == [(record.id, "2026-04-10", moved, "planned")]
    assert tick(DUE) == 0
    change(record, expected_close_on=None)
    assert rows() == []


def test_a_date_that_moves_back_to_what_fired_does_not_fire_again(inside: Any) -> None:
    rule()
    record = deal(inside)
    tick(DUE)
    change(record, expected_close_on=date(2026, 5, 20))
    change(record, expected_close_on=date(2026, 3, 20))
    assert [row[3] for row in rows()] == ["fired"] and tick(DUE + timedelta(days=90)) == 0
    change(record, expected_close_on=date(2026, 6, 20))
    assert tick(DUE + timedelta(days=120)) == 1 and len(notes()) == 2


def test_what_was_over_when_the_date_was_set_is_not_planned(inside: Any) -> None:
    rule()
    deal(inside, "2026-03-04")
    assert rows() == [] and tick(NOW + timedelta(days=30)) == 0


def test_a_deleted_record_takes_its_row_along(inside: Any) -> None:
    rule()
    record = deal(inside)
    with write_transaction():
        delete_deal(record.row)
    assert rows() == [] and tick(DUE) == 0


def test_what_a_rule_changes_is_planned_too(inside: Any) -> None:
    rule()
    step = ("change_field", {"target": "deal", "field": "expected_close_on", "value": "18"})
    make_rule("deal.created", [step], name="Sets the date")
    record = deal(inside, None)
    assert rows() == [(record.id, "2026-03-20", DUE, "planned")]


def test_a_save_that_is_rolled_back_plans_nothing(inside: Any) -> None:
    rule()
    record = deal(inside)

    def _fail() -> None:
        with write_transaction():
            update_deal(record.row, expected_close_on=date(2026, 7, 1))
            db.session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _fail()
    assert [row[1] for row in rows()] == ["2026-03-20"]


def _off(made: Any) -> None:
    set_active(made.row, False)


def _gone(made: Any) -> None:
    delete_automation(made.row)


def _other_trigger(made: Any) -> None:
    update_automation(made.row, build("Won kickoff", "deal.won", {}, [note("x")]))


@pytest.mark.parametrize("happen", [_off, _gone, _other_trigger])
@pytest.mark.parametrize("when", ["before the tick", "between the tick and the job"])
def test_a_rule_that_is_off_never_fires(inside: Any, happen: Any, when: str) -> None:
    made = rule()
    deal(inside)
    work(NOW)
    if when == "between the tick and the job":
        with clock.at(DUE):
            assert elsewhere(take_due, DUE) == 1
    with clock.at(NOW), write_transaction():
        happen(made)
    tick(DUE)
    assert notes() == []
    if happen is _off and when == "between the tick and the job":  # it was due: that is not passed over
        assert [(run.outcome, run.detail) for run in runs()] == [("skipped", OFF)] and rows()[0][3] == "fired"
    else:
        assert runs() == [] and rows() == []


def test_switching_on_plans_what_exists_but_not_what_is_over(inside: Any) -> None:
    soon, over = deal(inside), deal(inside, "2026-03-04")
    deal(inside, None)
    rule()
    work(NOW)
    assert rows() == [(soon.id, "2026-03-20", DUE, "planned")] and over.id not in [row[0] for row in rows()]


def test_planning_goes_in_slices(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_plan, "SLICE", 2)
    made = [deal(inside).id for _ in range(5)]
    found = rule()
    work(NOW)
    assert [row[0] for row in rows()] == made
    with clock.at(NOW), write_transaction():
        set_active(found.row, False)
    work(NOW)
    assert rows() == []


def test_saving_the_rule_anew_plans_anew(inside: Any) -> None:
    made = rule()
    record = deal(inside)
    with clock.at(NOW), write_transaction():
        update_automation(made.row, build("x", "deal.date_reached", {**CLOSE, "amount": 1}, [note("new")]))
    work(NOW)
    assert rows() == [(record.id, "2026-03-20", DUE + timedelta(days=2), "planned")]
    assert tick(DUE) == 0 and tick(DUE + timedelta(days=2)) == 1 and notes() == ["new"]


def test_another_field_forgets_what_the_first_planned(inside: Any) -> None:
    with clock.at(NOW):
        task_rule = make_rule("task.date_reached", [note("x")], settings={"field": "due_on", "at": "09:00"})
        made = Ref(Automation, task_rule.id)
        with write_transaction():
            create_task("Call", due_on=date(2026, 3, 20))
    assert len(rows()) == 1
    with clock.at(NOW), write_transaction():
        update_automation(made.row, build("x", "deal.date_reached", CLOSE, [note("x")]))
    work(NOW)
    assert rows() == []


def test_a_row_that_is_due_stays_due_when_its_rule_is_saved(inside: Any) -> None:
    made = rule()
    deal(inside)
    with clock.at(DUE), write_transaction():
        update_automation(made.row, build("x", "deal.date_reached", CLOSE, [note("new")]))
    assert tick(DUE + timedelta(seconds=5)) == 1 and notes() == ["new"]


def test_conditions_are_judged_when_it_fires(inside: Any) -> None:
    with clock.at(NOW), write_transaction():
        tree = {"match": "all", "items": [{"field": "amount", "operator": "at_least", "value": "100"}]}
        definition = build("Big", "deal.date_reached", CLOSE, [note("{{ deal.title }}")], "undo", tree)
        create_automation(definition, is_active=True)
    big, small = deal(inside, title="Big", amount="5"), deal(inside, title="Small", amount="500")
    change(big, amount="500")
    change(small, amount="5")
    assert tick(DUE) == 2
    assert notes() == ["Big"] and sorted(run.outcome for run in runs()) == ["not_matched", "succeeded"]


def test_a_failure_of_the_rule_is_a_failed_run_and_fires_once(inside: Any) -> None:
    rule(steps=[("change_field", {"target": "company", "field": "name", "value": "x"})])
    deal(inside)
    assert tick(DUE) == 1 and tick(DUE + timedelta(days=1)) == 0
    assert [(run.outcome, run.detail) for run in runs()] == [
        ("failed", "step 1 failed: The deal has no company.")
    ]


def test_two_workers_tick_at_once_and_each_fires_once(app: Any, inside: Any) -> None:
    rule()
    ids = [deal(inside).id for _ in range(12)]
    work(NOW)
    barrier = threading.Barrier(2)

    def _one() -> None:
        with app.app_context(), clock.at(DUE):
            barrier.wait()
            take_due(DUE)
            while claims := claim("w", 3):
                for one in claims:
                    perform(one)
            db.session.remove()

    db.session.remove()
    threads = [threading.Thread(target=_one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    tick(DUE)
    assert sorted(run.record_id for run in runs()) == ids and len(notes()) == 12


def test_a_job_that_is_done_again_fires_nothing(inside: Any) -> None:
    rule()
    deal(inside)
    tick(DUE)
    with write_transaction():
        job = db.session.scalars(select(Job).where(Job.kind == "automation.fire_due")).one()
        job.state, job.next_at = "ready", DUE
    assert work(DUE) == ["done"] and len(notes()) == 1


@pytest.mark.parametrize("step", ["mark_fired", "tell", "addressed_event"])
def test_a_worker_that_is_lost_on_the_way_leaves_nothing_and_another_fires_it_once(
    inside: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    rule()
    record = deal(inside)
    work(NOW)
    real = getattr(due_fire, step)

    def _lost(*args: Any, **more: Any) -> None:
        real(*args, **more)
        raise ConnectionError("the worker is lost")

    with monkeypatch.context() as patch:
        patch.setattr(due_fire, step, _lost)
        tick(DUE)
        assert notes() == [] and runs() == [] and [row[3] for row in rows()] == ["taken"]
    work(DUE + timedelta(minutes=1))
    tick(DUE + timedelta(minutes=1))
    assert len(notes()) == 1 and [row[0::3] for row in rows()] == [(record.id, "fired")]


def test_control_a_row_that_is_not_marked_fired_fires_again(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule()
    deal(inside)
    work(NOW)
    with monkeypatch.context() as patch:
        patch.setattr(due_fire, "mark_fired", lambda *_args: None)
        tick(DUE)
        with write_transaction():
            job = db.session.scalars(select(Job).where(Job.kind == "automation.fire_due")).one()
            job.state, job.next_at = "ready", DUE
        work(DUE)
    assert len(notes()) == 2


def test_a_change_behind_our_back_is_seen_when_it_fires(inside: Any) -> None:
    """The due row is moved, as if the hook had missed the change."""
    rule()
    record = deal(inside)
    change(record, expected_close_on=date(2026, 5, 20))
    with write_transaction():
        db.session.scalars(select(AutomationDue)).one().at = DUE
    assert tick(DUE) == 1 and notes() == []
    assert rows() == [(record.id, "2026-05-20", datetime(2026, 5, 17, 7, tzinfo=UTC), "planned")]


def test_planning_that_fails_breaks_no_save_and_is_done_again(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule()
    work(NOW)
    with monkeypatch.context() as patch:
        patch.setattr(due, "_insert", lambda connection: text("INSERT INTO nowhere VALUES (1)"))
        record = deal(inside)
    assert rows() == []
    work(NOW)
    assert rows() == [(record.id, "2026-03-20", DUE, "planned")]


def test_a_moment_counts_to_the_minute(inside: Any) -> None:
    starts = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
    with clock.at(NOW):
        made = make_rule(
            "appointment.date_reached",
            [note("soon")],
            settings={"field": "starts_at", "amount": 1, "unit": "hours"},
        ).id
        with write_transaction():
            record = schedule_appointment("Demo", starts, starts + timedelta(hours=1))
    assert rows() == [(record.id, starts.isoformat(), starts - timedelta(hours=1), "planned")]
    with clock.at(NOW), write_transaction():
        update_appointment(record, starts_at=starts + timedelta(minutes=30))
    assert [row[2] for row in rows()] == [starts - timedelta(minutes=30)]
    with clock.at(NOW), write_transaction():
        set_active(db.session.get_one(Automation, made), False)
    work(NOW)
    assert rows() == []
    with clock.at(NOW), write_transaction():
        set_active(db.session.get_one(Automation, made), True)
    assert tick(starts - timedelta(minutes=30)) == 1 and notes() == ["soon"]


SENTENCES = [
    (CLOSE, "it is 3 days before a deal's expected close at 09:00"),
    ({**CLOSE, "amount": 1, "direction": "after"}, "it is 1 day after a deal's expected close at 09:00"),
    ({**CLOSE, "amount": 0, "working_days": True}, "it is a deal's expected close at 09:00, on working days"),
]


@pytest.mark.parametrize(("settings", "said"), SENTENCES)
def test_it_is_said_as_a_sentence(inside: Any, settings: Any, said: str) -> None:
    assert build("x", "deal.date_reached", settings, []).trigger.describe() == said


@pytest.mark.parametrize(
    ("settings", "field"),
    [({}, "field"), ({"field": "title"}, "field"), ({**CLOSE, "unit": "hours"}, "unit")],
)
def test_what_makes_no_sense_is_refused_at_its_field(inside: Any, settings: Any, field: str) -> None:
    with pytest.raises(Refused) as refused:
        make_rule("deal.date_reached", settings=settings)
    assert refused.value.field == f"trigger-{field}"


def test_workspaces_do_not_meet(inside: Any, rivals: Any) -> None:
    rule()
    with acting_in(rivals.id):
        with clock.at(NOW):
            make_deal(rivals.stages["Lead"], expected_close_on=date(2026, 3, 20))
        assert rows() == []
        db.session.rollback()
    deal(inside)
    assert tick(DUE) == 1 and notes() == ["Roll-out closes"]
    with acting_in(rivals.id):
        assert notes() == []
        db.session.rollback()


def statements(function: Any) -> list[str]:
    found: list[str] = []

    def _listen(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        found.append(statement)

    sqlalchemy_event.listen(db.engine, "before_cursor_execute", _listen)
    try:
        function()
    finally:
        sqlalchemy_event.remove(db.engine, "before_cursor_execute", _listen)
    return found


def test_without_such_rules_a_save_asks_once(inside: Any) -> None:
    record = deal(inside)
    asked = statements(lambda: change(record, expected_close_on=date(2026, 4, 1)))
    assert (
        len([one for one in asked if "automations" in one and one.startswith("SELECT")]) == 2
    )  # the engine, and this
    assert [one for one in asked if "automation_due" in one or "business_hours" in one] == []


def test_a_tick_reads_only_what_is_due(inside: Any, database_kind: str) -> None:
    """By its plan: through the partial index, from the earliest on."""
    rule()
    for number in range(3):
        deal(inside, f"2026-03-2{number}")
    work(NOW)
    asked = statements(lambda: elsewhere(take_due, DUE))
    assert len([one for one in asked if "UPDATE automation_due" in one]) == 1
    if database_kind == "sqlite":
        query = (
            "EXPLAIN QUERY PLAN SELECT id FROM automation_due WHERE tenant_id = 1 AND state = 'planned' AND at <= '2026-03-18' "
            "ORDER BY at, id LIMIT 200"
        )
        plan = " ".join(str(row[-1]) for row in db.session.execute(text(query)))
        assert "ix_automation_due_next (tenant_id=? AND at<?)" in plan and "TEMP B-TREE" not in plan

"""Rules on a schedule: which moments, for which records, once each, missed ones once and late, in slices."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from soconnective.automation import due_schedule
from soconnective.automation.definition import build
from soconnective.automation.due_fire import take_due
from soconnective.automation.models import Automation
from soconnective.automation.operations import create_automation, set_active
from soconnective.automation.timed_schedule import ScheduleSettings, explain, upcoming
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.core.workhours import WorkHours
from soconnective.events import EventLink, EventRow
from soconnective.jobs import Job
from soconnective.jobs.queue import claim
from soconnective.jobs.worker import perform
from tests.automation.timed import elsewhere, note, notes, rows, runs, tick, work
from tests.factories.records import make_deal, make_rule
from tests.proofs.pages import form_to

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday; Madrid 13:00
NEXT = datetime(2026, 3, 3, 8, tzinfo=UTC)
DAILY = {"mode": "weekdays", "weekdays": [0, 1, 2, 3, 4], "at": "09:00"}


def rule(settings: Any = None, conditions: Any = None, steps: Any = None) -> int:
    definition = build(
        "Daily",
        "deal.schedule_due",
        settings or DAILY,
        steps or [note("{{ deal.title }}")],
        "undo",
        conditions,
    )
    with clock.at(NOW), write_transaction():
        return create_automation(definition, is_active=True).id


def deals(inside: Any, *titles: str, **values: Any) -> list[int]:
    with clock.at(NOW):
        return [make_deal(inside.stages["Lead"], title, **values).id for title in titles]


def scheduled() -> list[Any]:
    return [row for row in rows() if row[0] == 0]


def test_it_comes_for_each_record_and_then_again(inside: Any) -> None:
    rule()
    deals(inside, "One", "Two")
    work(NOW)
    assert scheduled() == [(0, NEXT.isoformat(), NEXT, "planned")]
    assert tick(NEXT - timedelta(seconds=1)) == 0
    assert tick(NEXT) == 1 and notes() == ["One", "Two"]
    tomorrow = NEXT + timedelta(days=1)
    assert [row[2:] for row in scheduled()] == [(NEXT, "fired"), (tomorrow, "planned")]
    assert tick(tomorrow) == 1 and len(notes()) == 4
    assert {run.outcome for run in runs()} == {"succeeded"}


def test_only_records_that_fit_the_conditions_are_looked_at(inside: Any) -> None:
    deals(inside, "Big", amount="500")
    deals(inside, "Small", amount="5")
    rule(conditions={"match": "all", "items": [{"field": "amount", "operator": "at_least", "value": "100"}]})
    work(NOW)
    tick(NEXT)
    assert notes() == ["Big"] and len(runs()) == 1


def test_what_only_an_event_can_be_asked_is_judged_by_the_engine(inside: Any) -> None:
    deals(inside, "One")
    rule(
        conditions={"match": "all", "items": [{"field": "actor_kind", "operator": "is", "value": "schedule"}]}
    )
    work(NOW)
    tick(NEXT)
    assert notes() == ["One"]


def test_what_was_missed_comes_once_and_late(inside: Any) -> None:
    rule()
    deals(inside, "One")
    work(NOW)
    back = NEXT + timedelta(days=2, hours=3)
    assert tick(back) == 1 and notes() == ["One"]
    assert runs()[0].trace["checks"][0]["actual"].endswith("2 d 3 h late")
    assert tick(back) == 0
    assert scheduled()[-1][2] == datetime(2026, 3, 6, 8, tzinfo=UTC)


def test_it_goes_in_slices_and_stops_when_the_rule_is_switched_off(inside: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(due_schedule, "SLICE", 2)
    deals(inside, *"abcde")
    found = rule()
    work(NOW)
    tick(NEXT)
    assert notes() == list("abcde")
    job = db.session.scalars(select(Job).where(Job.kind == due_schedule.SCHEDULE)).one()
    assert job.payload["done"] == 4
    tomorrow = NEXT + timedelta(days=1)
    with clock.at(tomorrow):
        elsewhere(take_due, tomorrow)
        assert elsewhere(lambda: perform(claim("w", 1)[0])) == "ready"
        with write_transaction():
            set_active(db.session.get_one(Automation, found), False)
    work(tomorrow)
    assert notes()[5:] == ["a", "b"]


def test_a_slice_that_is_done_again_tells_nobody_twice(inside: Any) -> None:
    deals(inside, "One", "Two")
    found = rule()
    work(NOW)
    tick(NEXT)
    with clock.at(NEXT), write_transaction():
        job = db.session.scalars(select(Job).where(Job.kind == due_schedule.SCHEDULE)).one()
        job.payload = {"due_id": 1, "automation_id": found, "moment": NEXT.isoformat()}
        job.state, job.next_at = "ready", NEXT
    assert work(NEXT) == ["done"] and notes() == ["One", "Two"]


def test_its_events_stand_on_no_timeline(inside: Any) -> None:
    deals(inside, "One")
    rule()
    work(NOW)
    tick(NEXT)
    fact = db.session.scalars(select(EventRow).where(EventRow.name == "deal.schedule_due")).one()
    links = select(EventLink).where(EventLink.tenant_id == inside.id, EventLink.event_id == fact.id)
    assert db.session.scalars(links).all() == [] and fact.snapshot["due_at"] == NEXT.isoformat()


def test_saving_and_switching_off_move_and_take_back_what_is_planned(inside: Any) -> None:
    found = rule()
    work(NOW)
    with clock.at(NOW), write_transaction():
        set_active(db.session.get_one(Automation, found), False)
    work(NOW)
    assert rows() == [] and tick(NEXT) == 0


def test_workspaces_do_not_meet(inside: Any, rivals: Any) -> None:
    with acting_in(rivals.id):
        with clock.at(NOW):
            make_deal(rivals.stages["Lead"], "Theirs")
        db.session.rollback()
    deals(inside, "Ours")
    rule()
    work(NOW)
    tick(NEXT)
    assert notes() == ["Ours"]


REFUSED = [
    ({"mode": "cron", "cron": "0 0 30 2 *"}, "cron", "no such day"),
    ({"mode": "cron", "cron": "0 0 31 4,6 *"}, "cron", "no such day"),
    ({"mode": "cron"}, "cron", "Write a schedule"),
    ({"mode": "cron", "cron": "whenever"}, "cron", "five parts"),
    ({"mode": "cron", "cron": "0 0 0 * * *"}, "cron", "five parts"),
    ({"mode": "cron", "cron": "61 * * * *"}, "cron", "bad minute"),
    ({"mode": "cron", "cron": "² * * * *"}, "cron", "bad minute"),
    ({"mode": "cron", "cron": "* * * * *"}, "cron", "5 minutes at most"),
    ({"mode": "weekdays", "weekdays": []}, "weekdays", "one day"),
    ({"mode": "weekdays", "weekdays": [9]}, "weekdays", "one day"),
    (
        {"mode": "weekdays", "weekdays": [5, 6], "working_days": True},
        "weekdays",
        "never comes on a working day",
    ),
]


@pytest.mark.parametrize(("settings", "field", "said"), REFUSED)
def test_a_schedule_that_never_comes_or_does_not_read_is_refused(
    inside: Any, settings: Any, field: str, said: str
) -> None:
    with pytest.raises(Refused, match=said) as refused:
        make_rule("deal.schedule_due", settings=settings)
    assert refused.value.field == f"trigger-{field}"


SENTENCES = [
    (DAILY, "it is Monday to Friday at 09:00, for each deal"),
    ({"weekdays": [0, 2, 4]}, "it is Monday, Wednesday or Friday at 09:00, for each deal"),
    ({"weekdays": [6], "at": "18:30", "working_days": False}, "it is Sunday at 18:30, for each deal"),
    ({"mode": "cron", "cron": "0 9 L * *"}, "it is at 09:00 on the last day of every month, for each deal"),
]


@pytest.mark.parametrize(("settings", "said"), SENTENCES)
def test_it_is_said_as_a_sentence(inside: Any, settings: Any, said: str) -> None:
    assert build("x", "deal.schedule_due", settings, []).trigger.describe() == said


def test_the_next_times_are_told_and_working_days_kept(inside: Any) -> None:
    hours = WorkHours("Europe/Madrid", country="ES", closed=frozenset({date(2026, 4, 1)}))
    settings = ScheduleSettings(at=time(9), working_days=True)
    found = upcoming(settings, datetime(2026, 3, 31, 12, tzinfo=UTC), hours, 2)
    assert [at.date() for at in found] == [date(2026, 4, 2), date(2026, 4, 6)]  # closed, Good Friday
    assert explain("nonsense") is None
    assert elsewhere(explain, "0 9 * * MON-FRI") == "At 09:00 on Monday through Friday"


def _drawn(client: Any, **values: Any) -> str:
    return str(client.post("/dashboard/automations/new", data={"op": "trigger", "name": "x", **values}).text)


def test_a_trigger_that_was_just_chosen_begins_with_its_defaults(owner: Any) -> None:
    page = _drawn(owner, trigger="deal.schedule_due")
    assert (
        page.count(' name="trigger-weekdays"') == 7 and page.count("checked") >= 5 and 'value="09:00"' in page
    )
    assert "trigger-cron" not in page and "Next: " in page
    page = _drawn(
        owner,
        **{
            "trigger": "deal.schedule_due",
            "trigger-mode": "cron",
            "trigger-weekdays": "2",
            "trigger-at": "08:00",
        },
    )
    assert 'name="trigger-cron"' in page and "trigger-weekdays" not in page
    page = _drawn(
        owner, **{"trigger": "deal.schedule_due", "trigger-mode": "weekdays", "trigger-cron": "0 9 * * *"}
    )
    assert "it is Monday to Friday at 09:00, for each deal" in page
    page = _drawn(
        owner, **{"trigger": "deal.schedule_due", "trigger-mode": "cron", "trigger-cron": "0 9 L * *"}
    )
    assert "At 09:00 on the last day of every month. Next: " in page
    page = _drawn(owner, trigger="deal.went_silent")
    assert 'value="14"' in page and "Write a number" not in page


EDITED = [
    ("deal.schedule_due", DAILY, []), ("deal.schedule_due", {"mode": "cron", "cron": "0 9 * * *"}, []),
    ("deal.date_reached", {"field": "expected_close_on", "at": "08:15"}, []),
    ("deal.went_silent", {"days": 3}, []), ("deal.picked_by_hand", {}, []), ("deal.rule_started", {}, []),
    ("deal.won", {}, [("wait", {"mode": "date", "field": "expected_close_on", "at": "08:15", "within_hours": True})]),
    ("deal.won", {}, [("cancel_waiting", {})]),
]  # fmt: skip


@pytest.mark.parametrize(("trigger", "settings", "steps"), EDITED)
def test_a_saved_rule_can_be_edited_and_saved_as_it_is(
    app: Any, team: Any, owner: Any, trigger: str, settings: Any, steps: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        found = make_rule(trigger, [*steps, note("x")], settings=settings).id
        db.session.rollback()
    edit = f"/dashboard/automations/{found}/edit"
    page = owner.get(edit)
    assert page.status_code == 200 and owner.get(f"/dashboard/automations/{found}").status_code == 200
    answer = owner.post(edit, data=form_to(page.text, edit).data())
    assert answer.status_code == 302
    with app.app_context(), acting_in(team.id):
        assert db.session.get_one(Automation, found).definition_number == 1  # it does the same as before
        db.session.rollback()


@pytest.mark.parametrize(
    "values",
    [{"trigger-mode": "cron", "trigger-cron": "x" * 5000}, {"trigger-mode": "cron", "trigger-cron": "\x00"}, {"trigger-mode": "²"},
     {"trigger-mode": "weekdays", "trigger-at": "99:99"}, {"trigger-mode": "weekdays", "trigger-weekdays": "²", "trigger-at": "09:00"},
     {"trigger-mode": "cron", "trigger-cron": "0 0 30 2 *"}, {"trigger-mode": "weekdays", "trigger-at": ""}],
)  # fmt: skip
def test_bad_input_is_told_and_kept(owner: Any, values: Any) -> None:
    rule = {
        "name": "x",
        "trigger": "deal.schedule_due",
        "on_failure": "undo",
        "steps-0-kind": "log_note",
        "steps-0-body": "Hi",
    }
    answer = owner.post("/dashboard/automations/new", data={**rule, **values})
    assert answer.status_code == 422 and ("field-error" in answer.text or "notice danger" in answer.text)

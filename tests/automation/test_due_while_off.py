"""What falls due while a rule does not look: skipped in words if somebody switched it off, made up for if it was paused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from soconnective.automation import due_missed, due_plan, due_schedule
from soconnective.automation.definition import build
from soconnective.automation.due_missed import gap_in_words
from soconnective.automation.engine import OFF
from soconnective.automation.models import Automation
from soconnective.automation.operations import (
    delete_automation,
    let_finish,
    restore_automation,
    set_state,
    update_automation,
)
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.events import EventLink
from soconnective.tasks.operations import create_task
from tests.automation.test_breaker import limit, pieces  # noqa: F401  fixtures
from tests.automation.test_due_dates import CLOSE, DUE, NOW, Ref, change, deal, rule
from tests.automation.test_switched_off import pause
from tests.automation.timed import note, notes, rows, runs, tick, work
from tests.factories.records import make_deal, make_rule

ON_AGAIN = DUE + timedelta(days=30)
DAILY = {"mode": "weekdays", "weekdays": [0, 1, 2, 3, 4, 5, 6], "at": "09:00"}


def put(made: Any, state: str, at: datetime) -> None:
    with clock.at(at), write_transaction():
        set_state(made.row, state)


def told() -> list[tuple[str, str, int]]:
    return [(run.outcome, run.detail, run.record_id) for run in runs()]


def gap(made: Any, at: datetime = ON_AGAIN) -> str | None:
    db.session.expire_all()
    with clock.at(at):
        return gap_in_words(made.row)


@pytest.mark.parametrize("state", ["on", "shadow"])
def test_what_fell_due_while_it_was_off_is_not_made_up_for_and_told(inside: Any, state: str) -> None:
    made = rule()
    before, old, coming = (deal(inside, close) for close in ("2026-03-20", "2026-03-01", "2026-06-20"))
    put(made, "off", NOW)
    fresh = deal(inside, "2026-03-25")
    assert tick(DUE + timedelta(days=20)) == 0  # nothing is planned for a rule that is off
    put(made, state, ON_AGAIN)
    tick(ON_AGAIN)
    assert notes() == []
    assert told() == [("skipped", OFF, before.id), ("skipped", OFF, fresh.id)]
    assert runs()[0].trace["checks"][0]["wanted"] == "17 Mar 2026, 09:00"
    assert [row[0] for row in rows() if row[3] == "planned"] == [coming.id]
    assert old.id not in {row[0] for row in rows()}
    assert gap(made) == "2 records fell due"
    assert db.session.query(EventLink).filter_by(record_type="deal", record_id=before.id).count() == 1
    put(made, "off", ON_AGAIN + timedelta(days=1))
    put(made, state, ON_AGAIN + timedelta(days=2))
    work(ON_AGAIN + timedelta(days=2))
    assert len(runs()) == 2 and gap(made, ON_AGAIN + timedelta(days=2)) is None  # of that time: nothing


def test_conditions_are_asked_so_that_only_those_are_told_that_would_have_run(inside: Any) -> None:
    tree = {"match": "all", "items": [{"field": "amount", "operator": "at_least", "value": "100"}]}
    made = rule()
    with clock.at(NOW), write_transaction():
        definition = build("Big", "deal.date_reached", CLOSE, [note("x")], "undo", tree)
        update_automation(made.row, definition)
    deal(inside, amount="500"), deal(inside, amount="5")
    put(made, "off", NOW)
    put(made, "on", ON_AGAIN)
    work(ON_AGAIN)
    assert [run.outcome for run in runs()] == ["skipped", "not_matched"]


def test_many_are_counted_and_the_first_ones_told(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_plan, "SLICE", 2)
    monkeypatch.setattr(due_missed, "TOLD", 3)
    made = rule()
    for _ in range(5):
        deal(inside)
    put(made, "off", NOW)
    work(NOW)
    put(made, "on", ON_AGAIN)
    work(ON_AGAIN)
    assert len(runs()) == 3 and gap(made) == "5 records fell due; the first 3 are among its runs"
    assert gap(made, ON_AGAIN + timedelta(days=31)) is None  # old news


def test_a_rule_never_on_has_missed_nothing(inside: Any) -> None:
    made = rule(is_active=False)
    deal(inside)
    put(made, "on", ON_AGAIN)
    work(ON_AGAIN)
    assert runs() == [] and gap(made) is None


def test_what_fired_before_is_not_told_again_and_another_trigger_starts_anew(inside: Any) -> None:
    made = rule()
    deal(inside)
    tick(DUE)
    put(made, "off", DUE + timedelta(hours=1))
    with clock.at(DUE + timedelta(hours=2)), write_transaction():
        update_automation(made.row, build("x", "deal.date_reached", {**CLOSE, "amount": 2}, [note("x")]))
    put(made, "on", ON_AGAIN)
    work(ON_AGAIN)
    assert len(runs()) == 1 and gap(made) is None  # the same value: it has fired for it
    put(made, "off", ON_AGAIN)
    with clock.at(ON_AGAIN + timedelta(days=9)), write_transaction():
        settings = {"field": "due_on", "at": "09:00"}
        update_automation(made.row, build("x", "task.date_reached", settings, [note("x")]))
        create_task("Before it was about tasks", due_on=(ON_AGAIN + timedelta(days=5)).date())
        after = create_task("After", due_on=(ON_AGAIN + timedelta(days=12)).date())
    task = after.id
    put(made, "on", ON_AGAIN + timedelta(days=20))
    work(ON_AGAIN + timedelta(days=20))
    assert told()[1:] == [("skipped", OFF, task)]


def test_deleted_taken_back_and_switched_on_is_off_since_it_was_deleted(inside: Any) -> None:
    made = rule()
    record = deal(inside)
    with clock.at(NOW), write_transaction():
        delete_automation(made.row)
    work(NOW)
    assert rows() == []
    with clock.at(DUE + timedelta(days=1)), write_transaction():
        restore_automation(made.row)
    put(made, "on", ON_AGAIN)
    work(ON_AGAIN)
    assert told() == [("skipped", OFF, record.id)]


def test_a_silence_that_fell_due_while_it_was_off(inside: Any) -> None:
    with clock.at(NOW):
        made = Ref(Automation, make_rule("deal.went_silent", [note("x")], settings={"days": 7}).id)
    record = deal(inside)
    put(made, "off", NOW)
    put(made, "on", NOW + timedelta(days=20))
    work(NOW + timedelta(days=20))
    assert told() == [("skipped", OFF, record.id)] and gap(made) == "1 record fell due"


@pytest.mark.parametrize(
    ("days", "said"),
    [(0, None), (1, "its schedule came once"), (9, "its schedule came 9 times"), (40, "10 times or more")],
)
def test_a_schedule_that_came_while_it_was_off_is_counted(
    inside: Any, monkeypatch: pytest.MonkeyPatch, days: int, said: str | None
) -> None:
    monkeypatch.setattr(due_missed, "MOMENTS", 10)
    with clock.at(NOW):
        made = Ref(Automation, make_rule("deal.schedule_due", [note("x")], settings=DAILY).id)
        make_deal(inside.stages["Lead"])
    put(made, "off", NOW)
    back = NOW + timedelta(days=days)
    put(made, "on", back)
    tick(back)
    assert notes() == [] and runs() == []
    found = gap(made, back)
    assert found is None if said is None else (found or "").endswith(said)


def test_a_schedule_whose_worker_slept_while_it_was_off_does_not_come_late(inside: Any) -> None:
    made = scheduled(inside, 1)
    put(made, "off", NOW)  # and nobody takes its planned moment back
    put(made, "on", COMES + timedelta(hours=1))
    tick(COMES + timedelta(hours=2))
    assert notes() == [] and gap(made, COMES) == "its schedule came once"
    tick(COMES + timedelta(days=1))
    assert len(notes()) == 1


# --- paused ------------------------------------------------------------------------------------------


def test_a_paused_rule_makes_up_for_it_when_it_is_resumed_late_and_once(inside: Any) -> None:
    made = rule()
    first, moved, cleared = deal(inside, title="First"), deal(inside, title="Moved"), deal(inside)
    work(NOW)
    pause(made.id, NOW)
    fresh = deal(inside, "2026-03-19", title="Fresh")
    change(moved, expected_close_on=date(2026, 3, 22))
    change(cleared, expected_close_on=None)
    for day in range(4):
        tick(DUE + timedelta(days=day))
    assert notes() == [] and runs() == []
    put(made, "on", ON_AGAIN)
    tick(ON_AGAIN)
    tick(ON_AGAIN + timedelta(days=1))
    assert sorted(notes()) == ["First closes", "Fresh closes", "Moved closes"]
    assert [run.outcome for run in runs()] == ["succeeded"] * 3
    assert all("late" in run.trace["checks"][0]["actual"] for run in runs())
    assert {row[3] for row in rows()} == {"fired"} and gap(made) is None
    assert {first.id, fresh.id, moved.id} == {row[0] for row in rows()}


def test_failures_while_it_makes_up_pause_it_again_and_the_rest_is_kept(
    inside: Any,
    limit: Any,  # noqa: F811
) -> None:
    limit(failures=2)
    bad = ("change_field", {"target": "company", "field": "name", "value": "x"})
    made = rule(steps=[bad])
    for _ in range(4):
        deal(inside)
    work(NOW)
    pause(made.id, NOW)
    tick(DUE)
    put(made, "on", ON_AGAIN)
    tick(ON_AGAIN)
    assert [run.outcome for run in runs()] == ["failed", "failed"] and made.row.holds
    with clock.at(ON_AGAIN), write_transaction():
        update_automation(made.row, build("x", "deal.date_reached", CLOSE, [note("mended")]))
    put(made, "on", ON_AGAIN + timedelta(hours=1))
    tick(ON_AGAIN + timedelta(hours=1))
    assert notes() == ["mended"] * 2 and len(runs()) == 4


def test_paused_then_switched_off_is_off(inside: Any) -> None:
    made = rule()
    record = deal(inside)
    work(NOW)
    pause(made.id, NOW)
    tick(DUE)
    fresh = deal(inside, "2026-03-25")
    put(made, "off", DUE + timedelta(days=1))
    tick(DUE + timedelta(days=1))
    assert told() == [("skipped", OFF, record.id)]  # what it held
    put(made, "on", ON_AGAIN)
    tick(ON_AGAIN)
    assert notes() == [] and told()[1:] == [("skipped", OFF, fresh.id)]


def test_letting_a_paused_rule_finish_switches_it_off_for_what_is_due(inside: Any) -> None:
    made = rule()
    record = deal(inside)
    work(NOW)
    pause(made.id, NOW)
    tick(DUE)
    with clock.at(DUE + timedelta(hours=1)), write_transaction():
        let_finish(made.row)
    tick(DUE + timedelta(hours=1))
    assert told() == [("skipped", OFF, record.id)] and made.row.state == "off"


def test_paused_then_in_the_shadow_is_tried_there(inside: Any) -> None:
    made = rule()
    deal(inside)
    work(NOW)
    pause(made.id, NOW)
    tick(DUE)
    put(made, "shadow", DUE + timedelta(days=1))
    tick(DUE + timedelta(days=1))
    assert [run.outcome for run in runs()] == ["shadowed"] and notes() == []


def scheduled(inside: Any, number: int = 30) -> Any:
    with clock.at(NOW):
        made = Ref(Automation, make_rule("deal.schedule_due", [note("x")], settings=DAILY).id)
        for index in range(number):
            make_deal(inside.stages["Lead"], f"{index}")
    work(NOW)
    return made


COMES = datetime(2026, 3, 3, 8, tzinfo=UTC)


def test_a_schedule_that_came_while_it_was_paused_comes_once_late(inside: Any) -> None:
    made = scheduled(inside, 2)
    pause(made.id, NOW)
    for day in range(3):
        tick(COMES + timedelta(days=day))
    assert notes() == []
    put(made, "on", COMES + timedelta(days=3, hours=1))
    tick(COMES + timedelta(days=3, hours=1))
    assert len(notes()) == 2 and {run.outcome for run in runs()} == {"succeeded"}
    assert "late" in runs()[0].trace["checks"][0]["actual"]
    tick(COMES + timedelta(days=4))
    assert len(notes()) == 4  # the next one on time


@pytest.mark.parametrize("happens", ["paused", "off", "deleted"])
def test_in_the_middle_of_a_schedule(inside: Any, monkeypatch: pytest.MonkeyPatch, happens: str) -> None:
    """25 records of 30 are done. Paused: the rest comes when it is resumed. Off: the rest is told that it was off."""
    made = scheduled(inside)
    real, seen = due_schedule._next_ids, []

    def _next_ids(*args: Any) -> list[int]:
        found = real(*args)
        seen.append(len(found))
        if len(seen) == 1:
            row: Any = made.row
            row.is_active = False
            if happens == "paused":
                row.paused_at = clock.now()
            else:
                row.off_since = clock.now()
                row.deleted_at = clock.now() if happens == "deleted" else None
        return found

    monkeypatch.setattr(due_schedule, "_next_ids", _next_ids)
    with monkeypatch.context() as patch:  # what is asked in the slice itself is still the rule of before
        patch.setattr(due_schedule, "_tell", lambda *args: None)
        tick(COMES)
    work(COMES)
    outcomes = [run.outcome for run in runs()]
    if happens == "paused":
        assert outcomes == []
        put(made, "on", COMES + timedelta(days=2))
        work(COMES + timedelta(days=2))
        assert [run.outcome for run in runs()] == ["succeeded"] * 5
    else:
        assert seen == ([25, 5] if happens == "off" else [25])

"""The settings of the business hours, and what keeps to them: waits, dates, schedules."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from sqlalchemy import select

from soconnective.automation.hours import BusinessHours, save_hours, work_hours
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Job
from tests.automation.timed import note, notes, rows, runs, work
from tests.factories.records import make_deal, make_rule, move

FRIDAY = datetime(2026, 3, 6, 15, tzinfo=UTC)  # Madrid 16:00
MONDAY = datetime(2026, 3, 9, 8, tzinfo=UTC)  # Madrid 9:00
WEEK = [*([(time(9), time(17))] * 5), None, None]
GOOD = {f"{side}_{day}": wall for day in range(5) for side, wall in (("from", "08:30"), ("to", "16:00"))}


def wait(inside: Any, **settings: Any) -> datetime | None:
    with clock.at(FRIDAY):
        make_rule(steps=[("wait", {"within_hours": True, **settings}), note("after")])
        move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    return runs()[-1].planned_at


@pytest.mark.parametrize(
    ("settings", "at"),
    [({"amount": 2, "unit": "hours"}, MONDAY), ({"amount": 30, "unit": "minutes"}, FRIDAY.replace(minute=30)),
     ({"amount": 1, "unit": "days"}, MONDAY)],
)  # fmt: skip
def test_a_wait_goes_on_at_the_next_opening(inside: Any, settings: Any, at: datetime) -> None:
    assert wait(inside, **settings) == at


def test_a_wait_that_never_ends_fails_in_words(inside: Any) -> None:
    with write_transaction():
        save_hours([None] * 7, "", "", [])
    assert wait(inside, amount=2, unit="hours") is None
    assert (
        runs()[-1].detail
        == "step 1 failed: The business hours never open again. Look at them in the settings."
    )


def test_a_wait_says_that_it_keeps_to_them(inside: Any) -> None:
    wait(inside, amount=2, unit="hours")
    assert runs()[-1].trace["steps"][0]["label"] == "wait 2 hours, within business hours"


def test_an_event_still_ends_such_a_wait_at_once(inside: Any) -> None:
    with clock.at(FRIDAY):
        made = [
            (
                "wait",
                {"mode": "event", "event": "deal.won", "amount": 2, "unit": "hours", "within_hours": True},
            )
        ]
        make_rule("deal.created", [*made, note("woken")])
        move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    assert work(FRIDAY) == ["done"] and notes() == ["woken"]


def test_dates_keep_to_working_days_and_move_with_the_settings(inside: Any) -> None:
    settings = {
        "field": "expected_close_on",
        "amount": 1,
        "direction": "before",
        "at": "09:00",
        "working_days": True,
    }
    with clock.at(FRIDAY):
        make_rule("deal.date_reached", [note("x")], settings=settings)
        make_deal(inside.stages["Lead"], expected_close_on=date(2026, 3, 15))  # the day before is a Saturday
    assert [row[2] for row in rows()] == [datetime(2026, 3, 16, 8, tzinfo=UTC)]


def test_each_workspace_has_its_own(inside: Any, rivals: Any) -> None:
    with write_transaction():
        save_hours([*WEEK[:4], None, None, None], "ES", "MD", [date(2026, 3, 3)])
    found = work_hours()
    assert (found.zone, found.country, found.subdivision) == ("Europe/Madrid", "ES", "MD")
    assert found.opening[3] == (time(9), time(17)) and found.opening[4] is None
    assert not found.is_working_day(date(2026, 3, 3))
    with acting_in(rivals.id):
        assert work_hours().country == ""
        db.session.rollback()


def page(client: Any, **values: Any) -> Any:
    return client.post(
        "/dashboard/settings/hours", data={"country": "", "subdivision": "", "closed": "", **GOOD, **values}
    )


def test_they_are_saved_shown_and_planned_with(app: Any, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        settings = {"field": "expected_close_on", "at": "09:00", "working_days": True}
        make_rule("deal.date_reached", [note("x")], settings=settings)
        before = len(db.session.scalars(select(Job.id)).all())
        db.session.rollback()
    assert page(owner, country="DE", subdivision="by", closed="2026-12-24\n2026-12-31").status_code == 302
    shown = owner.get("/dashboard/settings/hours").text
    assert (
        'value="08:30"' in shown
        and "Next holidays:" in shown
        and "2026-12-31" in shown
        and 'value="BY"' in shown
    )
    with app.app_context(), acting_in(team.id):
        row = db.session.scalars(select(BusinessHours)).one()
        assert row.opening[0] == ["08:30", "16:00"] and row.opening[6] is None and row.subdivision == "BY"
        assert len(db.session.scalars(select(Job.id)).all()) == before + 1
        db.session.rollback()


BAD = [
    ({"to_0": ""}, "Write both"), ({"to_0": "08:00"}, "close after it opens"), ({"from_1": "99:99"}, "field-error"),
    ({"country": "XX"}, "field-error"), ({"country": "DE", "subdivision": "ZZ"}, "not known"),
    ({"closed": "Christmas"}, "one date a line"), ({"closed": "0001-01-01"}, "between 1900"),
    ({"closed": "2026-01-01 " * 401}, "400 days"), ({"subdivision": "BY"}, "not known"), ({"closed": "x\x00"}, "cannot be stored"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "said"), BAD)
def test_bad_input_is_told_beside_its_field_and_nothing_is_saved(
    app: Any, team: Any, owner: Any, values: Any, said: str
) -> None:
    answer = page(owner, **values)
    assert answer.status_code == 422 and said in answer.text
    with app.app_context(), acting_in(team.id):
        assert db.session.scalars(select(BusinessHours)).first() is None
        db.session.rollback()


def test_a_workspace_that_moves_its_clock_plans_anew(app: Any, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        make_rule("deal.schedule_due", [note("x")])
        before = len(db.session.scalars(select(Job.id)).all())
        db.session.rollback()
    owner.post(
        "/dashboard/settings/workspace", data={"name": "Acme", "currency": "EUR", "timezone": "Asia/Tokyo"}
    )
    with app.app_context(), acting_in(team.id):
        assert len(db.session.scalars(select(Job.id)).all()) == before + 1
        db.session.rollback()


def test_only_who_may_edit_the_workspace_sees_them(team: Any, sign_in: Any) -> None:
    assert sign_in(team.member).get("/dashboard/settings/hours").status_code == 403

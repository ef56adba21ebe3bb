"""A rule is switched off, put in the shadow, paused or deleted while runs of it wait: what becomes of each, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from soconnective.automation import breaker, catching_up, waiting
from soconnective.automation.catching_up import CatchUp
from soconnective.automation.definition import build
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.operations import (
    delete_automation,
    let_finish,
    restore_automation,
    set_state,
    update_automation,
)
from soconnective.automation.waiting import cancel_all, cancel_run, waiting_runs
from soconnective.automation.waiting_words import waiting_words
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.operations import delete_deal
from soconnective.jobs import Job, enqueue
from tests.automation.test_breaker import FAIL, Shaky, limit, pieces  # noqa: F401  fixtures
from tests.automation.timed import note, notes, runs, work
from tests.factories.records import make_deal, make_rule, move

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=3)
URL = "/dashboard/automations"
WAIT = ("wait", {"mode": "time", "amount": 1, "unit": "days"})
STEPS = [note("before"), WAIT, note("after {{ deal.title }}")]


pytestmark = pytest.mark.usefixtures("pieces")


def begun(inside: Any, *titles: str, steps: Any = None, minutes: int = 1) -> int:
    """A rule with a waiting run for each of these deals, a minute after one another; its id."""
    with clock.at(NOW):
        rule_id = make_rule("deal.created", steps or STEPS).id
    for number, title in enumerate(titles):
        with clock.at(NOW + timedelta(minutes=number * minutes)):
            make_deal(inside.stages["Lead"], title)
    return rule_id


def rule(rule_id: int) -> Automation:
    return db.session.get_one(Automation, rule_id)


def put(rule_id: int, state: str, at: datetime = NOW) -> None:
    with clock.at(at), write_transaction():
        set_state(rule(rule_id), state)


def pause(rule_id: int, at: datetime = NOW) -> None:
    """As the breaker does it."""
    with clock.at(at), write_transaction():
        assert breaker.pause(db.session(), {rule_id: "it ran away"})


def outcomes() -> list[str]:
    return [run.outcome for run in runs()]


@pytest.mark.parametrize("state", ["off", "shadow"])
def test_what_waits_finishes_at_the_version_it_began_with(inside: Any, state: str) -> None:
    rule_id = begun(inside, "One")
    with clock.at(NOW), write_transaction():
        update_automation(rule(rule_id), build("Won kickoff", "deal.created", {}, [note("new")]))
    put(rule_id, state)
    work(NOW + timedelta(days=1))
    [run] = runs()
    assert (run.outcome, run.automation_number) == ("succeeded", 1)
    assert notes() == ["before", "after One"] and rule(rule_id).state == state


def test_a_deleted_rule_ends_what_waits_and_says_so_unless_it_is_taken_back(inside: Any) -> None:
    rule_id = begun(inside, "One")
    with clock.at(NOW), write_transaction():
        delete_automation(rule(rule_id))
    work(NOW + timedelta(days=1))
    [run] = runs()
    assert (run.outcome, run.detail) == ("cancelled", "note logged; cancelled: the rule was deleted")
    with clock.at(NOW), write_transaction():
        restore_automation(rule(rule_id))
        set_state(rule(rule_id), "on")
        first = make_deal(inside.stages["Lead"], "Two").id
    assert first
    with clock.at(NOW), write_transaction():
        delete_automation(rule(rule_id))
        restore_automation(rule(rule_id))
    work(NOW + timedelta(days=1))
    assert outcomes() == ["cancelled", "succeeded"]


def test_a_paused_rule_holds_what_waits_until_it_is_resumed(inside: Any) -> None:
    rule_id = begun(inside, "One", "Two")
    pause(rule_id)
    work(NOW + timedelta(days=2))
    assert outcomes() == ["waiting"] * 2 and notes() == ["before"] * 2
    work(NOW + timedelta(days=40))  # it looks again by itself, and holds on
    assert outcomes() == ["waiting"] * 2
    put(rule_id, "on", NOW + timedelta(days=41))
    work(NOW + timedelta(days=41))
    assert outcomes() == ["succeeded"] * 2
    assert notes() == ["before"] * 2 + ["after One", "after Two"]
    assert runs()[0].trace["steps"][1]["text"] == "waited; held while the rule was paused, 40 d late"
    work(NOW + timedelta(days=99))
    assert len(notes()) == 4  # once
    states = {job.state for job in db.session.scalars(select(Job))}
    assert states == {"done"}


def test_control_without_the_hold_it_would_go_on_under_a_paused_rule(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule_id = begun(inside, "One")
    pause(rule_id)
    with write_transaction():
        rule(rule_id).paused_at = None
    work(NOW + timedelta(days=2))
    assert outcomes() == ["succeeded"]


def test_what_is_held_goes_on_in_the_order_of_its_moments_not_of_its_jobs(inside: Any) -> None:
    rule_id = begun(inside, "One", "Two", "Three")
    pause(rule_id)
    with write_transaction():  # moved behind our back: the first is due last
        first = runs()[0]
        first.planned_at = NOW + timedelta(days=1, hours=5)
    work(NOW + timedelta(days=2))
    put(rule_id, "on", LATER)
    work(LATER)
    assert notes()[3:] == ["after Two", "after Three", "after One"]


def test_what_it_waited_for_happens_while_it_is_held(inside: Any) -> None:
    until = ("wait", {"mode": "event", "event": "deal.won", "amount": 9, "unit": "days"})
    rule_id = begun(inside, steps=[until, note("won")])
    with clock.at(NOW):
        deal, gone = make_deal(inside.stages["Lead"], "One"), make_deal(inside.stages["Lead"], "Gone")
    pause(rule_id)
    with clock.at(NOW):
        move(deal, inside.stages["Won"])
        with write_transaction():
            delete_deal(gone)
    work(NOW)
    assert outcomes() == ["waiting", "cancelled"]  # a record that is gone ends its run at once
    put(rule_id, "on", LATER)
    work(LATER)
    first = runs()[0]
    assert first.outcome == "succeeded"
    assert first.trace["steps"][0]["text"].startswith("waited until it happened; held while")


def test_a_run_may_wait_again_after_it_was_held(inside: Any) -> None:
    rule_id = begun(inside, "One", steps=[WAIT, note("one"), WAIT, note("two")])
    pause(rule_id)
    work(NOW + timedelta(days=2))
    put(rule_id, "on", LATER)
    work(LATER)
    assert outcomes() == ["waiting"] and notes() == ["one"]
    work(LATER + timedelta(days=1))
    assert outcomes() == ["succeeded"] and notes() == ["one", "two"]


def test_a_held_run_can_be_cancelled(inside: Any) -> None:
    rule_id = begun(inside, "One", "Two")
    pause(rule_id)
    work(NOW + timedelta(days=2))
    with write_transaction():
        cancel_run(runs()[0], "by Ana")
    put(rule_id, "on", LATER)
    work(LATER)
    assert outcomes() == ["cancelled", "succeeded"]


def test_resuming_keeps_to_the_limit_of_runs_within_a_minute(inside: Any, limit: Any) -> None:  # noqa: F811
    limit(per_minute=2)
    rule_id = begun(inside, "1", "2", "3", "4", "5")
    pause(rule_id)
    work(NOW + timedelta(days=2))
    put(rule_id, "on", LATER)
    done = []
    for seconds in (0, 59, 60, 119, 120):
        work(LATER + timedelta(seconds=seconds))
        done.append(outcomes().count("succeeded"))
    assert done == [2, 2, 4, 4, 5] and rule(rule_id).is_active


def test_live_runs_of_the_same_minute_count_to_the_limit(inside: Any, limit: Any) -> None:  # noqa: F811
    limit(per_minute=3)
    rule_id = begun(inside, "1", "2", "3", "4")
    pause(rule_id)
    work(NOW + timedelta(days=2))
    put(rule_id, "on", LATER)
    with clock.at(LATER):
        for number in range(2):  # live ones, which begin to wait: two of the three of this minute
            make_deal(inside.stages["Lead"], f"live {number}")
    done = []
    for seconds in (0, 59, 60, 119, 120):
        work(LATER + timedelta(seconds=seconds))
        done.append(outcomes().count("succeeded"))
    assert done == [1, 1, 4, 4, 4] and rule(rule_id).is_active


def test_a_run_whose_moment_is_over_says_what_it_waits_for(
    inside: Any,
    limit: Any,  # noqa: F811
    owner: FlaskClient,
) -> None:
    limit(per_minute=1)
    rule_id = begun(inside, "1", "2")
    run_id = runs()[1].id

    def said(at: datetime, wanted: str) -> bool:
        db.session.rollback()
        with clock.at(at):
            pages = [
                owner.get(one).text.casefold()
                for one in (f"{URL}/runs", f"{URL}/{rule_id}/waiting", f"{URL}/runs/{run_id}")
            ]
        return all(wanted in page for page in pages)

    def words(at: datetime) -> str:
        with clock.at(at):
            return waiting_words([run for run in runs() if run.outcome == "waiting"])[run_id]

    assert words(NOW + timedelta(hours=1)).startswith("waiting until 3 Mar")
    assert said(NOW + timedelta(days=2), "late, is run within a minute")
    pause(rule_id)
    assert said(NOW + timedelta(days=2), "held: the rule is paused")
    work(NOW + timedelta(days=2))
    assert words(NOW + timedelta(days=2)) == "held: the rule is paused"
    put(rule_id, "on", LATER)
    work(LATER)
    assert outcomes() == ["succeeded", "waiting"] and words(LATER) == "next in line"


def test_and_to_the_limit_for_one_record(inside: Any, limit: Any) -> None:  # noqa: F811
    limit(per_record=1)
    with clock.at(NOW):
        rule_id = make_rule("deal.updated", [WAIT, note("{{ deal.title }}")]).id
        deal = make_deal(inside.stages["Lead"])
    for number in range(2):
        with clock.at(NOW + timedelta(hours=number)), write_transaction():
            deal.title = f"T{number}"
    pause(rule_id)
    work(NOW + timedelta(days=2))
    put(rule_id, "on", LATER)
    work(LATER)
    assert outcomes() == ["succeeded", "waiting"]
    work(LATER + timedelta(seconds=61))
    assert outcomes() == ["succeeded", "succeeded"]


def test_what_a_deleted_rule_held_ends_within_a_day(inside: Any) -> None:
    rule_id = begun(inside, "One")
    pause(rule_id)
    work(NOW + timedelta(days=2))
    with clock.at(NOW), write_transaction():
        delete_automation(rule(rule_id))
    work(NOW + timedelta(days=3, hours=1))
    assert outcomes() == ["cancelled"]


@pytest.mark.parametrize("is_off", [False, True])
def test_failures_one_after_the_other_pause_it_again_and_the_rest_is_held_on(
    inside: Any,
    limit: Any,  # noqa: F811
    is_off: bool,
) -> None:
    limit(failures=2)
    rule_id = begun(inside, "1", "2", "3", "4", steps=[WAIT, *FAIL])
    pause(rule_id)
    work(NOW + timedelta(days=2))
    if is_off:
        put(rule_id, "off", LATER)
        with clock.at(LATER), write_transaction():
            let_finish(rule(rule_id))
    else:
        put(rule_id, "on", LATER)
    work(LATER)
    assert outcomes() == ["failed", "failed", "waiting", "waiting"]
    now = rule(rule_id)
    assert not now.is_active and str(now.paused_why).startswith("2 of the runs that it held failed")
    Shaky.fails = False
    put(rule_id, "on", LATER + timedelta(hours=1))
    work(LATER + timedelta(hours=1))
    assert outcomes() == ["failed", "failed", "succeeded", "succeeded"]


def test_off_after_paused_asks_first_and_holds_until_it_is_answered(inside: Any) -> None:
    rule_id = begun(inside, "One")
    pause(rule_id)
    put(rule_id, "off")
    work(NOW + timedelta(days=2))
    assert outcomes() == ["waiting"]
    with clock.at(LATER), write_transaction():
        let_finish(rule(rule_id))
    work(LATER)
    assert outcomes() == ["succeeded"] and rule(rule_id).state == "off" and rule(rule_id).paused_at is None
    with pytest.raises(Refused, match="not paused any more"):
        let_finish(rule(rule_id))


def test_a_paused_rule_in_the_shadow_holds_on(inside: Any) -> None:
    rule_id = begun(inside, "One")
    pause(rule_id)
    put(rule_id, "shadow")
    work(NOW + timedelta(days=2))
    assert outcomes() == ["waiting"]
    put(rule_id, "on", LATER)
    work(LATER)
    assert outcomes() == ["succeeded"]


def test_paused_once_more_before_the_catching_up_began_holds_on(inside: Any) -> None:
    rule_id = begun(inside, "One")
    pause(rule_id)
    work(NOW + timedelta(days=2))
    put(rule_id, "on", LATER)
    pause(rule_id, LATER)
    work(LATER)
    assert outcomes() == ["waiting"]
    put(rule_id, "on", LATER)
    work(LATER)
    assert outcomes() == ["succeeded"]


def test_one_whose_own_job_runs_in_this_moment_is_left_to_it(inside: Any) -> None:
    rule_id = begun(inside, "One", "Two")
    pause(rule_id)
    work(NOW + timedelta(days=2))
    put(rule_id, "on", LATER)
    with write_transaction():
        job = db.session.scalars(select(Job).where(Job.kind == waiting.KIND).order_by(Job.id)).first()
        assert job is not None
        job.state, job.next_at = "running", LATER + timedelta(minutes=2)  # another worker holds it
    work(LATER)
    assert outcomes() == ["waiting", "succeeded"]
    work(LATER + timedelta(minutes=3))  # that one was lost with it, and others take it over
    assert outcomes() == ["succeeded", "succeeded"]


def test_slices_and_a_catching_up_that_cannot_go_on(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "SLICE", 2)
    rule_id = begun(inside, "1", "2", "3", "4", "5")
    pause(rule_id)
    work(NOW + timedelta(days=2))
    with monkeypatch.context() as patch:
        patch.setattr(CatchUp, "most_attempts", 1)
        patch.setattr(catching_up, "go_on", lambda *_args: 1 / 0)
        put(rule_id, "on", LATER)
        work(LATER)
    assert outcomes() == ["succeeded"] * 5  # given up, and each went on by its own job
    pause(rule_id, LATER)
    with clock.at(LATER), write_transaction():
        set_state(rule(rule_id), "on")
    for number in range(5):
        with clock.at(LATER + timedelta(minutes=number)):
            make_deal(inside.stages["Lead"], f"again {number}")
    pause(rule_id, LATER)
    work(LATER + timedelta(days=2))
    put(rule_id, "on", LATER + timedelta(days=2))
    work(LATER + timedelta(days=2))
    assert outcomes() == ["succeeded"] * 10


def test_the_job_of_a_rule_that_is_gone_ends(inside: Any) -> None:
    with write_transaction():
        enqueue(waiting.CATCH_UP, {"automation_id": 4711})
    assert work(NOW + timedelta(days=999)) == ["done"]
    assert CatchUp().describe({"automation_id": 4711}) == "a rule that is gone"
    rule_id = begun(inside)
    assert CatchUp().describe({"automation_id": rule_id, "done": 1200}) == "“Won kickoff”, 1,200 so far"


def test_many_are_cancelled_by_a_job(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "AT_ONCE", 2)
    rule_id = begun(inside, "1", "2", "3", "4", "5")
    with clock.at(NOW), write_transaction():
        assert cancel_all(rule_id, "by Ana") == 5
    assert waiting_runs(rule_id) == 3
    work(NOW)
    assert outcomes() == ["cancelled"] * 5 and waiting_runs(rule_id) == 0
    assert {run.detail for run in runs()} == {"note logged; cancelled: by Ana"}
    assert catching_up.CancelWaiting().describe({"automation_id": rule_id}) == "“Won kickoff”"


def test_the_page_that_asks(
    app: Flask, team: Any, owner: FlaskClient, sign_in: Any, version: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context(), acting_in(team.id):
        rule_id = make_rule("deal.created", STEPS).id
        for number in range(2):
            make_deal(team.stages["Lead"], f"Deal {number}")
        db.session.rollback()
    page = f"{URL}/{rule_id}/waiting"

    def state() -> tuple[str, list[str]]:
        with app.app_context(), acting_in(team.id):
            found = rule(rule_id).state, list(db.session.scalars(select(AutomationRun.outcome)))
            db.session.rollback()
        return found

    off = owner.post(f"{URL}/{rule_id}/off", data={"version": version(owner, f"{URL}/{rule_id}/edit")})
    assert off.location == page and state() == ("off", ["waiting"] * 2)
    text = owner.get(page).text
    assert "2 runs of this rule wait" in text and "they will finish when the time comes" in text
    assert "Let them finish" in text and "Cancel them" in text
    assert "Cancel them" not in sign_in(team.viewer).get(page).text
    assert sign_in(team.viewer).post(page, data={"what": "cancel"}).status_code == 403
    assert owner.post(page, data={"what": "explode"}).status_code == 400
    refused = owner.post(page, data={"what": "finish"})
    assert refused.status_code == 422 and "not paused any more" in refused.text
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            rule(rule_id).paused_at, rule(rule_id).paused_why = clock.now(), "it ran away"
        enter = runs()[0].id
        with write_transaction():
            runs()[0].planned_at = clock.now() - timedelta(hours=2)
        db.session.rollback()
    assert "They are held, because the rule is paused" in owner.get(page).text
    assert "Held: the rule is paused" in owner.get(f"{URL}/runs/{enter}").text
    assert owner.post(page, data={"what": "finish"}).status_code == 302
    assert "goes on now, one run after the other" in owner.get(f"{URL}/{rule_id}").text
    assert owner.post(page, data={"what": "cancel"}).location == f"{URL}/{rule_id}"
    assert state() == ("off", ["cancelled"] * 2)
    assert "2 runs are cancelled" in owner.get(page).text and "Nothing waits" in owner.get(page).text


def test_switching_off_in_the_builder_asks_too(
    app: Flask, team: Any, owner: FlaskClient, version: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        rule_id = make_rule("deal.created", [WAIT, note("x")]).id
        make_deal(team.stages["Lead"])
        db.session.rollback()
    form = {
        "name": "Won kickoff", "trigger": "deal.created", "steps-0-kind": "log_note", "steps-0-body": "new",
        "on_failure": "undo", "version": version(owner, f"{URL}/{rule_id}/edit"),
    }  # fmt: skip
    saved = owner.post(f"{URL}/{rule_id}/edit", data=form)
    assert saved.status_code == 302 and saved.location == f"{URL}/{rule_id}/waiting"
    text = owner.get(saved.location).text
    assert "saved and switched off" in text and "1 run of this rule waits" in text
    gone = owner.post(f"{URL}/{rule_id}/delete", data={"version": version(owner, f"{URL}/{rule_id}/delete")})
    assert gone.status_code == 302
    assert "It will end without the rest" in owner.get(f"{URL}/{rule_id}/waiting").text

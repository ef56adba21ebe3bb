"""Failed and paused rules are told to whom they belong: once for each cause, and never at the cost of the save."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from soconnective.accounts.models import Membership
from soconnective.accounts.queries import forget_people
from soconnective.automation import engine, trouble
from soconnective.automation.contracts import Action, ActionFailed, RunContext, StepResult
from soconnective.automation.definition import build
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.operations import definition_of, set_active, update_automation
from soconnective.automation.registry import _actions, register_action
from soconnective.automation.trouble import Failure, on_trouble
from soconnective.core import clock
from soconnective.core.access import SYSTEM, acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import TransactionLost
from soconnective.deals.models import Deal
from soconnective.deals.operations import create_deal
from soconnective.jobs import Worker
from soconnective.notifications.models import Notification
from soconnective.notifications.rule_news import cause_of
from tests.factories.records import make_deal, make_rule

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Moody(Action):
    """Fails with the words of the moment."""

    type_id, label, group = "moody", "Brood", "Test"
    words = "The deal has no company."

    def run(self, context: RunContext) -> StepResult:
        if type(self).words:
            raise ActionFailed(type(self).words)
        return StepResult("went well")


@pytest.fixture(autouse=True)
def pieces() -> Iterator[None]:
    register_action(Moody)
    Moody.words = "The deal has no company."
    kept = list(trouble._observers)
    yield
    trouble._observers[:] = kept
    _actions.pop("moody", None)


def moody(name: str = "Brooding", **more: Any) -> Automation:
    with clock.at(NOON - timedelta(days=1)):
        return make_rule("deal.created", [("moody", {})], name=name, **more)


def save(team: Any, hours: float = 0, number: int = 1) -> None:
    with clock.at(NOON + timedelta(hours=hours)), write_transaction():
        for _ in range(number):
            create_deal("Roll-out", team.stages["Lead"])


def told() -> list[tuple[int, str]]:
    db.session.expire_all()
    rows = db.session.scalars(select(Notification).order_by(Notification.id))
    return [(row.person_id, row.title) for row in rows]


def leave(person: Any) -> None:
    with write_transaction():
        row = db.session.scalars(select(Membership).where(Membership.user_id == person.id)).one()
        row.status = "disabled"
        forget_people()


def test_who_made_the_rule_is_told_with_the_run(inside: Any, owner: Any) -> None:
    moody()
    save(inside)
    assert told() == [(inside.owner.id, "The rule “Brooding” failed")]
    row = db.session.scalars(select(Notification)).one()
    run = db.session.scalars(select(AutomationRun)).one()
    assert row.text == "step 1 failed: The deal has no company."
    assert (row.record_type, row.record_id) == ("run", run.id)
    number, run_id = row.id, run.id
    db.session.rollback()
    answer = owner.post(f"/dashboard/notifications/{number}/open")
    assert answer.headers["Location"] == f"/dashboard/automations/runs/{run_id}"


def test_without_them_the_owners_and_admins_are(inside: Any) -> None:
    with acting_as(inside.member.actor):
        moody()
    with acting_as(SYSTEM):
        moody("By the system")
    leave(inside.member)
    save(inside)
    everybody = {inside.owner.id, inside.admin.id}
    for name in ("Brooding", "By the system"):
        assert {person for person, title in told() if name in title} == everybody


def test_once_for_each_cause_and_at_most_once_a_day(inside: Any) -> None:
    moody()
    for hours, number in ((0, 1), (1, 1), (23, 1), (24, 2), (25, 2)):
        save(inside, hours)
        assert len(told()) == number, hours
    Moody.words = "The stage is gone."
    save(inside, 26)
    save(inside, 27)
    assert len(told()) == 3
    save(inside, 28, number=7)
    assert len(told()) == 3


def test_a_rule_that_was_mended_is_told_of_again(inside: Any) -> None:
    rule = moody()
    save(inside)
    with write_transaction():
        update_automation(rule, build("Brooding", "deal.created", {}, [("moody", {}), ("moody", {})]))
    save(inside, 1)
    save(inside, 2)
    assert len(told()) == 2


def test_a_rule_that_did_a_part_only_is_told_of(inside: Any) -> None:
    with clock.at(NOON - timedelta(days=1)):
        make_rule("deal.created", [("log_note", {"body": "x"}), ("moody", {})], "Half", on_failure="keep")
    save(inside)
    assert told() == [(inside.owner.id, "The rule “Half” did only a part")]


def test_many_failures_of_a_transaction_are_few_causes(inside: Any) -> None:
    moody()
    moody("Other")
    save(inside, number=120)
    assert sorted(told()) == [
        (inside.owner.id, "The rule “Brooding” failed"),
        (inside.owner.id, "The rule “Other” failed"),
    ]
    assert db.session.query(Deal).count() == 120


def test_the_engine_itself_is_told_of(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moody()

    def planted(*_args: Any) -> Any:
        raise RuntimeError("planted")

    monkeypatch.setattr(engine, "_run_chain", planted)
    save(inside)
    assert {title for _person, title in told()} == {"The automation engine itself failed"}
    assert {person for person, _title in told()} == {inside.owner.id, inside.admin.id}


def test_a_run_that_fails_after_a_wait_is_told_of(app: Flask, inside: Any) -> None:
    with clock.at(NOON - timedelta(days=1)):
        wait = ("wait", {"mode": "time", "amount": 1, "unit": "hours"})
        make_rule("deal.created", [wait, ("moody", {})], "Later")
    save(inside)
    assert told() == []
    db.session.rollback()
    with clock.at(NOON + timedelta(hours=2)):
        Worker(app).turn()
    assert told() == [(inside.owner.id, "The rule “Later” failed")]
    run = db.session.scalars(select(AutomationRun)).one()
    assert (run.outcome, db.session.scalars(select(Notification.record_id)).one()) == ("failed", run.id)


SAME = [
    ("The company “Alder” is gone.", "The company “Birch” is gone.", True),
    ("Stage 12 is gone", "Stage 7 is gone", True),
    ('no row "a"', "no row 'b'", True),
    ("The stage is gone", "the stage is gone", True),
    ("The stage is gone", "The company is gone", False),
]


@pytest.mark.parametrize(("one", "other", "is_same"), SAME)
def test_what_is_the_same_cause(one: str, other: str, is_same: bool) -> None:
    def key(words: str, rule: int | None = 7, number: int | None = 1) -> str:
        return cause_of(Failure(rule, number, 1, "failed", words))

    assert (key(one) == key(other)) is is_same
    assert len({key(one), key(one, 8), key(one, 7, 2), key(one, None, None)}) == 4
    assert len(key("x" * 5000, 2**62, 10**9)) <= 120


def test_a_pause_is_told_and_resumed_with_one_click(app: Flask, inside: Any, owner: Any) -> None:
    app.config["SOCONNECTIVE_BREAKER_FAILURES"] = 2
    rule_id = moody().id
    save(inside)
    save(inside, 1)
    assert told()[-1] == (inside.owner.id, "The rule “Brooding” was paused")
    row = db.session.scalars(select(Notification).order_by(Notification.id.desc())).first()
    assert row is not None and (row.record_type, row.record_id) == ("automation", rule_id)
    assert row.text.startswith("Paused because its last 2 runs failed")
    db.session.rollback()
    for url in ("/dashboard/automations", f"/dashboard/automations/{rule_id}"):
        page = owner.get(url).text
        assert "its last 2 runs failed" in page and "Resume" in page
    assert owner.post(f"/dashboard/automations/{rule_id}/on").status_code == 302
    for url in ("/dashboard/automations", f"/dashboard/automations/{rule_id}"):
        assert "Resume" not in owner.get(url).text
    db.session.expire_all()
    rule = db.session.get_one(Automation, rule_id)
    assert rule.is_active and rule.paused_at is None


def test_a_broken_rule_cannot_be_resumed(app: Flask, inside: Any, owner: Any) -> None:
    app.config["SOCONNECTIVE_BREAKER_FAILURES"] = 1
    rule_id = moody().id
    save(inside)
    _actions.pop("moody")
    db.session.rollback()
    answer = owner.post(f"/dashboard/automations/{rule_id}/on")
    assert answer.status_code == 422 and "does not exist any more" in answer.text
    assert "Resume" in answer.text


# --- an observer that goes wrong -------------------------------------------------------------------


def _raises(session: Any, failures: Any, pauses: Any) -> None:
    session.add(Notification(person_id=1, kind="message", title="half"))
    session.flush()
    raise ValueError("planted")


def _bad_sql(session: Any, failures: Any, pauses: Any) -> None:
    session.execute(text("SELECT nonsense FROM nowhere"))


def _swallows(session: Any, failures: Any, pauses: Any) -> None:
    with suppress(Exception):
        session.execute(text("SELECT nonsense FROM nowhere"))


def _bad_row(session: Any, failures: Any, pauses: Any) -> None:
    session.add(Notification(person_id=10**9, kind="message", title="nobody"))  # not flushed here


OBSERVERS = {"raises": _raises, "bad sql": _bad_sql, "swallows": _swallows, "bad row": _bad_row}


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("fault", OBSERVERS)
def test_an_observer_that_fails_reaches_neither_the_save_nor_the_runs_nor_the_others(
    inside: Any, fault: str, place: str, caplog: pytest.LogCaptureFixture, database_kind: str
) -> None:
    moody()
    make_rule("deal.created", [("log_note", {"body": "fine"})], "Good")
    trouble._observers.insert(0 if place == "first" else len(trouble._observers), OBSERVERS[fault])
    save(inside)
    assert db.session.query(Deal).count() == 1
    assert list(db.session.scalars(select(AutomationRun.outcome).order_by(AutomationRun.id))) == [
        "failed",
        "succeeded",
    ]
    assert told() == [(inside.owner.id, "The rule “Brooding” failed")]
    if fault != "swallows" or database_kind == "postgresql":
        assert "could not be told" in caplog.text


@pytest.mark.parametrize("fault", ["raises", "bad sql", "bad row"])
def test_the_control_without_the_fence_the_save_is_lost(
    inside: Any, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    moody()

    def unfenced(session: Any, failures: Any, pauses: Any) -> None:
        if failures:
            OBSERVERS[fault](session, failures, pauses)

    monkeypatch.setattr(engine, "tell_trouble", unfenced)
    with pytest.raises((ValueError, SQLAlchemyError)):
        save(inside)
    db.session.rollback()
    assert db.session.query(Deal).count() == 0


def test_an_observer_that_ends_the_transaction_fails_the_request_loudly(
    inside: Any, database_kind: str
) -> None:
    def end(session: Any, failures: Any, pauses: Any) -> None:
        session.connection().connection.dbapi_connection.execute("ROLLBACK")

    moody()
    trouble._observers.insert(0, end)
    with pytest.raises((TransactionLost, Exception)):
        save(inside)
    db.session.rollback()
    assert db.session.query(Deal).count() == 0


def test_it_is_called_with_trouble_only_and_once(inside: Any) -> None:
    calls: list[tuple[int, int]] = []

    def count(session: Any, failures: Any, pauses: Any) -> None:
        calls.append((len(failures), len(pauses)))

    on_trouble(count)
    on_trouble(count)
    rule = moody()
    save(inside, number=3)
    Moody.words = ""
    save(inside)
    with write_transaction():
        set_active(rule, False)
    make_deal(inside.stages["Lead"])
    assert calls == [(3, 0)] and definition_of(rule).name == "Brooding"

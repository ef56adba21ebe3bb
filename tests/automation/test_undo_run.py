"""Undoing a run: what it did goes where nobody has touched it since, and the rest stays and says why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from soconnective.automation import undo_run as module
from soconnective.automation.models import AutomationRun
from soconnective.automation.registry import action_types
from soconnective.automation.undo_run import effects, undo_run, undoable
from soconnective.automation.writable import _writable
from soconnective.core import clock
from soconnective.core.access import acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal, Stage
from soconnective.deals.operations import create_deal, update_deal
from soconnective.events import EventRow, watches_of
from soconnective.tags.operations import create_tag
from soconnective.tasks.models import Task
from soconnective.tasks.operations import complete_task
from soconnective.timeline.models import Note
from tests.automation.test_flow import note, wait, work
from tests.factories.records import make_company, make_deal, make_rule, move

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TASK = ("create_task", {"title": "Call"})


def sets(field: str, value: str | None, target: str = "deal") -> tuple[str, dict[str, Any]]:
    return "change_field", {"target": target, "field": field, "value": value}


def run() -> AutomationRun:
    db.session.expire_all()
    return db.session.scalars(select(AutomationRun).where(AutomationRun.attempt == 0)).one()


def undo() -> int:
    with write_transaction():
        return undo_run(run())


def won(inside: Any, **values: Any) -> Deal:
    deal = make_deal(inside.stages["Lead"], **values)
    move(deal, inside.stages["Won"])
    return deal


def test_what_was_made_goes_and_what_was_changed_is_put_back(inside: Any) -> None:
    steps = [TASK, note("x"), sets("amount", "3000"), sets("source", "Web"), ("assign_owner", {"how": "person", "person_id": inside.member.id, "target": "deal"})]  # fmt: skip
    make_rule(steps=steps)
    company = make_company()
    deal = won(inside, amount="5.50", company_id=company.id)
    assert deal.owner_id == inside.member.id
    assert undo() == 3  # the task, the note, and the deal's change as a whole
    db.session.expire_all()
    assert (str(deal.amount), deal.source, deal.owner_id) == ("5.50", None, None)
    assert list(db.session.scalars(select(Task))) == [] and list(db.session.scalars(select(Note))) == []
    assert run().undone_at is not None and deal.status == "won"
    with pytest.raises(Refused, match="undone already"):
        undo()


def test_a_moved_deal_goes_back_and_no_rule_looks(inside: Any) -> None:
    make_rule("deal.created", [("move_stage", {"stage_id": inside.stages["Lost"], "lost_reason": "test"})])
    deal = make_deal(inside.stages["Lead"])
    assert deal.status == "lost"
    assert undo() == 1
    db.session.expire_all()
    assert (deal.status, deal.stage_id, deal.lost_reason) == ("open", inside.stages["Lead"], None)
    last = db.session.scalars(select(EventRow).order_by(EventRow.id.desc())).first()
    assert last is not None and (last.actor_kind, last.rules) == ("person", "skip")


def test_what_somebody_touched_since_stays_and_says_so(inside: Any) -> None:
    make_rule(steps=[TASK, sets("source", "Web"), note("x")])
    deal = won(inside)
    with write_transaction():
        complete_task(db.session.scalars(select(Task)).one())
        update_deal(deal, source="Fair")
    assert [(e.text, e.why_not) for e in effects(run())] == [
        ("Note written", ""), ("Deal changed", "it was changed since"), ("Task created", "it was changed since"),
    ]  # fmt: skip
    assert undo() == 1 and deal.source == "Fair"


def test_steps_on_both_sides_of_a_wait_go_back_in_turn(app: Any, inside: Any) -> None:
    make_rule(steps=[sets("source", "One"), wait(), sets("source", "Two"), TASK])
    with clock.at(NOW):
        deal = won(inside, source="Zero")
    with pytest.raises(Refused, match="still waits"):
        undo()
    work(app, NOW + timedelta(days=1))
    assert deal.source == "Two" and undo() == 3
    db.session.expire_all()
    assert deal.source == "Zero"


def test_a_deal_that_a_rule_made_won_is_one_thing(inside: Any) -> None:
    make_rule("deal.lost", [("create_deal", {"title": "Try again", "stage_id": inside.stages["Won"]})])
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Lost"], "price")
    assert [e.text for e in effects(run())] == ["Deal created"] and undo() == 1
    assert [d.title for d in db.session.scalars(select(Deal))] == ["Roll-out"]


def test_what_is_gone_already_stays_gone(inside: Any) -> None:
    make_rule(steps=[TASK])
    won(inside)
    with write_transaction():
        db.session.delete(db.session.scalars(select(Task)).one())
    assert [e.why_not for e in effects(run())] == ["it is gone already"]
    with pytest.raises(Refused, match="nothing left"):
        undo()


def test_every_kind_of_record_that_rules_change_can_be_undone(inside: Any) -> None:
    """A field that rules may write and undo does not know would stay without a word."""
    assert set(_writable) <= set(undoable())
    for name, item in undoable().items():
        known = {*item.fields, *item.follow}
        if name in _writable:
            assert {*_writable[name].fields, _writable[name].owner} - {""} <= known, name
        assert known - set(watches_of(name)) <= {"name"}, name
    assert {"create_task", "log_note", "create_deal", "create_appointment"} <= set(action_types())


def test_the_page_shows_it_first_and_a_viewer_may_not(
    app: Flask, team: Any, owner: FlaskClient, sign_in: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        make_rule(steps=[TASK, note("x")])
        won(team)
        page = f"/dashboard/automations/runs/{run().id}"
    assert "Undo …" in owner.get(page).text
    asked = owner.get(f"{page}/undo").text
    assert "Undo 2 things" in asked and "is taken back" in asked
    assert sign_in(team.viewer).get(f"{page}/undo").status_code == 403
    done = owner.post(f"{page}/undo", follow_redirects=True)
    assert "Taken back: 2 things." in done.text and "was taken back" in done.text
    again = owner.post(f"{page}/undo")
    assert again.status_code == 422 and "undone already" in again.text


def test_a_failed_step_of_the_undo_leaves_all_as_it_was(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: all of it or nothing."""
    make_rule(steps=[TASK, sets("source", "Web")])
    deal = won(inside)

    def breaks(_record: Any) -> None:
        raise Refused("This task cannot be deleted.")

    kept = undoable()["task"]
    monkeypatch.setitem(module._undoable, "task", replace(kept, delete=breaks))
    with pytest.raises(Refused, match="cannot be deleted"):
        undo()
    db.session.expire_all()
    assert deal.source == "Web" and run().undone_at is None


def test_only_its_own_changes_are_meant(inside: Any) -> None:
    make_rule(steps=[TASK])
    with acting_as(inside.member.actor), write_transaction():
        create_deal("Beside", inside.stages["Lead"])
    won(inside)
    assert undo() == 1 and len(list(db.session.scalars(select(Deal)))) == 2
    assert db.session.get(Stage, inside.stages["Won"]) is not None


def test_tags_go_off_and_come_back(inside: Any) -> None:
    with write_transaction():
        old, new, other = (create_tag(name).id for name in ("Old", "New", "Other"))
    make_rule(
        steps=[
            ("remove_tag", {"target": "deal", "tag_id": old}),
            ("add_tag", {"target": "deal", "tag_id": new}),
        ]
    )
    deal = won(inside, tag_ids=[old])
    with write_transaction():
        update_deal(deal, tag_ids=[new, other])
    assert undo() == 1
    db.session.expire_all()
    assert sorted(deal.tag_ids) == sorted([old, other])

"""Drafts beside what is published, versions with what they changed, and runs that wait, on their pages."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from soconnective.automation import changes, drafts
from soconnective.automation.definition import build
from soconnective.automation.models import Automation, AutomationDraft, AutomationRun, AutomationVersion
from soconnective.automation.operations import (
    current_version,
    definition_of,
    delete_automation,
    update_automation,
)
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Job
from tests.automation.test_flow import NOW, last, note, notes, wait, win, work
from tests.factories.records import make_deal, make_rule, move

URL = "/dashboard/automations"
RULE = {"name": "Won kickoff", "trigger": "deal.won", "on_failure": "undo", "is_active": "y"}
STEP = {"steps-0-kind": "log_note", "steps-0-body": "new"}


@pytest.fixture
def rule_id(app: Flask, team: Any) -> int:
    with app.app_context(), acting_in(team.id):
        return make_rule(steps=[note("old")]).id


def read(app: Flask, team: Any, what: Any) -> list[Any]:
    with app.app_context(), acting_in(team.id):
        found = list(db.session.scalars(select(what).order_by(what.id)))
        db.session.expunge_all()
    return found


def test_a_draft_leaves_the_rule_at_work_until_it_is_published(
    app: Flask, team: Any, owner: FlaskClient, rule_id: int, version: Any
) -> None:
    url = f"{URL}/{rule_id}"
    answer = owner.post(
        f"{url}/edit",
        data={**RULE, **STEP, "op": "draft", "version": version(owner, f"{URL}/{rule_id}/edit")},
    )
    assert answer.status_code == 302 and answer.location.endswith(url)
    with app.app_context(), acting_in(team.id):
        move(make_deal(team.stages["Lead"]), team.stages["Won"])
        assert notes() == ["old"]
        db.session.rollback()
    shown, listed, edit = owner.get(url).text, owner.get(URL).text, owner.get(f"{url}/edit").text
    assert (
        '<span class="chip warn">draft</span>' in shown and '<span class="chip warn">draft</span>' in listed
    )
    assert "<del>old</del><ins>new</ins>" in shown and ">new</textarea>" in edit.replace("\n", "").replace(
        "\r", ""
    )
    assert "The draft is saved" in shown
    answer = owner.post(f"{url}/draft/publish", data={"version": version(owner, f"{url}/edit")})
    assert answer.status_code == 302 and "The draft is published" in owner.get(url).text
    assert [v.number for v in read(app, team, AutomationVersion)] == [1, 2]
    assert read(app, team, AutomationDraft) == []
    answer = owner.post(f"{url}/draft/publish", data={})
    assert "no draft any more" in owner.get(url).text


def test_a_draft_can_be_discarded_and_a_plain_save_ends_it(
    app: Flask, team: Any, owner: FlaskClient, version: Any, rule_id: int
) -> None:
    url = f"{URL}/{rule_id}"
    owner.post(
        f"{url}/edit",
        data={**RULE, **STEP, "op": "draft", "version": version(owner, f"{URL}/{rule_id}/edit")},
    )
    assert (
        owner.post(
            f"{url}/draft/discard", data={"version": version(owner, f"{URL}/{rule_id}/edit")}
        ).status_code
        == 302
    )
    assert read(app, team, AutomationDraft) == [] and len(read(app, team, AutomationVersion)) == 1
    owner.post(
        f"{url}/edit",
        data={**RULE, **STEP, "op": "draft", "version": version(owner, f"{URL}/{rule_id}/edit")},
    )
    assert owner.post(
        f"{url}/edit", data={**RULE, **STEP, "version": version(owner, f"{URL}/{rule_id}/edit")}
    ).location.endswith(URL)
    assert read(app, team, AutomationDraft) == [] and len(read(app, team, AutomationVersion)) == 2
    answer = owner.post(f"{url}/edit", data={**RULE, "steps-0-kind": "stop", "op": "publish"})
    assert answer.location.endswith(url) and "version 3 works from now on" in owner.get(url).text


def test_two_who_save_a_draft_notice_each_other(
    app: Flask, team: Any, owner: FlaskClient, version: Any, rule_id: int
) -> None:
    url = f"{URL}/{rule_id}/edit"
    old = version(owner, url)
    assert owner.post(url, data={**RULE, **STEP, "op": "draft", "version": old}).status_code == 302
    mine = {**RULE, "steps-0-kind": "log_note", "steps-0-body": "mine", "op": "draft", "version": old}
    answer = owner.post(url, data=mine)
    assert answer.status_code == 409 and "log note “mine”" in answer.text and "log note “new”" in answer.text
    assert len(read(app, team, AutomationDraft)) == 1


def test_a_draft_may_make_no_sense_yet_but_is_not_published_so(
    app: Flask, team: Any, owner: FlaskClient, version: Any, rule_id: int
) -> None:
    url = f"{URL}/{rule_id}"
    bad = {**RULE, "steps-0-kind": "log_note", "steps-0-body": "{{ deal.nothing }}"}
    checked = owner.post(f"{url}/edit", data={**bad, "op": "check"})
    assert checked.status_code == 200 and "no field “deal.nothing”" in checked.text
    assert "cannot be published yet" in checked.text
    good = owner.post(f"{url}/edit", data={**RULE, **STEP, "op": "check"})
    assert "this can be published" in good.text and read(app, team, AutomationDraft) == []
    assert (
        owner.post(
            f"{url}/edit", data={**bad, "op": "draft", "version": version(owner, f"{URL}/{rule_id}/edit")}
        ).status_code
        == 302
    )
    shown = owner.get(url).text
    assert "no field “deal.nothing”" in shown and f"{url}/draft/publish" not in shown
    owner.post(f"{url}/draft/publish", data={"version": version(owner, f"{URL}/{rule_id}/edit")})
    assert "no field “deal.nothing”" in owner.get(url).text
    assert len(read(app, team, AutomationVersion)) == 1
    for wrong in (
        {"name": ""},
        {"steps-0-kind": "rm_rf"},
        {"steps-0-body": "x" * 5001},
        {"steps-0-step_note": "x" * 501},
    ):
        assert owner.post(f"{url}/edit", data={**RULE, **STEP, **wrong, "op": "draft"}).status_code == 422


def test_the_switch_is_not_part_of_a_draft_and_that_is_said(
    app: Flask, team: Any, owner: FlaskClient, version: Any, rule_id: int
) -> None:
    data = {**RULE, **STEP, "op": "draft", "version": version(owner, f"{URL}/{rule_id}/edit")}
    del data["is_active"]
    owner.post(f"{URL}/{rule_id}/edit", data=data)
    assert "it changes when you publish" in owner.get(f"{URL}/{rule_id}").text
    assert read(app, team, Automation)[0].is_active


# --- versions --------------------------------------------------------------------------------------


def test_a_version_can_be_restored(
    app: Flask, team: Any, owner: FlaskClient, version: Any, rule_id: int
) -> None:
    with app.app_context(), acting_in(team.id):
        rule = db.session.get_one(Automation, rule_id)
        for body in ("second", "third"):
            with write_transaction():
                update_automation(rule, build("Renamed", "deal.won", {}, [note(body)]))
    url = f"{URL}/{rule_id}"
    page = owner.get(f"{url}/versions").text
    assert "<del>old</del><ins>second</ins>" in page and "<del>second</del><ins>third</ins>" in page
    assert "Name:</span> <del>Won kickoff</del><ins>Renamed</ins>" in page
    compared = owner.get(f"{url}/versions?from=1&to=3").text
    assert "Version 1 compared with version 3" in compared and "<del>old</del><ins>third</ins>" in compared
    for odd in ("?from=²&to=1", "?from=99&to=1", "?from=-1&to=" + "9" * 400):
        assert owner.get(f"{url}/versions{odd}").status_code == 200
    assert (
        owner.post(
            f"{url}/versions/restore", data={"number": 1, "version": version(owner, f"{URL}/{rule_id}/edit")}
        ).status_code
        == 302
    )
    assert "Version 1 is back" in owner.get(url).text
    with app.app_context(), acting_in(team.id):
        found = definition_of(db.session.get_one(Automation, rule_id))
        assert (found.name, found.sentence()) == ("Won kickoff", "When a deal is won → log note “old”")
        db.session.rollback()
    for number in ("4", "77", "²", "", "-1"):
        owner.post(f"{url}/versions/restore", data={"number": number})
    assert len(read(app, team, AutomationVersion)) == 4


WORDS = st.text(alphabet=" ab,é“”\n", max_size=40)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS)
def test_a_diff_holds_both_texts_whole(old: str, new: str) -> None:
    parts = changes.word_diff(old, new)
    assert "".join(text for kind, text in parts if kind != "ins") == old
    assert "".join(text for kind, text in parts if kind != "del") == new


def test_a_diff_marks_a_new_clause_as_one_and_cuts_what_stayed() -> None:
    parts = changes.word_diff("log note “a”", "log note “a”, log note “b c d”")
    assert parts == [("same", "log note “a”"), ("ins", ", log note “b c d”")]
    long = changes.word_diff("x " * 100 + "old", "x " * 100 + "new")
    assert changes.elided(long)[0][1].startswith(" … ") and len(changes.elided(long)[0][1]) < 50
    assert changes.word_diff("x" * 20_001, "y") == [("del", "x" * 20_001), ("ins", "y")]


# --- waiting ---------------------------------------------------------------------------------------


def test_a_waiting_run_says_for_what_and_can_be_cancelled(
    app: Flask, team: Any, owner: FlaskClient, version: Any, sign_in: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        rule_id = make_rule(
            "deal.created", [note("a"), wait(mode="event", event="deal.won", amount=9), note("b")]
        ).id
        timed = make_rule("deal.created", [wait(amount=2), note("b")], name="Timed").id
        make_deal(team.stages["Lead"])
        runs = {run.automation_id: run.id for run in db.session.scalars(select(AutomationRun))}
        db.session.rollback()
    page = owner.get(f"{URL}/runs/{runs[rule_id]}").text
    assert "Waits until a deal is won" in page and "At the latest" in page and "Cancel this run" in page
    assert "Planned for" in owner.get(f"{URL}/runs/{runs[timed]}").text
    assert "Cancel this run" not in sign_in(team.viewer).get(f"{URL}/runs/{runs[rule_id]}").text
    assert "note logged; waiting until" in owner.get(f"{URL}/runs").text
    assert "1 run waits" in owner.get(f"{URL}/{rule_id}").text
    assert "It ends without the rest" in owner.get(f"{URL}/{rule_id}/delete").text
    assert owner.post(f"{URL}/runs/{runs[rule_id]}/cancel", data={}).status_code == 302
    page = owner.get(f"{URL}/runs/{runs[rule_id]}").text
    assert "The run is cancelled" in page and "cancelled: by Acme owner" in page
    owner.post(f"{URL}/runs/{runs[rule_id]}/cancel", data={})
    assert "It does not wait any more" in owner.get(URL).text
    assert [job.state for job in read(app, team, Job)] == ["cancelled", "ready"]
    off = owner.post(f"{URL}/{timed}/off", data={"version": version(owner, f"{URL}/{timed}/edit")})
    assert off.status_code == 302 and off.location == f"{URL}/{timed}/waiting"
    page = owner.get(off.location).text
    assert "“Timed” is off now" in page and "Let it finish" in page and "Cancel it" in page
    assert "it will finish when the time comes" in owner.get(f"{URL}/{timed}").text


def test_the_runs_of_a_rule_lead_to_each_other(app: Flask, team: Any, owner: FlaskClient) -> None:
    with app.app_context(), acting_in(team.id):
        make_rule(steps=[note("x")])
        make_rule(steps=[note("x")], name="Other")
        for _ in range(3):
            move(make_deal(team.stages["Lead"]), team.stages["Won"])
        runs = list(
            db.session.scalars(
                select(AutomationRun.id).where(AutomationRun.automation_id == 1).order_by(AutomationRun.id)
            )
        )
        db.session.rollback()
    links = [
        dict(re.findall(r'rel="(prev|next)" href="[^"]*/(\d+)"', owner.get(f"{URL}/runs/{run}").text))
        for run in runs
    ]
    first, middle, end = (str(run) for run in runs)
    assert links == [{"next": middle}, {"prev": first, "next": end}, {"prev": middle}]


# --- steps that are off ------------------------------------------------------------------------------


def test_a_step_that_is_off_is_passed_by_and_told(app: Flask, inside: Any) -> None:
    off = {"off": True}
    steps = [note("a"), ("log_note", {"body": "b"}, off), ("wait", {}, off), ("stop", {}, off), note("c")]
    rule = make_rule(steps=steps)
    win(inside)
    assert notes() == ["a", "c"]
    run = last()
    assert (run.outcome, run.detail) == ("succeeded", "note logged; note logged")
    assert [(s["outcome"], s["text"]) for s in run.trace["steps"]][1] == ("off", "switched off")
    assert "switched off: log note “b”, switched off: wait 1 day" in definition_of(rule).sentence()


def ladder(**off: Any) -> list[Any]:
    from tests.automation.test_flow import BIG, MIDDLE

    def mark(name: str, kind: str, given: Any) -> Any:
        return (kind, given, {"off": True}) if off.get(name) else (kind, given)

    return [
        mark("one", *BIG), note("big"), mark("two", *MIDDLE), note("middle"),
        mark("three", "otherwise", {}), note("small"), ("end_if", {}), note("after"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("off", "amount", "said"),
    [
        ("one", "5000", ["after"]), ("one", "5", ["after"]),
        ("two", "5000", ["big", "after"]), ("two", "500", ["small", "after"]),
        ("three", "5", ["after"]), ("three", "500", ["middle", "after"]),
    ],
)  # fmt: skip
def test_a_branch_that_is_off(inside: Any, off: str, amount: str, said: list[str]) -> None:
    make_rule(steps=ladder(**{off: True}))
    win(inside, amount=amount)
    assert notes() == said and last().outcome == "succeeded"


def test_marks_are_stored_beside_the_settings_and_plain_texts_stay_as_they_were(inside: Any) -> None:
    plain = build("x", "deal.won", {}, [note("a")])
    marked = build("x", "deal.won", {}, [("log_note", {"body": "a"}, {"off": True, "note": "Ask Ana"})])
    assert '"steps":[{"kind":"log_note","settings":{"body":"a"}}]' in plain.to_text()
    assert '{"kind":"log_note","note":"Ask Ana","off":true,"settings":{"body":"a"}}' in marked.to_text()
    rule = make_rule(steps=[("log_note", {"body": "a"}, {"off": True, "note": "Ask Ana"})])
    assert definition_of(rule).to_text() == marked.to_text().replace('"name":"x"', '"name":"Won kickoff"')


def test_what_is_off_need_not_make_sense(inside: Any) -> None:
    bad = ("log_note", {"body": "{{ deal.nothing }}"})
    with pytest.raises(Refused):
        make_rule(steps=[bad, note("x")])
    make_rule(steps=[(*bad, {"off": True}), note("x")])
    make_rule(steps=[("if", ladder()[0][1], {"off": True}), bad, ("end_if", {}), note("x")], name="Two")
    win(inside)
    assert notes() == ["x", "x"]


def test_a_draft_of_a_deleted_rule_is_refused(inside: Any) -> None:
    rule = make_rule(steps=[note("x")])
    with write_transaction():
        delete_automation(rule)
    with pytest.raises(Refused, match="deleted"):
        drafts.save_draft(rule, definition_of(rule))


def test_a_waiting_run_goes_on_by_its_version_whatever_was_published(app: Flask, inside: Any) -> None:
    rule = make_rule(steps=[wait(), note("old")])
    with clock.at(NOW):
        win(inside)
    with write_transaction():
        drafts.save_draft(rule, build("x", "deal.won", {}, [note("new")]))
    with write_transaction():
        drafts.publish_draft(rule)
    assert work(app, NOW + timedelta(days=1)) == ["done"] and notes() == ["old"]


def test_what_is_off_is_not_counted_as_done(inside: Any) -> None:
    bad = ("change_field", {"target": "company", "field": "name", "value": "x"})
    make_rule(steps=[("log_note", {"body": "x"}, {"off": True}), bad], on_failure="keep")
    win(inside)
    assert last().outcome == "failed"


def test_a_setting_that_came_later_makes_no_new_version_of_what_was_stored_before(inside: Any) -> None:
    """A version of before knows nothing of a setting that its action has got since; saved unchanged, it is the same."""
    steps = [("create_task", {"title": "Call", "due_in_days": 1})]
    rule = make_rule("deal.won", steps, "Old")
    stored = json.loads(current_version(rule).definition)
    del stored["steps"][0]["settings"]["person_id"]
    with write_transaction():
        version = AutomationVersion.__table__
        db.session.connection().execute(
            update(version)
            .where(version.c.tenant_id == inside.id, version.c.automation_id == rule.id)
            .values(definition=json.dumps(stored, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
        )
    db.session.expire_all()
    with write_transaction():
        update_automation(rule, build("Old", "deal.won", {}, steps))
    assert rule.definition_number == 1
    with write_transaction():
        update_automation(
            rule, build("Old", "deal.won", {}, [("create_task", {"title": "Ask", "due_in_days": 1})])
        )
    assert rule.definition_number == 2  # the control

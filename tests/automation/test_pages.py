"""The list of rules, the pages of runs, and why nothing happened."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event as sa_event
from sqlalchemy import select

from soconnective.automation import operations, queries
from soconnective.automation.models import Automation, AutomationRun
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.events import EventRow
from tests.factories.records import make_deal, make_rule, move

URL = "/dashboard/automations"
FAILING = [("log_note", {"body": "half"}), ("create_task", {"title": "{{ deal.source }}", "due_in_days": 0})]


def read(app: Flask, team: Any, statement: Any) -> list[Any]:
    with app.app_context(), acting_in(team.id):
        found = list(db.session.execute(statement).all())
        db.session.rollback()
    return found


def win(app: Flask, team: Any, *rules: dict[str, Any]) -> int:
    """Make the rules, win a deal; the id of the event `deal.won`."""
    with app.app_context(), acting_in(team.id):
        for rule in rules:
            make_rule(**rule)
        move(make_deal(team.stages["Lead"]), team.stages["Won"])
        event_id = db.session.scalars(select(EventRow.id).where(EventRow.name == "deal.won")).one()
        db.session.rollback()
    return event_id


def order(page: str) -> list[str]:
    return re.findall(r'class="primary-link" href="[^"]*automations/\d+">([^<]+)</a>', page)


def test_nothing_yet_helps(owner: FlaskClient) -> None:
    page = owner.get(URL).text
    assert "No rules yet" in page and "Make the first rule" in page


def test_the_list_says_each_rule_and_its_last_run(app: Flask, team: Any, owner: FlaskClient) -> None:
    win(app, team, {}, {"name": "Fails", "steps": FAILING})
    page = owner.get(URL).text
    assert order(page) == ["Won kickoff", "Fails"]
    assert "When a deal is won → create task" in page
    assert "success: task created; note logged" in page and "error: " in page


def test_moving_copying_and_switching(app: Flask, team: Any, owner: FlaskClient, version: Any) -> None:
    with app.app_context(), acting_in(team.id):
        first, second = make_rule(name="A").id, make_rule(name="B").id
    assert owner.post(f"{URL}/{second}/up", data={}).status_code == 302
    assert order(owner.get(URL).text) == ["B", "A"]
    assert owner.post(f"{URL}/{second}/up", data={}).status_code == 302  # the first stays the first
    assert owner.post(f"{URL}/{second}/down", data={}).status_code == 302
    assert order(owner.get(URL).text) == ["A", "B"]
    answer = owner.post(f"{URL}/{first}/duplicate", data={})
    assert answer.status_code == 302 and answer.headers["Location"].endswith("/edit")
    assert order(owner.get(URL).text) == ["A", "B", "A (copy)"]
    assert [tuple(r) for r in read(app, team, select(Automation.name, Automation.is_active).order_by(Automation.id))] == [
        ("A", True), ("B", True), ("A (copy)", False),
    ]  # fmt: skip


def test_a_late_switch_is_a_clash(app: Flask, team: Any, owner: FlaskClient, version: Any) -> None:
    with app.app_context(), acting_in(team.id):
        rule_id = make_rule().id
    old = version(owner, f"{URL}/{rule_id}/edit")
    assert owner.post(f"{URL}/{rule_id}/off", data={"version": old}).status_code == 302
    answer = owner.post(f"{URL}/{rule_id}/on", data={"version": old})
    assert answer.status_code == 409 and "Won kickoff, off" in answer.text


def test_a_deleted_rule_is_offered_back(app: Flask, team: Any, owner: FlaskClient, version: Any) -> None:
    with app.app_context(), acting_in(team.id):
        rule_id = make_rule().id
    url = f"{URL}/{rule_id}"
    answer = owner.post(
        f"{url}/delete", data={"version": version(owner, f"{url}/delete")}, follow_redirects=True
    )
    assert "was deleted" in answer.text and f'action="{url}/restore"' in answer.text
    assert "Deleted rules (1)" in answer.text and "No rules yet" in answer.text
    assert owner.get(f"{url}/edit").status_code == 404
    assert "No rules yet" in owner.get(f"{URL}?deleted=999").text
    assert owner.post(f"{url}/restore", data={}).status_code == 302
    assert [tuple(r) for r in read(app, team, select(Automation.is_active, Automation.deleted_at))] == [
        (False, None)
    ]


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_who_may_not_edit_sees_no_buttons(app: Flask, team: Any, sign_in: Any, role: str) -> None:
    event_id = win(app, team, {"steps": FAILING})
    client = sign_in(getattr(team, role))
    for path in ("", "/1", "/runs", "/runs/1", f"/why/{event_id}", "?deleted=1"):
        page = client.get(f"{URL}{path}")
        assert page.status_code == 200
        assert "<main" in page.text and f'action="{URL}' not in page.text
        assert 'title="not yet seen"' not in page.text
    for path in ("/new", "/1/edit", "/1/on", "/1/delete", "/1/restore", "/runs/seen"):
        assert client.post(f"{URL}{path}", data={}).status_code == 403


def test_failures_count_until_somebody_has_seen_them(app: Flask, team: Any, owner: FlaskClient) -> None:
    win(app, team, {"steps": FAILING}, {"name": "Keeps", "steps": FAILING, "on_failure": "keep"})
    assert '<span class="count" title="not yet seen">2</span>' in owner.get(URL).text
    assert "Mark 2 failures as seen" in owner.get(f"{URL}/runs").text
    assert owner.post(f"{URL}/runs/seen", data={}).status_code == 302
    assert 'title="not yet seen"' not in owner.get(URL).text
    assert "as seen" not in owner.get(f"{URL}/runs").text.replace("Marked as seen.", "")


def test_the_runs_are_filtered(app: Flask, team: Any, owner: FlaskClient) -> None:
    never = {
        "name": "Never",
        "trigger": "deal.stage_changed",
        "settings": {"to_stage_id": team.stages["Lost"]},
    }
    win(app, team, {}, {"name": "Fails", "steps": FAILING}, never)

    def details(query: str) -> int:
        return len(
            re.findall(r'class="primary-link" href="[^"]*/runs/\d+"', owner.get(f"{URL}/runs?{query}").text)
        )

    assert [details(q) for q in ("", "outcome=all", "outcome=not_matched", "outcome=failed")] == [2, 3, 1, 1]
    assert [details(f"automation_id={n}&outcome=all") for n in (1, 2, 3, 4)] == [1, 1, 1, 0]
    page = owner.get(f"{URL}/runs?record_type=deal&record_id=1").text
    assert "Only about Roll-out" in page and details("record_type=deal&record_id=1") == 2
    assert "a deal that is gone" in owner.get(f"{URL}/runs?record_type=deal&record_id=77").text
    assert details("record_type=robot&record_id=1") == 2
    assert details("outcome=nonsense&automation_id=²") == 2


def test_a_run_shows_its_steps_its_cause_and_what_came_of_it(
    app: Flask, team: Any, owner: FlaskClient
) -> None:
    win(app, team, {}, {"name": "Fails", "steps": FAILING})
    good, bad = owner.get(f"{URL}/runs/1").text, owner.get(f"{URL}/runs/2").text
    assert re.search(r'<a href="/dashboard/tasks/1">Kick off Roll-out</a>', good)
    assert "Task created" in good and "Version 1" in good and "/dashboard/deals/1" in good
    assert (
        "undone" in bad
        and "2. " in bad
        and "/dashboard/tasks/" not in re.split("<main", bad)[1].split("Why it ran")[0]
    )


def test_a_chain_is_walked_back_to_the_person(app: Flask, team: Any, owner: FlaskClient) -> None:
    from_task = {"name": "Second", "trigger": "contact.created", "steps": [("log_note", {"body": "x"})]}
    win(app, team, {}, from_task)
    run = read(app, team, select(AutomationRun.id, AutomationRun.event_id).order_by(AutomationRun.id))[0]
    with app.app_context(), acting_in(team.id):
        child = db.session.scalars(select(EventRow).where(EventRow.name == "task.created")).one()
        chain = queries.causes(child.id)
        assert [link.event.name for link in chain] == ["task.created", "deal.won"]
        assert [link.run.id if link.run else None for link in chain] == [run.id, None]
        with app.test_request_context():
            assert queries.run_urls([(run.event_id, 1), (run.event_id, 99)]) == {
                (run.event_id, 1): f"{URL}/runs/{run.id}"
            }
        db.session.rollback()


def test_why_says_what_each_rule_said(app: Flask, team: Any, owner: FlaskClient) -> None:
    with app.app_context(), acting_in(team.id):
        gone = make_rule(name="Long gone")
        with write_transaction():
            operations.delete_automation(gone)
    moved = {"trigger": "deal.stage_changed", "settings": {"to_stage_id": team.stages["Lost"]}}
    event_id = win(
        app, team, {"name": "Ran"}, {"name": "Off", "is_active": False}, {"name": "Moved", **moved},
        {"name": "People", "trigger": "contact.created", "steps": [("log_note", {"body": "x"})]},
    )  # fmt: skip
    with app.app_context(), acting_in(team.id):
        make_rule(name="Newer")
        late = make_rule(name="Late")
        with write_transaction():
            operations.delete_automation(late)
    page = owner.get(f"{URL}/why/{event_id}").text
    said = dict(re.findall(r'automations/\d+">([^<]+)</a></td><td>(.*?)</td>', page, re.DOTALL))
    assert set(said) == {"Ran", "Off", "Moved", "Newer", "Late"}
    assert "task created; note logged" in said["Ran"] and page.index(">Ran<") < page.index(">Off<")
    assert "It is switched off." in said["Off"]
    assert "waits for something else: a deal moves" in said["Moved"]
    assert "newer than this change" in said["Newer"] and "newer than this change" in said["Late"]


def test_why_still_names_a_rule_whose_trigger_is_another_now(
    app: Flask, team: Any, owner: FlaskClient
) -> None:
    event_id = win(app, team, {})
    data = {
        "name": "Changed",
        "trigger": "contact.created",
        "on_failure": "undo",
        "steps-0-kind": "log_note",
        "steps-0-body": "x",
    }
    assert owner.post(f"{URL}/1/edit", data=data).status_code == 302
    page = owner.get(f"{URL}/why/{event_id}").text
    assert ">Changed<" in page and "task created; note logged" in page


def test_the_list_asks_the_database_no_more_for_more_rules(app: Flask, team: Any, owner: FlaskClient) -> None:
    counts = []
    for rules in (2, 12):
        win_rules = [{"name": f"R{rules}-{n}", "steps": [("log_note", {"body": "x"})]} for n in range(rules)]
        with app.app_context(), acting_in(team.id):
            for rule in win_rules:
                make_rule(**rule)
            move(make_deal(team.stages["Lead"], f"D{rules}"), team.stages["Won"])
            engine = db.engine
        seen: list[str] = []

        def note(_c: Any, _cur: Any, statement: str, *_rest: Any, seen: list[str] = seen) -> None:
            seen.append(statement)

        sa_event.listen(engine, "before_cursor_execute", note)
        assert owner.get(URL).status_code == 200
        sa_event.remove(engine, "before_cursor_execute", note)
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 14, counts

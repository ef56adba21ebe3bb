"""Proof 3, once is once: each form sent twice at once and again later has one effect and one answer."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, text

from soconnective.core import once
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.tasks.operations import create_task
from tests.factories.records import make_contact, make_deal, make_rule
from tests.proofs.pages import PageForm, form_to

NAME = "3 Once is once"
COUNTED = (
    "contacts",
    "companies",
    "deals",
    "tasks",
    "notes",
    "appointments",
    "automations",
    "events",
    "automation_runs",
)


class Sender:
    """A person's browser that sends one form several times at once."""

    def __init__(self, app: Flask, client: Any) -> None:
        self.app, self.client = app, client
        self.cookie = client.get_cookie("soconnective").value
        with app.app_context():
            self.reader = create_engine(
                app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool
            )

    def form(self, page: str, action: str | None = None) -> PageForm:
        answer = self.client.get(page)
        assert answer.status_code == 200, (page, answer.status_code)
        return form_to(answer.text, page, action)

    def send(self, action: str, data: dict[str, Any], times: int) -> list[tuple[int, str | None]]:
        answers: list[Any] = [None] * times
        ready = threading.Barrier(times)

        def one(place: int) -> None:
            client = self.app.test_client()
            client.set_cookie("soconnective", self.cookie)
            ready.wait()
            try:
                answer = client.post(action, data=data)
                answers[place] = (answer.status_code, answer.headers.get("Location"))
            except Exception as error:
                answers[place] = (599, repr(error))

        threads = [threading.Thread(target=one, args=(place,)) for place in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def counts(self) -> dict[str, int]:
        with self.reader.connect() as connection:
            return {
                name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
                for name in COUNTED
            }


def growth(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in before if after[name] != before[name]}


def wrong(
    sender: Sender, page: str, expected: dict[str, int], action: str | None = None, **typed: Any
) -> list[str]:
    """Send the form of `page` twice at once, then once more; what does not fit one effect and one answer."""
    form = sender.form(page, action)
    before = sender.counts()
    answers = sender.send(form.action, form.data(**typed), 2)
    answers += sender.send(form.action, form.data(**typed), 1)
    grown = growth(before, sender.counts())
    problems = []
    if len(set(answers)) != 1 or answers[0][0] != 302:
        problems.append(f"{form.action}: answered {answers}")
    if {name: grown.get(name, 0) for name in expected} != expected:
        problems.append(f"{form.action}: {grown} instead of {expected}")
    return problems


@pytest.fixture
def sender(app: Flask, owner: Any) -> Any:
    made = Sender(app, owner)
    yield made
    made.reader.dispose()


def flows(app: Flask, team: Any, number: int) -> list[tuple[str, dict[str, int], str | None, dict[str, Any]]]:
    """(page, rows that one post adds, where it posts, what is typed) of each kind of form."""
    with app.app_context(), acting_in(team.id):
        if number == 0:
            make_rule()
        contact, deal = make_contact(f"Ana {number}"), make_deal(team.stages["Lead"], f"Deal {number}")
        with write_transaction():
            task = create_task(f"Task {number}")
        ids = contact.id, deal.id, task.id
        db.session.remove()
    contact_id, deal_id, task_id = ids
    where = "/dashboard"
    return [
        (f"{where}/contacts/new", {"contacts": 1, "events": 1}, None, {"first_name": f"Kim {number}", "last_name": "X"}),
        (f"{where}/companies/new", {"companies": 1, "events": 1}, None, {"name": f"Company {number}"}),
        (f"{where}/deals/new", {"deals": 1, "events": 1}, None, {"title": f"New {number}", "stage_id": team.stages["Lead"]}),
        (f"{where}/tasks/new", {"tasks": 1, "events": 1}, None, {"title": f"To do {number}"}),
        (f"{where}/timeline/notes/new?contact_id={contact_id}", {"notes": 1, "events": 1}, None, {"body": "Called."}),
        (f"{where}/contacts/{contact_id}/edit", {"contacts": 0, "events": 1}, None, {"job_title": f"Job {number}"}),
        (f"{where}/tasks/{task_id}/edit", {"tasks": 0, "events": 1}, None, {"details": "More"}),
        (f"{where}/deals/{deal_id}/move?stage_id={team.stages['Won']}", {"tasks": 1, "notes": 1, "automation_runs": 1},
         f"{where}/deals/{deal_id}/move", {"stage_id": team.stages["Won"]}),
        (f"{where}/tasks/{task_id}/complete", {"events": 1}, None, {}),
        (f"{where}/contacts/{contact_id}/delete", {"contacts": -1, "notes": -1, "events": 2}, None, {}),
    ]  # fmt: skip


@pytest.mark.proof(NAME)
def test_a_form_sent_three_times_takes_effect_once(app: Flask, team: Any, sender: Sender, proof: Any) -> None:
    problems = []
    for number in range(proof.scale(2, 100)):
        for page, expected, action, typed in flows(app, team, number):
            problems += wrong(sender, page, expected, action, **typed)
            proof.cases += 1
    proof.found = len(problems)
    assert not problems, "\n".join(problems)


@pytest.mark.control(NAME)
def test_without_the_key_a_form_sent_again_is_found(
    app: Flask, team: Any, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "has_tenant", lambda: False)
    found = [
        problem
        for page, expected, action, typed in flows(app, team, 0)[:5]
        for problem in wrong(sender, page, expected, action, **typed)
    ]
    assert len(found) >= 5


def test_the_same_form_with_other_values_is_another_post(sender: Sender, team: Any) -> None:
    form = sender.form("/dashboard/companies/new")
    before = sender.counts()
    for name in ("One", "Two", "One"):
        assert sender.client.post(form.action, data=form.data(name=name)).status_code == 302
    assert growth(before, sender.counts())["companies"] == 2


def test_a_refused_form_can_be_sent_again(sender: Sender, team: Any) -> None:
    form = sender.form("/dashboard/companies/new")
    assert sender.client.post(form.action, data=form.data(name="")).status_code == 422
    assert sender.client.post(form.action, data=form.data(name="")).status_code == 422
    assert sender.client.post(form.action, data=form.data(name="Now")).status_code == 302


def test_another_person_with_the_same_key_is_another_post(sender: Sender, team: Any, sign_in: Any) -> None:
    form, before = sender.form("/dashboard/companies/new"), sender.counts()
    for client in (sender.client, sign_in(team.admin)):
        assert client.post(form.action, data=form.data(name="Same")).status_code == 302
    assert growth(before, sender.counts())["companies"] == 2


def test_if_the_answer_is_not_known_one_is_led_back(
    app: Flask, team: Any, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "PATIENCE", 0.05)
    form, before = sender.form("/dashboard/companies/new"), sender.counts()
    sender.client.post(form.action, data=form.data(name="Once"))
    with sender.reader.begin() as connection:
        connection.execute(text("UPDATE form_posts SET status = NULL"))
    again = sender.client.post(
        form.action, data=form.data(name="Once"), headers={"Referer": "http://localhost/dashboard/companies"}
    )
    assert again.status_code == 302 and again.headers["Location"].endswith("/dashboard/companies")
    assert growth(before, sender.counts())["companies"] == 1


def test_old_answers_are_forgotten(sender: Sender, team: Any) -> None:
    for name in ("One", "Two"):
        form = sender.form("/dashboard/companies/new")
        sender.client.post(form.action, data=form.data(name=name))
        with sender.reader.begin() as connection:
            assert connection.execute(text("SELECT count(*) FROM form_posts")).scalar() == 1
            connection.execute(text("UPDATE form_posts SET created_at = '2020-01-01 00:00:00+00:00'"))


def test_every_form_that_changes_records_carries_the_key(app: Flask, team: Any, owner: Any) -> None:
    from tests.proofs.pages import forms_of
    from tests.test_routes import fill, own_rules, url_of

    ids, seen = fill(app, team), 0
    for rule in own_rules(app):
        url = url_of(app, rule, ids)
        if url is None or "GET" not in rule.methods or app.view_functions[rule.endpoint].permission is None:
            continue
        for form in forms_of(owner.get(url).text, url):
            if form.action.startswith("/dashboard/workspaces/switch") or form.action == "/logout":
                continue
            assert "form_key" in dict(form.fields), (url, form.action)
            seen += 1
    assert seen > 60

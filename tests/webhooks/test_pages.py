"""Settings → Webhooks as a person uses it: what is refused beside its field, shown once, switched, tried, sent again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from soconnective.automation.models import Automation, AutomationRun
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Job, Worker
from soconnective.webhooks.models import WebhookCall, WebhookDelivery, WebhookEndpoint, WebhookHook
from soconnective.webhooks.operations import KIND
from soconnective.webhooks.upkeep import KEPT, PruneWebhooks
from tests.webhooks.conftest import Other

HOME = "/dashboard/settings/webhooks"


def count(app: Flask, team: Any, *models: Any) -> list[int]:
    with app.app_context(), acting_in(team.id):
        found = [db.session.scalar(select(func.count()).select_from(model)) or 0 for model in models]
        db.session.rollback()
    return found


def work(app: Flask, team: Any) -> None:
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            for job in db.session.scalars(select(Job).where(Job.state == "ready")):
                job.next_at = clock.now()
        db.session.remove()
        Worker(app, poll=0.01).turn()


@pytest.mark.parametrize(
    ("what", "data", "said"),
    [
        ("endpoints", {"name": "", "url": "https://a.example/"}, "Give the endpoint a name."), ("endpoints", {"name": "A", "url": ""}, "Write the address"),
        ("endpoints", {"name": "A", "url": "http://169.254.169.254/latest"}, "where clouds keep their secrets"), ("endpoints", {"name": "A" * 121, "url": "https://a.example/"}, "120"),
        ("endpoints", {"name": "A", "url": "https://u:p@a.example/"}, "before an @"), ("endpoints", {"name": "A", "url": "https://a.example:8080/"}, "Only the ports"),
        ("endpoints", {"name": "A\x00", "url": "https://a.example/"}, "cannot be stored"), ("endpoints", {"name": "A", "url": "https://a.example/\u202e"}, "control characters"),
        ("hooks", {"name": ""}, "Give the webhook a name."), ("hooks", {"name": "A", "mapping": "email"}, "Line 1: write it like"),
        ("hooks", {"name": "A", "mapping": "Email = a"}, "small letters"), ("hooks", {"name": "A", "mapping": "a = b\n\na = c"}, "Line 3: the name “a” stands twice"),
        ("hooks", {"name": "A", "mapping": "deal_id = x"}, "is taken"), ("hooks", {"name": "A", "mapping": "contact = x"}, "is taken"),
        ("hooks", {"name": "A", "mapping": "a = "}, "a path is written like"), ("hooks", {"name": "A", "mapping": "a = b..c"}, "a path is written like"),
        ("hooks", {"name": "A", "mapping": "\n".join(f"a{n} = b" for n in range(21))}, "20 fields at most"), ("hooks", {"name": "A", "mapping": "x" * 9000}, "6000"),
        ("hooks", {"name": "A", "id_path": "a..b"}, "a path is written like"), ("hooks", {"name": "A", "is_signed": "y"}, "Write the secret"),
        ("hooks", {"name": "A", "is_signed": "y", "signing_password": "hunter2"}, "no secret of the Standard Webhooks kind"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_beside_its_field(
    app: Flask, team: Any, owner: Any, what: str, data: dict[str, str], said: str
) -> None:
    answer = owner.post(f"{HOME}/{what}/new", data=data)
    assert answer.status_code == 422 and said in answer.text and "field-error" in answer.text
    assert count(app, team, WebhookEndpoint, WebhookHook) == [0, 0]


def test_an_endpoint_is_made_tried_changed_and_deleted(
    app: Flask, team: Any, owner: Any, other: Other, version: Any
) -> None:
    app.config["SOCONNECTIVE_WEBHOOK_ALLOW"] = f"127.0.0.1:{other.port}"
    page = owner.post(f"{HOME}/endpoints/new", data={"name": "Billing", "url": other.url}).location
    secrets = re.findall(r'value="(whsec_[^"]+)"', owner.get(page).text)
    assert len(secrets) == 1 and "whsec_" not in owner.get(page).text
    assert "Billing" in owner.get(HOME).text
    delivery = owner.post(f"{page}/try").location
    assert "on its way" in owner.get(delivery).text
    work(app, team)
    assert "delivered" in owner.get(delivery).text and len(other.got) == 1
    owner.post(f"{page}/rotate", data={"version": version(owner, page)})
    secrets += re.findall(r'value="(whsec_[^"]+)"', owner.get(page).text)
    owner.post(
        f"{page}/edit",
        data={"name": "Billing", "url": "https://other.example/", "version": version(owner, f"{page}/edit")},
    )
    secrets += re.findall(r'value="(whsec_[^"]+)"', owner.get(page).text)
    assert len(set(secrets)) == 3
    assert owner.post(f"{page}/off", data={"version": version(owner, page)}).status_code == 302
    assert "Switch on" in owner.get(page).text
    assert "switched off. Switch it on first." in owner.post(f"{page}/try", follow_redirects=True).text
    assert (
        owner.post(f"{page}/on", data={"version": 1}, follow_redirects=True).text.count(
            "Somebody changed this"
        )
        == 1
    )
    assert owner.post(f"{page}/delete", data={"version": version(owner, f"{page}/delete")}).location.endswith(
        "/webhooks"
    )
    assert owner.get(page).status_code == 404 and owner.get(delivery).status_code == 200


def test_what_was_given_up_is_seen_and_sent_again(
    app: Flask, team: Any, owner: Any, sign_in: Any, other: Other
) -> None:
    app.config["SOCONNECTIVE_WEBHOOK_ALLOW"] = f"127.0.0.1:{other.port}"
    other.answers = [(404, {}, b""), (200, {}, b"")]
    page = owner.post(
        f"{HOME}/endpoints/new", data={"name": "Billing", "url": f"{other.url}?key=c4n4ry"}
    ).location
    delivery = owner.post(f"{page}/try").location
    work(app, team)
    html = owner.get(delivery).text
    assert "Given up because" in html and "answered 404" in html and "Send again" in html
    assert (
        "answered 404" in owner.get("/dashboard/settings/health").text
    )  # and where all that was given up stands
    viewer = sign_in(team.viewer)
    assert viewer.get(delivery).status_code == 200 and "Send again" not in viewer.get(delivery).text
    assert "c4n4ry" not in viewer.get(delivery).text
    assert viewer.post(f"{delivery}/again").status_code == 403
    assert "under the same id" in owner.post(f"{delivery}/again", follow_redirects=True).text
    assert "given up lately can be sent again" in owner.post(f"{delivery}/again", follow_redirects=True).text
    work(app, team)
    assert "delivered" in owner.get(delivery).text
    assert len({headers["webhook-id"] for _p, headers, _b in other.got}) == 1 and len(other.got) == 2


def test_an_address_is_made_shown_once_changed_and_deleted(
    app: Flask, team: Any, owner: Any, version: Any
) -> None:
    page = owner.post(f"{HOME}/hooks/new", data={"name": "Form", "mapping": "email = email"}).location
    address = re.findall(r'value="http://localhost(/hooks/[^"]+)"', owner.get(page).text)[0]
    assert "/hooks/1-" not in owner.get(page).text
    assert owner.post(address, json={"id": 1, "email": "<b>a@x.example</b>"}).status_code == 202
    assert "&lt;b&gt;a@x.example" in owner.get(page).text
    call = re.search(r'href="([^"]+/calls/\d+)"', owner.get(page).text)
    assert call and "&lt;b&gt;" in owner.get(call[1]).text and "<b>a@x" not in owner.get(call[1]).text
    owner.post(f"{page}/rotate", data={"version": version(owner, page)})
    newer = re.findall(r'value="http://localhost(/hooks/[^"]+)"', owner.get(page).text)[0]
    assert newer != address and owner.post(address, json={}).status_code == 404
    assert owner.post(newer, json={"id": 1}).status_code == 200
    edit = {"name": "Form", "mapping": "name = name", "version": version(owner, f"{page}/edit")}
    assert (
        owner.post(f"{page}/edit", data=edit).status_code == 302
        and "name = name" in owner.get(f"{page}/edit").text
    )
    owner.post(f"{page}/off", data={"version": version(owner, page)})
    assert owner.post(newer, json={}).status_code == 404
    assert owner.post(f"{page}/delete", data={"version": version(owner, f"{page}/delete")}).status_code == 302
    assert owner.get(page).status_code == 404 and owner.get(call[1]).status_code == 200
    assert count(app, team, WebhookCall) == [1]


def test_a_rule_is_built_in_the_form(app: Flask, team: Any, owner: Any) -> None:
    page = owner.post(
        f"{HOME}/hooks/new", data={"name": "Form", "mapping": "email = email\nplan = plan"}
    ).location
    endpoint = owner.post(
        f"{HOME}/endpoints/new", data={"name": "Out", "url": "https://out.example/"}
    ).location
    rule = {
        "name": "Lead", "trigger": "webhook.received", "trigger-hook_id": page.rsplit("/", 1)[1], "is_active": "y", "on_failure": "undo",
        "if-0-0-field": "plan", "if-0-0-operator": "is", "if-0-0-value": "pro",
        "steps-0-kind": "find_or_create_contact", "steps-0-email": "{{ webhook.email }}",
        "steps-1-kind": "call_webhook", "steps-1-endpoint_id": endpoint.rsplit("/", 1)[1], "steps-1-content": "own", "steps-1-template": '{"a": "{{ webhook.plan }}"}',
    }  # fmt: skip
    bad = owner.post(
        "/dashboard/automations/new",
        data=rule | {"steps-1-template": "{", "steps-0-email": "{{ webhook.nope }}"},
    )
    assert (
        bad.status_code == 422
        and "This is not JSON (line 1)" in bad.text
        and "no field “webhook.nope”" in bad.text
    )
    for change in ({"trigger-hook_id": "4711"}, {"steps-1-endpoint_id": "4711"}, {"steps-1-content": "x"}):
        assert owner.post("/dashboard/automations/new", data=rule | change).status_code == 422
    assert owner.post("/dashboard/automations/new", data=rule).status_code == 302
    assert count(app, team, Automation) == [1]
    html = owner.get("/dashboard/automations").text
    assert "the webhook “Form” is received" in html and "call webhook “Out” with its own JSON" in html


def test_conditions_ask_for_what_was_mapped(app: Flask, team: Any, owner: Any) -> None:
    page = owner.post(f"{HOME}/hooks/new", data={"name": "Form", "mapping": "plan = plan"}).location
    address = re.findall(r'value="http://localhost(/hooks/[^"]+)"', owner.get(page).text)[0]
    rule = {
        "name": "Pro only", "trigger": "webhook.received", "is_active": "y", "on_failure": "undo", "steps-0-kind": "log_note", "steps-0-body": "x",
        "if-0-0-field": "plan", "if-0-0-operator": "is", "if-0-0-value": "pro",
    }  # fmt: skip
    answer = owner.post("/dashboard/automations/new", data=rule)
    assert answer.status_code == 302, re.findall(r"field-error[^>]*>([^<]+)", answer.text)
    for plan in ("pro", "free"):
        assert owner.post(address, json={"plan": plan}).status_code == 202
    with app.app_context(), acting_in(team.id):
        runs = [
            (run.outcome, run.detail)
            for run in db.session.scalars(select(AutomationRun).order_by(AutomationRun.id))
        ]
        db.session.rollback()
    assert runs[0] == ("succeeded", "note logged")
    assert runs[1][0] == "not_matched" and "plan" in runs[1][1] and "free" in runs[1][1]


def test_what_was_mapped_is_one_workspaces_and_never_kept_from_before(
    app: Flask, team: Any, rivals: Any, owner: Any, sign_in: Any, version: Any
) -> None:
    page = owner.post(f"{HOME}/hooks/new", data={"name": "Form", "mapping": "plan = plan"}).location
    rule = {
        "name": "x",
        "trigger": "webhook.received",
        "op": "trigger",
        "if-0-0-field": "external_id",
        "steps-0-kind": "log_note",
        "steps-0-body": "x",
    }
    theirs = sign_in(rivals.owner)
    for client, offered in ((owner, True), (theirs, False)):
        assert ("Plan (from plan)" in client.post("/dashboard/automations/new", data=rule).text) is offered
        assert ("webhook.plan" in client.post("/dashboard/automations/new", data=rule).text) is offered
    owner.post(
        f"{page}/edit",
        data={"name": "Form", "mapping": "size = size", "version": version(owner, f"{page}/edit")},
    )
    html = owner.post("/dashboard/automations/new", data=rule).text
    assert "Size (from size)" in html and "Plan (from plan)" not in html


def test_old_calls_and_deliveries_are_forgotten(app: Flask, team: Any, inside: Any) -> None:
    from soconnective.webhooks.hook_operations import create_hook, receive
    from soconnective.webhooks.operations import create_endpoint, try_endpoint

    with clock.at(clock.now() - KEPT - KEPT), write_transaction():
        hook, _token = create_hook("Form")
        endpoint = create_endpoint("Out", "https://out.example/")
        db.session.flush()
        receive(hook, {}, "{}", None, None)
        for state in ("failed", "waiting", "delivered"):
            try_endpoint(endpoint).state = state
    with write_transaction():
        receive(hook, {}, "{}", None, None)
        assert PruneWebhooks().run(Job(kind=KIND, payload={})) is None
    assert [row.state for row in db.session.scalars(select(WebhookDelivery))] == ["waiting"]
    assert len(db.session.scalars(select(WebhookCall)).all()) == 1

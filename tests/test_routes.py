"""Every route, generated from the app's own map: what each role gets, and what another tenant's id answers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from soconnective.accounts.models import Tenant
from soconnective.appointments.operations import schedule_appointment
from soconnective.automation.backtest import start_backtest
from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import definition_of
from soconnective.contacts.operations import create_company
from soconnective.core import clock
from soconnective.core.access import PERMISSIONS, ROLES
from soconnective.core.conditions import Group, Test
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.events import EventRow
from soconnective.jobs import enqueue
from soconnective.mail import enqueue_mail
from soconnective.mail.account import save_account
from soconnective.mail.templates import create_template
from soconnective.notifications import notify
from soconnective.saved_views.listed import lists
from soconnective.saved_views.operations import create_view
from soconnective.tags.operations import create_tag
from soconnective.tasks.operations import create_task
from soconnective.timeline.operations import write_note
from soconnective.webhooks.hook_operations import create_hook, receive
from soconnective.webhooks.operations import create_endpoint, deliver
from tests.factories.records import make_contact, make_deal, make_rule, move

LIBRARY = {"security", "static"}
OPEN = {"dashboard.root", "dashboard.healthz", "dashboard.readyz", "accounts.setup", "accounts.accept_invitation",
        "accounts.switch_workspace", "hooks.call"}  # fmt: skip


def fill(app: Flask, team: Any, canary: str = "Kanarek") -> dict[str, int]:
    """One record of each kind in the team's workspace; the ids by the name of the URL's argument.

    Every text holds `canary`.
    """
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            db.session.get_one(Tenant, team.id).is_demo = True  # the page that removes it exists only then
        rule = make_rule(name=f"{canary} rule")
        contact = make_contact(canary, "Ruiz", f"{canary.lower()}@x.example")
        deal = make_deal(team.stages["Lead"], f"{canary} deal", contact_ids=[contact.id])
        move(deal, team.stages["Won"])
        with write_transaction():
            tag = create_tag(f"{canary} tag")
            company = create_company(f"{canary} Ltd", tag_ids=[tag.id])
            task = create_task(f"{canary} task", deal_id=deal.id)
            appointment = schedule_appointment(f"{canary} call", clock.now(), clock.now().replace(year=2199))
            note = write_note(f"{canary} note", deal_id=deal.id)
            save_account(None, host="smtp.x.example", port=587, security="starttls", username=canary,
                         from_address=f"crm@{canary.lower()}.example", from_name=canary, password=None)  # fmt: skip
            template = create_template(
                name=f"{canary} hello", record_type="deal", subject=canary, body=canary
            )
            mail = enqueue_mail(
                "ana@x.example", f"{canary} mail", canary, to_name=canary, about=("deal", deal.id)
            )
            job = enqueue("prune_jobs", {"about": canary}, key=f"{canary} job", about=("deal", deal.id))
            job.state, job.error = "dead", f"{canary} failed"
            endpoint = create_endpoint(f"{canary} endpoint", f"https://{canary.lower()}.example/hook")
            delivery = deliver(endpoint, "ping", lambda _id: {"about": canary})
            hook, _token = create_hook(f"{canary} hook", mapping="email = email")
            db.session.flush()
            call = receive(hook, {"email": canary}, f'{{"email": "{canary}"}}', canary, None)
            assert call is not None
            told = notify(team.owner.id, "message", f"{canary} message", about=("deal", deal.id))
            sweep = start_backtest(definition_of(rule), rule, events=10)
            view = create_view(
                lists()["deal"],
                f"{canary} view",
                Group(items=[Test(field="title", operator="contains", value=canary)]),
                "title",
                team.owner.id,
                is_shared=True,
            )
        ids = {
            "notification_id": told.id if told else 0,
            "automation_id": rule.id, "contact_id": contact.id, "deal_id": deal.id, "company_id": company.id,
            "task_id": task.id, "appointment_id": appointment.id, "note_id": note.id, "job_id": job.id, "record_id": deal.id,
            "endpoint_id": endpoint.id, "delivery_id": delivery.id, "hook_id": hook.id, "call_id": call.id,
            "template_id": template.id, "message_id": mail.id,
            "tag_id": tag.id, "pipeline_id": team.pipeline_id, "stage_id": team.stages["Lead"],
            "sweep_id": sweep.id, "view_id": view.id, "run_id": db.session.query(AutomationRun.id).first()[0], "event_id": db.session.query(EventRow.id).first()[0],
        }  # fmt: skip
        db.session.rollback()
    return ids


def own_rules(app: Flask) -> list[Any]:
    rules = [r for r in app.url_map.iter_rules() if r.endpoint.split(".")[0] not in LIBRARY]
    assert len(rules) > 60
    return rules


def url_of(app: Flask, rule: Any, ids: dict[str, int]) -> str | None:
    values: dict[str, Any] = {}
    for name in rule.arguments:
        if name in ids:
            values[name] = ids[name]
        elif name in ("what", "way", "record_type"):
            values[name] = next(iter(rule._converters[name].regex.strip("(?:)").split("|")))
        else:
            return None
    with app.test_request_context():
        return str(rule.build(values)[1])


def test_every_view_says_who_may_call_it(app: Flask) -> None:
    for rule in own_rules(app):
        view = app.view_functions[rule.endpoint]
        assert hasattr(view, "permission"), rule.endpoint
        assert view.permission in PERMISSIONS or (view.permission is None and rule.endpoint in OPEN), (
            rule.endpoint
        )


@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_what_the_table_says(app: Flask, team: Any, sign_in: Any, role: str) -> None:
    ids, client, seen = fill(app, team), sign_in(getattr(team, role)), 0
    for rule in own_rules(app):
        permission = app.view_functions[rule.endpoint].permission
        url = url_of(app, rule, ids)
        if permission is None or url is None or "GET" not in rule.methods:
            continue
        answer = client.get(url)
        allowed = role in PERMISSIONS[permission][0]
        assert answer.status_code == (200 if allowed else 403), (rule.endpoint, url, answer.status_code)
        seen += 1
    assert seen > 40


def test_nobody_signed_in_is_sent_to_sign_in(app: Flask, team: Any, client: Any) -> None:
    ids = fill(app, team)
    for rule in own_rules(app):
        url = url_of(app, rule, ids)
        if app.view_functions[rule.endpoint].permission is None or url is None:
            continue
        for method in rule.methods & {"GET", "POST"}:
            answer = client.open(url, method=method)
            assert answer.status_code == 302 and "/login" in answer.headers["Location"], (method, url)


def _bare(text: str) -> str:
    return re.sub(r'nonce="[^"]*"', "", text)


def test_another_tenants_id_is_like_a_missing_one(app: Flask, team: Any, rivals: Any, sign_in: Any) -> None:
    fill(app, team)
    with app.app_context(), acting_in(rivals.id):
        for _ in range(3):  # so that their ids are not ours by chance
            make_contact("Pad", "Ding")
    theirs = fill(app, rivals)
    client, seen = sign_in(team.owner), 0
    missing = dict.fromkeys(theirs, 2**40)
    only_theirs = dict(theirs)
    for rule in own_rules(app):
        if app.view_functions[rule.endpoint].permission is None or not rule.arguments & set(theirs):
            continue
        url, other = url_of(app, rule, only_theirs), url_of(app, rule, missing)
        if url is None or other is None:
            continue
        for method in rule.methods & {"GET", "POST"}:
            mine = client.open(url, method=method)
            none = client.open(other, method=method)
            assert none.status_code == 404, (method, other)
            assert (mine.status_code, _bare(mine.text)) == (404, _bare(none.text)), (method, url)
            seen += 1
    assert seen > 40


def test_a_canary_never_shows_in_another_workspace(app: Flask, team: Any, rivals: Any, sign_in: Any) -> None:
    fill(app, rivals)
    client = sign_in(team.owner)
    for rule in own_rules(app):
        if (
            rule.arguments
            or "GET" not in rule.methods
            or app.view_functions[rule.endpoint].permission is None
        ):
            continue
        assert "Kanarek" not in client.get(str(rule)).text, str(rule)
    assert "Kanarek" not in client.get("/dashboard/search?q=kanarek").text


@pytest.mark.parametrize(
    "text", ["\x00", "²", "9" * 400, "-1", "1;drop", "%00", "ÿ" * 50, "{{7*7}}", "'\"<b>"]
)
def test_what_a_url_can_say_never_breaks_a_list(owner: Any, app: Flask, text: str) -> None:
    names = ("q", "sort", "after", "before", "owner_id", "stage_id", "pipeline_id", "company_id", "status", "view",
             "mine", "outcome", "automation_id", "record_id", "record_type", "priority", "contact_id", "tag_id",
             "saved", "filter", "op", "if-match", "if-0-match", "if-0-0-field", "if-0-0-operator", "if-0-0-value", "_scheme", "endpoint")  # fmt: skip
    for area in ("contacts", "companies", "deals", "tasks", "appointments", "automations/runs"):
        for name in names:
            answer = owner.get(f"/dashboard/{area}", query_string={name: text})
            assert answer.status_code in (200, 400), (area, name, answer.status_code)

"""A mail account that is missing or unproven, and an endpoint that is off: said before a rule is switched on, never in the way."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from soconnective.automation.definition import build
from soconnective.automation.lint import alone
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.secrets import keep_secret
from soconnective.jobs import Worker
from soconnective.mail import enqueue_mail
from soconnective.mail.account import PASSWORD, find_account, prove_account, save_account
from soconnective.mail.readiness import NO_ACCOUNT, NO_PASSWORD, UNPROVEN
from soconnective.notifications.operations import choose
from soconnective.webhooks.hook_operations import create_hook, switch_hook
from soconnective.webhooks.operations import create_endpoint, switch_endpoint
from tests.factories.records import make_rule
from tests.mail.conftest import CANARY, Post, make_account, work

MAIL = ("send_email", {"to": "contact", "subject": "Hi", "body": "Hello"})
NOTE = ("log_note", {"body": "x"})
VALUES = {"host": "127.0.0.1", "security": "none", "username": None, "from_address": "crm@acme.example", "from_name": "Acme CRM", "hourly_cap": 200}  # fmt: skip


def said(*steps: Any, trigger: str = "contact.created", settings: Any = None) -> list[str]:
    db.session.rollback()
    return alone(build("R", trigger, settings or {}, list(steps)))


def test_the_account_proves_itself_by_a_mail_that_was_taken(inside: Any, post: Post, worker: Worker) -> None:
    assert said(NOTE, MAIL) == [f"Step 2: {NO_ACCOUNT}"] and said(NOTE) == []
    make_account(post.port)
    assert said(MAIL) == [f"Step 1: {UNPROVEN}"]
    post.answers = ["451 later"]
    with write_transaction():
        enqueue_mail("ana@x.example", "Test", "Test", is_automatic=False)
    work(worker, inside)
    assert said(MAIL) == [f"Step 1: {UNPROVEN}"]
    with write_transaction():
        enqueue_mail("ana@x.example", "Test", "Test", is_automatic=False)
    work(worker, inside)
    assert said(MAIL) == []
    changes: list[tuple[dict[str, Any], list[str]]] = [
        ({"from_name": "Other", "hourly_cap": 5}, []), ({"from_address": "other@acme.example"}, [f"Step 1: {UNPROVEN}"]),
        ({"username": "crm"}, [f"Step 1: {NO_PASSWORD}"]), ({"username": "crm", "password": CANARY}, [f"Step 1: {UNPROVEN}"]),
    ]  # fmt: skip
    for change, wanted in changes:
        with write_transaction():
            account = find_account()
            assert account is not None
            account.proven_at = clock.now()
            save_account(account, **{"port": post.port, **VALUES, **change})
        assert said(MAIL) == wanted, change
    off = build("R", "contact.created", {}, [MAIL])
    assert alone(type(off)(off.name, off.trigger, (off.steps[0].marked(True, ""),), off.conditions)) == []
    with write_transaction():  # what was sent by the account before it was changed proves nothing
        prove_account(1)
        keep_secret(PASSWORD, "x")
    assert said(MAIL) == [f"Step 1: {UNPROVEN}"]


@pytest.mark.parametrize(
    ("settings", "is_said"),
    [({"who": "owner"}, True), ({"who": "admins"}, False), ({"who": "person", "person_id": "member"}, True), ({"who": "person", "person_id": "viewer"}, False)],
)  # fmt: skip
def test_who_wants_to_be_told_by_mail_is_named(inside: Any, settings: dict[str, Any], is_said: bool) -> None:
    person = getattr(inside, str(settings.get("person_id")), None)
    step = ("notify_user", {**settings, "text": "x", **({"person_id": person.id} if person else {})})
    assert said(step) == []
    with write_transaction():
        choose(inside.member.id, {"message": (True, True)})
    wanted = [f"Step 1: Acme member chose to be told by mail too. {NO_ACCOUNT}"] if is_said else []
    assert said(step) == wanted


def test_an_endpoint_and_a_webhook_that_are_off(inside: Any) -> None:
    with write_transaction():
        endpoint = create_endpoint("Billing", "https://billing.example/hook")
        hook, _token = create_hook("Form")
    call, settings = ("call_webhook", {"endpoint_id": endpoint.id}), {"hook_id": hook.id}
    assert said(call, trigger="webhook.received", settings=settings) == []
    with write_transaction():
        switch_endpoint(endpoint, False, "The other side said 410.")
        switch_hook(hook, False)
    found = said(call, trigger="webhook.received", settings=settings)
    assert found == [
        "The webhook “Form” is switched off, so nothing starts this rule. Switch it on in Settings → Webhooks.",
        "Step 1: The endpoint “Billing” is switched off. The other side said 410. Switch it on in Settings → Webhooks.",
    ]


def test_it_is_said_in_the_builder_the_list_and_the_draft_and_stops_nothing(
    app: Flask,
    owner: Any,
    there: Any,
    version: Any,
) -> None:
    data = {"name": "Greeter", "trigger": "contact.created", "on_failure": "undo", "steps-0-kind": "send_email",
            "steps-0-to": "contact", "steps-0-subject": "Hi", "steps-0-body": "Hello"}  # fmt: skip
    new = "/dashboard/automations/new"
    checked = owner.post(new, data={**data, "op": "check"}).text
    assert "this can be published" in checked and NO_ACCOUNT in checked
    saved = owner.post(new, data=data, follow_redirects=True).text
    assert NO_ACCOUNT in saved and "Greeter" in saved
    page = "/dashboard/automations/1"
    assert owner.post(f"{page}/on", data={"version": version(owner, f"{page}/edit")}).status_code == 302
    assert NO_ACCOUNT in owner.get(page).text and NO_ACCOUNT in owner.get("/dashboard/automations").text
    rule = make_rule("contact.created", [NOTE], "Quiet")
    edit = f"/dashboard/automations/{rule.id}/edit"
    owner.post(edit, data={**data, "name": "Quiet", "op": "draft", "version": version(owner, edit)})
    shown = owner.get(f"/dashboard/automations/{rule.id}").text
    assert "Publish" in shown and NO_ACCOUNT in shown

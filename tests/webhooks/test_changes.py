"""What breaks when an address, a secret, an endpoint or a hook goes: it is said before, and something may take its place."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select

from soconnective.automation.models import Automation
from soconnective.automation.operations import definition_of
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.secrets import has_secret, open_secret
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Job
from soconnective.mail.templates import create_template
from soconnective.webhooks.hook_operations import create_hook
from soconnective.webhooks.models import WebhookEndpoint, WebhookHook
from soconnective.webhooks.operations import (
    create_endpoint,
    rotate_secret,
    signing_secrets,
    try_endpoint,
    update_endpoint,
)
from soconnective.webhooks.signatures import require_signature
from soconnective.webhooks.upkeep import PruneWebhooks
from tests.factories.records import make_rule
from tests.webhooks.conftest import Other
from tests.webhooks.test_pages import HOME, work


def fill(app: Flask, team: Any) -> None:
    """Two of each, and rules that name the first."""
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            for name in ("Billing", "Books"):
                create_endpoint(name, "https://x.example/hook")
                create_hook(f"{name} form")
                create_template(name=f"{name} mail", record_type="contact", subject="Hi", body="Hello")
            create_template(name="Other kind", record_type="deal", subject="Hi", body="Hello")
        make_rule("deal.won", [("call_webhook", {"endpoint_id": 1})], "Tells billing")
        make_rule(
            "webhook.received",
            [("log_note", {"body": "x"})],
            "Takes calls",
            settings={"hook_id": 1},
            is_active=False,
        )
        make_rule("contact.created", [("send_email", {"to": "contact", "template_id": 1})], "Greets")
        db.session.remove()


def sentences(app: Flask, team: Any) -> list[str]:
    with app.app_context(), acting_in(team.id):
        rules = db.session.scalars(select(Automation).order_by(Automation.id))
        found = [definition_of(rule).sentence() for rule in rules]
        db.session.rollback()
    return found


def test_deleting_one_lists_its_rules_and_puts_another_in_its_place(
    app: Flask, team: Any, owner: Any, version: Any
) -> None:
    fill(app, team)
    mails = "/dashboard/settings/mail/templates"
    for page, rule, others, wanted in (
        (f"{HOME}/endpoints/1", "Tells billing", ["Books"], "call webhook “Books”"),
        (f"{HOME}/hooks/1", "Takes calls", ["Books form"], "the webhook “Books form” is received"),
        (f"{mails}/1", "Greets", ["Books mail"], "from template “Books mail”"),
    ):
        asked = owner.get(f"{page}/delete").text
        assert rule in asked and ("in step 1" in asked or "in its trigger" in asked), page
        offered = re.findall(r'<option value="(\d+)">([^<]+)</option>', asked.split("replacement_id", 1)[1])
        assert [name for _id, name in offered] == others
        bad = owner.post(
            f"{page}/delete", data={"replacement_id": "999", "version": version(owner, f"{page}/delete")}
        )
        assert bad.status_code == 422 and "Choose one of the list" in bad.text
        answer = owner.post(
            f"{page}/delete",
            data={"replacement_id": offered[0][0], "version": version(owner, f"{page}/delete")},
        )
        assert answer.status_code == 302 and owner.get(page).status_code == 404
        assert any(wanted in sentence for sentence in sentences(app, team)), wanted
    for page, rule, said in (
        (f"{HOME}/endpoints/2", "Tells billing", "runs fail until"), (f"{HOME}/hooks/2", "Takes calls", "nothing starts them"),
        (f"{mails}/2", "Greets", "runs fail until"),
    ):  # fmt: skip
        asked = owner.get(f"{page}/delete").text
        assert rule in asked and "replacement_id" not in asked and said in asked
        assert (
            owner.post(f"{page}/delete", data={"version": version(owner, f"{page}/delete")}).status_code
            == 302
        )
    assert all("⚠" in sentence for sentence in sentences(app, team))
    assert "No rule uses it" in owner.get(f"{mails}/3/delete").text


def test_a_new_address_or_secret_is_asked_for_first(
    app: Flask, team: Any, owner: Any, sign_in: Any, version: Any
) -> None:
    fill(app, team)
    hook, endpoint = f"{HOME}/hooks/1", f"{HOME}/endpoints/1"
    with app.app_context(), acting_in(team.id):
        before = (db.session.get_one(WebhookHook, 1).token_digest, open_secret("webhook-endpoint-1"))
        db.session.remove()
    asked = owner.get(f"{hook}/rotate").text
    assert "stops working at once" in asked and "No call has come yet" in asked and "Takes calls" in asked
    asked = owner.get(f"{endpoint}/rotate").text
    assert "x.example" in asked and "Tells billing" in asked and "another 24 hours" in asked
    for page in (hook, endpoint):
        assert f'href="{page}/rotate"' in owner.get(page).text
        assert owner.post(f"{page}/rotate", data={"version": 77}).status_code == 409
        assert sign_in(team.viewer).get(f"{page}/rotate").status_code == 403
    with app.app_context(), acting_in(team.id):
        assert (db.session.get_one(WebhookHook, 1).token_digest, open_secret("webhook-endpoint-1")) == before
        db.session.remove()
    data = {"version": version(owner, f"{endpoint}/rotate"), "keeps_old": "y"}
    shown = owner.post(f"{endpoint}/rotate", data=data, follow_redirects=True).text
    assert "The secret before it signs too until" in shown and "shown only now" in shown


def test_two_secrets_sign_for_a_day(app: Flask, team: Any, inside: Any, other: Other) -> None:
    app.config["SOCONNECTIVE_WEBHOOK_ALLOW"] = f"127.0.0.1:{other.port}"
    with write_transaction():
        endpoint = create_endpoint("Billing", other.url)
    old = signing_secrets(endpoint)[0]
    with write_transaction():
        rotate_secret(endpoint, keeps_old=True)
        endpoint_id = endpoint.id
    new, also = signing_secrets(endpoint)
    assert also == old != new
    send(app, team, endpoint_id)
    _path, headers, body = other.got[-1]
    for secret in (old, new):
        require_signature(secret, headers, body, clock.now().timestamp())
    assert old not in str(headers) and new not in str(headers)
    endpoint = db.session.get_one(WebhookEndpoint, endpoint_id)
    with clock.at(clock.now() + timedelta(hours=25)):
        assert signing_secrets(endpoint) == [new]
        with write_transaction():
            PruneWebhooks().run(Job(payload={}))
        assert not has_secret(endpoint.old_secret_name) and endpoint.old_secret_until is None
    with write_transaction():
        rotate_secret(endpoint, keeps_old=True)
        update_endpoint(
            endpoint, "Billing", "https://elsewhere.example/"
        )  # never told of the old place's secret
    assert len(signing_secrets(endpoint)) == 1 and not has_secret(endpoint.old_secret_name)


def send(app: Flask, team: Any, endpoint_id: int) -> None:
    with write_transaction():
        try_endpoint(db.session.get_one(WebhookEndpoint, endpoint_id))
    db.session.remove()
    work(app, team)

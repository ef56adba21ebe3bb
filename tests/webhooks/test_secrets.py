"""A canary in each place for a secret: it is in no row, no log line and no page but the one that shows it once."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.model import Base
from soconnective.core.secrets import open_secret
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Job, Worker
from soconnective.webhooks.models import WebhookEndpoint
from soconnective.webhooks.signatures import signed_headers
from tests.databases import owner_engine
from tests.factories.records import make_deal, make_rule, move
from tests.test_routes import fill, own_rules, url_of
from tests.webhooks.conftest import Other

IN = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktaW5ib3VuZA=="


def dump(app: Flask) -> str:
    """Every row of every table, as text."""
    engine = owner_engine(app)
    with engine.connect() as connection:
        found = "\n".join(
            repr(row)
            for table in Base.metadata.tables
            for row in connection.execute(text(f"SELECT * FROM {table}"))
        )
    engine.dispose()
    return found


def shown(html: str, name: str) -> str:
    found = re.search(rf'id="{name}"[^>]*value="([^"]+)"', html)
    assert found, html
    return found[1].replace("&#43;", "+")


@pytest.mark.parametrize("answer", [200, 401, 410, 500])
def test_no_secret_is_anywhere_but_where_it_is_shown_once(
    app: Flask, team: Any, owner: Any, sign_in: Any, other: Other, caplog: Any, answer: int
) -> None:
    caplog.set_level(logging.DEBUG)
    app.config["SOCONNECTIVE_WEBHOOK_ALLOW"] = f"127.0.0.1:{other.port}"
    other.answers = [(answer, {}, b"no")]
    page = owner.post(
        "/dashboard/settings/webhooks/endpoints/new",
        data={"name": "Out", "url": f"{other.url}/c4n4ry", "form_key": "k1"},
    )
    secret = shown(owner.get(page.location).text, "endpoint-secret")
    assert secret not in owner.get(page.location).text
    owner.post(f"{page.location}/try", data={"form_key": "k2"})
    page = owner.post("/dashboard/settings/webhooks/hooks/new",
                      data={"name": "In", "mapping": "email = email", "is_signed": "y", "signing_password": IN, "form_key": "k3"})  # fmt: skip
    address = shown(owner.get(page.location).text, "hook-address")
    assert address not in owner.get(page.location).text
    refused = owner.post(
        f"{page.location}/edit", data={"name": "", "is_signed": "y", "signing_password": IN, "version": 9}
    )
    assert refused.status_code == 422 and IN not in refused.text
    clash = owner.post(
        f"{page.location}/edit", data={"name": "In", "is_signed": "y", "signing_password": IN, "version": 0}
    )
    assert clash.status_code == 409 and IN not in clash.text
    body = b'{"email": "a@x.example"}'
    path = re.sub(r"^https?://[^/]+", "", address)
    sent = signed_headers(IN, "m1", int(clock.now().timestamp()), body) | {"Content-Type": "application/json"}
    assert owner.post(path, data=body, headers=sent).status_code == 202
    assert owner.post(path, data=body + b" ", headers=sent).status_code == 401

    with app.app_context(), acting_in(team.id):
        endpoint = db.session.query(WebhookEndpoint).one()
        assert open_secret(endpoint.secret_name) == secret
        make_rule(steps=[("call_webhook", {"endpoint_id": endpoint.id})])
        make_rule("webhook.received", [("log_note", {"body": "{{ webhook.email }}"})])
        move(make_deal(team.stages["Lead"]), team.stages["Won"])
        for _ in range(2):
            with write_transaction():
                for job in db.session.query(Job).filter_by(state="ready"):
                    job.next_at = clock.now()
            db.session.remove()
            Worker(app, poll=0.01).turn()
        db.session.rollback()
    assert len(other.got) >= 1
    ids = fill(app, team)
    with app.app_context(), acting_in(team.id):
        ids |= {"endpoint_id": db.session.query(WebhookEndpoint.id).order_by(WebhookEndpoint.id).first()[0]}
        db.session.rollback()
    pages = [
        owner.get(url).text
        for rule in own_rules(app)
        if "GET" in rule.methods and (url := url_of(app, rule, ids)) is not None
    ]
    assert len(pages) > 40
    kept = {"a dump": dump(app), "the log": caplog.text, "pages": "\n".join(pages),
            "what was sent": json.dumps([[headers, body.decode()] for _p, headers, body in other.got])}  # fmt: skip
    assert "c4n4ry" not in caplog.text  # addresses are secrets too, often enough
    token = address.rpartition("/")[2]
    for name, value in (("the endpoint's secret", secret), ("the hook's secret", IN), ("the address", token)):
        for part in {value, value.removeprefix("whsec_"), value.partition("-")[2] or value}:
            assert {where for where, what in kept.items() if part in what} == set(), name


def test_a_secret_that_is_kept_openly_would_be_found(app: Flask, team: Any) -> None:
    """Control: the dump sees what is not sealed."""
    with app.app_context(), acting_in(team.id), write_transaction():
        db.session.add(WebhookEndpoint(name="Out", url="https://x.example/", off_because=IN))
    assert IN in dump(app)

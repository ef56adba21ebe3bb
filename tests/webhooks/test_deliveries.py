"""Webhooks out: a message and its job in the run's transaction; sent signed, again under the same id, given up in words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, current_app
from sqlalchemy import select

from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.secrets import open_secret
from soconnective.jobs import Job, Worker
from soconnective.notifications.models import Notification
from soconnective.webhooks import sending
from soconnective.webhooks.models import WebhookDelivery, WebhookEndpoint
from soconnective.webhooks.operations import (
    create_endpoint,
    delete_endpoint,
    deliver_again,
    rotate_secret,
    switch_endpoint,
    try_endpoint,
    update_endpoint,
)
from soconnective.webhooks.sending import retry_after
from soconnective.webhooks.signatures import require_signature
from tests.factories.records import make_deal, make_rule, move
from tests.webhooks.conftest import Other

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def endpoint(inside: Any, other: Other) -> WebhookEndpoint:
    current_app.config["SOCONNECTIVE_WEBHOOK_ALLOW"] = f"127.0.0.1:{other.port}"
    with write_transaction():
        return create_endpoint("Other side", other.url)


def work(app: Flask, turns: int = 1) -> None:
    """Let a worker do what is due, in a context of its own; what waits for later is made due first."""
    with write_transaction():
        for job in db.session.scalars(select(Job).where(Job.state == "ready")):
            job.next_at = clock.now()
    for _ in range(turns):
        Worker(app, poll=0.01).turn()
    db.session.expire_all()


def win(inside: Any, endpoint: WebhookEndpoint, **settings: Any) -> Any:
    make_rule(
        steps=[("call_webhook", {"endpoint_id": endpoint.id, **settings})],
        name="Tell them",
    )
    deal = make_deal(inside.stages["Lead"], "Roll-out “A” \\ \n", owner_id=inside.owner.id)
    move(deal, inside.stages["Won"])
    return deal


def delivery() -> WebhookDelivery:
    db.session.expire_all()
    return db.session.scalars(select(WebhookDelivery)).one()


def test_what_happened_is_sent_signed(app: Flask, inside: Any, other: Other, endpoint: Any) -> None:
    deal = win(inside, endpoint)
    run = db.session.scalars(select(AutomationRun)).one()
    assert (run.outcome, run.detail) == ("succeeded", "webhook on its way")
    made = run.trace["steps"][0]["made"][0]
    assert made == {
        "type": "webhook_delivery",
        "id": delivery().id,
        "title": "deal.won to Other side",
        "verb": "sent",
    }
    assert other.got == []  # only a worker leaves the house
    work(app)
    _path, headers, body = other.got[0]
    require_signature(open_secret(endpoint.secret_name) or "", headers, body, clock.now().timestamp())
    told = json.loads(body)
    assert (told["type"], told["id"], told["record_id"]) == ("deal.won", headers["webhook-id"], deal.id)
    assert told["record"]["title"] == deal.title and told["rule"] == {"name": "Tell them", "version": 1}
    assert told["occurred_at"] and told["changes"]["status"] == ["open", "won"]
    found = delivery()
    assert (found.state, found.attempts, found.response_code, found.said) == ("delivered", 1, 200, "")
    assert headers["content-type"] == "application/json" and headers["soconnective-cause"] == found.cause


def test_a_rule_that_fails_later_sends_nothing(app: Flask, inside: Any, other: Other, endpoint: Any) -> None:
    make_rule(
        steps=[
            ("call_webhook", {"endpoint_id": endpoint.id}),
            ("log_note", {"body": "{{ deal.lost_reason }}"}),
        ]
    )
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    assert db.session.scalars(select(AutomationRun.outcome)).one() == "failed"
    assert db.session.scalars(select(Job).where(Job.kind == "deliver_webhook")).all() == []
    assert db.session.scalars(select(WebhookDelivery)).all() == []


def test_own_json_is_filled_text_by_text(app: Flask, inside: Any, other: Other, endpoint: Any) -> None:
    template = '{"text": "Won: {{ deal.title }}", "list": ["{{ rule.name }}", 1, true, null], "deep": {"a": "{{ deal.owner }}"}}'
    deal = win(inside, endpoint, content="own", template=template)
    work(app)
    assert json.loads(other.got[0][2]) == {
        "text": f"Won: {deal.title}",
        "list": ["Tell them", 1, True, None],
        "deep": {"a": inside.owner.name},
    }


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "Write the JSON"), ("", "Write the JSON"), ("{{ deal.title }}", "not JSON"), ('{"a": {{ deal.title }}}', "not JSON"), ("{", "not JSON"),
        ('{"a": NaN}', "not JSON"), ('{"a": "{{ deal.nothing }}"}', "no field “deal.nothing”"), ('["{% for x in y %}{% endfor %}"]', "“for” is not available"),
        ('{"{{ deal.title }}": 1}', "not in names"), ("[" * 10_000 + "]" * 10_000, "nested too deeply"), ("[" * 51 + "]" * 51, "nested too deeply"), ('{"a": 1e400}', "not JSON"), ('{"a": "{{ contact.name }}"}', "no field"),
    ],
)  # fmt: skip
def test_json_that_cannot_be_sent_is_refused_when_saved(
    inside: Any, endpoint: Any, template: str | None, said: str
) -> None:
    settings = {"endpoint_id": endpoint.id, "content": "own", "template": template}
    if template is not None and len(template) > 1000:
        settings["template"] = template[:20_000]
    problems = build("Rule", "deal.won", {}, [("call_webhook", settings)]).problems()
    assert [(path, name) for path, name, _text in problems] == [("0", "template")] and said in problems[0][2]


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        (204, "delivered", ""), (299, "delivered", ""), (301, "failed", "Redirects are not followed"), (400, "failed", "answered 400"),
        (401, "failed", "Does it know the endpoint's secret?"), (404, "failed", "answered 404"), (410, "failed", "is switched off"),
        (408, "waiting", "answered 408"), (429, "waiting", "answered 429"), (500, "waiting", "answered 500"), (503, "waiting", "answered 503"),
    ],
)  # fmt: skip
def test_what_each_answer_means(
    app: Flask, inside: Any, other: Other, endpoint: Any, answer: int, state: str, said: str
) -> None:
    other.answers = [(answer, {}, b"")]
    win(inside, endpoint)
    work(app)
    found = delivery()
    assert (found.state, found.response_code, found.attempts) == (state, answer, 1)
    assert said in found.said
    assert db.session.get_one(WebhookEndpoint, endpoint.id).is_active is (answer != 410)
    assert len(other.got) == 1


def test_it_is_tried_again_under_the_same_id_until_it_is_given_up(
    app: Flask, inside: Any, other: Other, endpoint: Any
) -> None:
    other.answers = [(500, {}, b"")]
    win(inside, endpoint)
    for _ in range(sending.DeliverWebhook.most_attempts):
        work(app)
    found = delivery()
    assert (found.state, found.attempts) == ("failed", sending.DeliverWebhook.most_attempts)
    assert {headers["webhook-id"] for _path, headers, _body in other.got} == {found.key}
    run = db.session.scalars(select(AutomationRun)).one()
    assert run.detail.startswith("webhook on its way; not delivered: deal.won to ")
    assert [one["type"] for one in run.undelivered] == ["webhook_delivery"]
    assert "answered 500" in run.trace["steps"][0]["remarks"][-1]
    rows = db.session.scalars(select(Notification)).all()
    assert {(row.kind, row.record_type, row.record_id) for row in rows} == {("undelivered", "run", run.id)}
    other.answers = [(200, {}, b"")]
    with write_transaction():
        deliver_again(found, db.session.scalars(select(Job).where(Job.key == found.key)).one())
    work(app)
    assert delivery().state == "delivered" and other.got[-1][1]["webhook-id"] == found.key
    run = db.session.scalars(select(AutomationRun)).one()
    assert run.detail.endswith("answered 500.; delivered after all") and run.outcome == "succeeded"
    with pytest.raises(Refused), write_transaction():
        deliver_again(delivery(), None)


def test_retry_after_is_believed(app: Flask, inside: Any, other: Other, endpoint: Any) -> None:
    other.answers = [(429, {"Retry-After": "1234"}, b"")]
    win(inside, endpoint)
    work(app)
    job = db.session.scalars(select(Job).where(Job.kind == "deliver_webhook")).one()
    assert 1200 < (job.next_at - clock.now()).total_seconds() < 1235


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120), ("0", 0), ("999999", 6 * 3600), ("Tue, 24 Nov 2026 12:01:00 GMT", 60), ("Tue, 24 Nov 2020 12:01:00 GMT", 1),
     ("Fri, 31 Dec 9999 23:59:59 GMT", 6 * 3600), ("soon", None), ("", None), ("-5", None), ("²", None), ("9" * 50, None)],
)  # fmt: skip
def test_what_retry_after_can_say(said: str, seconds: float | None) -> None:
    assert retry_after(said, NOW) == seconds


def test_a_connection_that_is_cut_is_tried_again(
    app: Flask, inside: Any, endpoint: Any, listener: Any
) -> None:
    port, _came = listener(lambda connection: connection.recv(65536))
    current_app.config["SOCONNECTIVE_WEBHOOK_ALLOW"] = f"127.0.0.1:{port}"
    with write_transaction():
        update_endpoint(endpoint, "Silent", f"http://127.0.0.1:{port}/")
    win(inside, endpoint)
    work(app)
    found = delivery()
    assert (found.state, found.response_code) == ("waiting", None) and "could not be reached" in found.said


def test_an_address_that_leads_inside_by_now_is_given_up(
    app: Flask, inside: Any, other: Other, endpoint: Any
) -> None:
    win(inside, endpoint)
    current_app.config["SOCONNECTIVE_WEBHOOK_ALLOW"] = ""
    work(app)
    assert delivery().state == "failed" and "may be called" in delivery().said
    assert other.got == []


def test_an_inside_address_is_refused_when_it_is_typed(inside: Any) -> None:
    for url in (
        "http://127.0.0.1/",
        "http://10.0.0.1/x",
        "http://localhost/",
        "ftp://example.com/",
        "https://example.com:9/",
    ):
        with pytest.raises(Refused) as refused, write_transaction():
            create_endpoint("Inside", url)
        assert refused.value.field == "url"
    assert db.session.scalars(select(WebhookEndpoint)).all() == []


def test_another_address_gets_another_secret(inside: Any, endpoint: Any) -> None:
    old = open_secret(endpoint.secret_name)
    with write_transaction():
        assert update_endpoint(endpoint, "Renamed", endpoint.url) is False
    assert open_secret(endpoint.secret_name) == old
    with write_transaction():
        assert update_endpoint(endpoint, "Renamed", "https://elsewhere.example/hook") is True
    new = open_secret(endpoint.secret_name)
    assert new != old
    with write_transaction():
        rotate_secret(endpoint)
    assert open_secret(endpoint.secret_name) not in (old, new)
    with write_transaction():
        delete_endpoint(endpoint)
    assert open_secret(endpoint.secret_name) is None


@pytest.mark.parametrize("what", ["off", "deleted"])
def test_an_endpoint_that_is_off_or_gone_fails_the_run_in_words(
    app: Flask, inside: Any, other: Other, endpoint: Any, what: str
) -> None:
    win(inside, endpoint)
    with write_transaction():
        switch_endpoint(endpoint, False) if what == "off" else delete_endpoint(endpoint)
    work(app)
    assert delivery().state == "failed" and other.got == []
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    run = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id.desc())).first()
    assert run is not None and run.outcome == "failed"
    assert ("switched off" if what == "off" else "was deleted") in run.detail
    if what == "off":
        with pytest.raises(Refused), write_transaction():
            try_endpoint(endpoint)


def test_a_ping_is_signed_too(app: Flask, inside: Any, other: Other, endpoint: Any) -> None:
    with write_transaction():
        try_endpoint(endpoint)
    work(app)
    _path, headers, body = other.got[0]
    require_signature(open_secret(endpoint.secret_name) or "", headers, body, clock.now().timestamp())
    assert json.loads(body)["type"] == "ping" and "soconnective-cause" not in headers


def test_the_sentence_names_the_endpoint(inside: Any, endpoint: Any) -> None:
    settings = {"endpoint_id": endpoint.id}
    assert (
        build("R", "deal.won", {}, [("call_webhook", settings)])
        .sentence()
        .endswith("call webhook “Other side”")
    )
    gone = build("R", "deal.won", {}, [("call_webhook", {"endpoint_id": 4711})])
    assert "⚠ an endpoint that is gone" in gone.sentence()
    assert gone.problems() == [
        ("0", "endpoint_id", "This endpoint does not exist any more. Choose another one.")
    ]

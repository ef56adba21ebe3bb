"""Webhooks in: a secret address, JSON, once per id, told of in the transaction that stores it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from soconnective.automation.models import AutomationRun
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.events import EventRow
from soconnective.tasks.models import Task
from soconnective.timeline.models import Note
from soconnective.webhooks import inbound
from soconnective.webhooks.hook_operations import (
    create_hook,
    delete_hook,
    receive,
    rotate_address,
    switch_hook,
    update_hook,
)
from soconnective.webhooks.models import WebhookCall, WebhookHook
from soconnective.webhooks.signatures import signed_headers
from tests.factories.records import make_rule

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MAPPING = "email = customer.email\nname = customer.name\nproduct = items.0.name\ntotal = total\nitems = items"
PAYLOAD = {
    "id": "order-1", "total": 12.5, "customer": {"email": "ana@x.example", "name": "Ana Ruiz"}, "items": [{"name": "Chair"}, {"name": "Table"}],
}  # fmt: skip


class Hook:
    """A hook of the team's and its address, called as another program would."""

    def __init__(self, app: Flask, team: Any, **values: Any) -> None:
        self.app, self.team = app, team
        with app.app_context(), acting_in(team.id):
            with write_transaction():
                hook, self.token = create_hook("Web form", **{"mapping": MAPPING, **values})
            self.id = hook.id
            db.session.rollback()

    def call(self, payload: Any = PAYLOAD, headers: Any = None, token: str | None = None) -> Any:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self.app.test_client().post(f"/hooks/{token or self.token}", data=body, headers=sent)

    def change(self, operation: Any) -> Any:
        with self.app.app_context(), acting_in(self.team.id), write_transaction():
            return operation(db.session.get_one(WebhookHook, self.id))

    def all(self, model: Any) -> list[Any]:
        with self.app.app_context(), acting_in(self.team.id):
            rows = list(db.session.scalars(select(model).order_by(model.id)))
            db.session.expunge_all()
            db.session.rollback()
        return rows


@pytest.fixture
def hook(app: Flask, team: Any) -> Hook:
    return Hook(app, team)


@pytest.fixture
def many() -> Iterator[None]:
    """Without the limit: what is tested is something else."""
    was, inbound.PER_HOOK = inbound.PER_HOOK, inbound.parse("100000 per minute")
    yield
    inbound.PER_HOOK = was


def rule(hook: Hook, steps: Any, settings: Any = None) -> None:
    with hook.app.app_context(), acting_in(hook.team.id):
        make_rule("webhook.received", steps, name="On a call", settings=settings)
        db.session.rollback()


def test_a_call_is_stored_told_and_starts_rules(hook: Hook) -> None:
    rule(
        hook,
        [
            ("create_task", {"title": "Call {{ webhook.name }} ({{ webhook.email }})"}),
            ("log_note", {"body": "{{ webhook.product }} for {{ webhook.total }}: {{ webhook.items }}"}),
            ("create_deal", {"title": "{{ webhook.product }}", "stage_id": hook.team.stages["Lead"]}),
        ],
        {"hook_id": hook.id},
    )
    answer = hook.call()
    assert (answer.status_code, answer.json) == (202, {"status": "accepted"})
    call = hook.all(WebhookCall)[0]
    assert (call.external_id, call.fields["email"], call.hook_id) == ("order-1", "ana@x.example", hook.id)
    assert json.loads(call.payload) == PAYLOAD
    run = hook.all(AutomationRun)[0]
    assert (run.outcome, run.detail) == ("succeeded", "task created; note logged; deal created")
    assert hook.all(Task)[0].title == "Call Ana Ruiz (ana@x.example)"
    assert hook.all(Note)[0].body == 'Chair for 12.5: [{"name":"Chair"},{"name":"Table"}]'
    assert hook.all(Deal)[0].title == "Chair"
    event = hook.all(EventRow)[0]
    assert (event.name, event.actor_kind, event.actor_name, event.depth) == (
        "webhook.received",
        "api",
        "webhook Web form",
        0,
    )


def test_a_rule_for_another_hook_does_not_match(app: Flask, team: Any, hook: Hook) -> None:
    other = Hook(app, team, mapping="")
    rule(hook, [("log_note", {"body": "x"})], {"hook_id": other.id})
    assert hook.call().status_code == 202
    assert [run.outcome for run in hook.all(AutomationRun)] == ["not_matched"]


def test_a_rule_that_fails_does_not_break_the_call(hook: Hook) -> None:
    rule(hook, [("create_task", {"title": "{{ webhook.email }}"})])
    assert hook.call({"id": 1}).status_code == 202
    assert [run.outcome for run in hook.all(AutomationRun)] == ["failed"] and len(hook.all(WebhookCall)) == 1


@pytest.mark.parametrize(
    ("id_path", "headers", "payload", "wanted"),
    [
        (None, {}, {"id": 7}, "7"), (None, {"webhook-id": "msg_1"}, {"id": 7}, "msg_1"), (None, {}, {}, None), (None, {}, [{"id": 1}], None),
        ("order.id", {"webhook-id": "msg_1"}, {"order": {"id": "A-1"}}, "A-1"), ("order.id", {}, {"order": {}}, None), ("0.id", {}, [{"id": 5}], "5"),
        (None, {}, {"id": None}, None), (None, {}, {"id": ""}, None), (None, {}, {"id": True}, "true"),
    ],
)  # fmt: skip
def test_what_tells_a_duplicate(
    app: Flask, team: Any, id_path: Any, headers: Any, payload: Any, wanted: Any
) -> None:
    hook = Hook(app, team, id_path=id_path)
    answers = [hook.call(payload, headers).status_code for _ in range(2)]
    assert answers == ([202, 200] if wanted else [202, 202])
    assert {call.external_id for call in hook.all(WebhookCall)} == {wanted}


def test_a_very_long_id_is_kept_by_its_digest(hook: Hook) -> None:
    assert [hook.call({"id": "x" * 2500 + end}).status_code for end in ("a", "a", "b")] == [202, 200, 200]
    assert [hook.call({}, {"webhook-id": "x" * 1500 + end}).status_code for end in ("a", "a", "b")] == [
        202,
        200,
        202,
    ]
    assert all(call.external_id.startswith("sha256-") for call in hook.all(WebhookCall))


def test_a_thousand_replays_at_once_are_one(hook: Hook, many: Any) -> None:
    rule(hook, [("log_note", {"body": "once"})])
    answers: Counter[int] = Counter()

    def _replay() -> None:
        for _ in range(125):
            answers[hook.call().status_code] += 1

    threads = [threading.Thread(target=_replay) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {202: 1, 200: 999}
    assert len(hook.all(WebhookCall)) == len(hook.all(Note)) == len(hook.all(AutomationRun)) == 1


def test_replays_that_pass_the_first_look_are_refused_by_the_table(
    hook: Hook, many: Any, monkeypatch: Any
) -> None:
    """Control: without the look beforehand, the unique id alone keeps it at one, and nothing breaks."""
    looks: Counter[str] = Counter()
    from soconnective.webhooks import hook_operations

    real = hook_operations._came_before

    def _blind(found: Any, external_id: str) -> bool:
        looks[external_id] += 1
        return real(found, external_id) if looks[external_id] % 2 == 0 else False

    assert hook.call().status_code == 202
    looks["order-1"] = 0
    monkeypatch.setattr(hook_operations, "_came_before", _blind)
    assert hook.call().status_code == 200
    assert looks["order-1"] == 2 and len(hook.all(WebhookCall)) == len(hook.all(EventRow)) == 1


def test_a_wrong_address_is_404(app: Flask, rivals: Any, hook: Hook) -> None:
    number, _, token = hook.token.partition("-")
    flipped = token[:-1] + ("A" if token[-1] != "A" else "B")
    for wrong in (f"{number}-{flipped}", f"{rivals.id}-{token}", f"999-{token}", token, f"{number}-{token}x", f"{number}-", "0-" + token,
                  f"{'9' * 18}-{token}", f"{number}-{'ü' * 43}", "x"):  # fmt: skip
        answer = hook.call(token=wrong)
        assert (answer.status_code, answer.json["detail"]) == (404, "There is no webhook at this address."), (
            wrong
        )
    assert hook.all(WebhookCall) == []
    assert hook.app.test_client().get(f"/hooks/{hook.token}").status_code == 405


def test_the_address_can_be_changed_and_switched_off(hook: Hook) -> None:
    old, hook.token = hook.token, hook.change(rotate_address)
    assert hook.call(token=old).status_code == 404 and hook.call({}).status_code == 202
    hook.change(lambda row: switch_hook(row, False))
    assert hook.call({}).status_code == 404
    hook.change(lambda row: switch_hook(row, True))
    assert hook.call({}).status_code == 202
    hook.change(delete_hook)
    assert hook.call({}).status_code == 404


def test_the_address_is_not_in_the_database(hook: Hook) -> None:
    with hook.app.app_context(), acting_in(hook.team.id):
        row = db.session.execute(select(WebhookHook.__table__)).all()
        db.session.rollback()
    assert hook.token.partition("-")[2] not in repr(row)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400), (b"{", {}, 400), (b"null", {}, 400), (b'"text"', {}, 400), (b"7", {}, 400), (b'{"a": NaN}', {}, 400), (b"\xff\xfe", {}, 400),
        (b"[" * 60_000, {}, 400), (b"[" * 51 + b"]" * 51, {}, 400), (b"[" * 50 + b"]" * 50, {}, 202), (b'{"a": ' + b"9" * 5000 + b"}", {}, 400), (b'{"a": "\x00"}', {}, 400), (b"{}" + b" " * 70_000, {}, 413), (b" " * 2_100_000, {}, 413),
        (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415), (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/vnd.x+json"}, 202), (b'{"id": "a\\u0000b", "customer": {"email": "\\ud800"}}', {}, 202),
        (b'{"id": 1e400, "customer": 5, "items": {"0": 1}}', {}, 202), (b"[]", {}, 202), (b'{"id": {"a": 1}}', {}, 202),
    ],
)  # fmt: skip
def test_what_is_posted_never_breaks_it(hook: Hook, body: bytes, headers: Any, status: int) -> None:
    rule(hook, [("log_note", {"body": "got {{ webhook.email }} {{ webhook.external_id }}"})])
    answer = hook.call(body, headers)
    assert answer.status_code == status and answer.json["status"] == (
        "accepted" if status == 202 else "refused"
    )
    assert len(hook.all(WebhookCall)) == (status == 202)
    assert [run.outcome for run in hook.all(AutomationRun)] == ["succeeded"] * (status == 202)


def test_a_signed_hook_takes_signed_calls_only(app: Flask, team: Any) -> None:
    hook = Hook(app, team, is_signed=True, secret=SECRET)
    body = json.dumps(PAYLOAD).encode()
    headers = signed_headers(SECRET, "msg_1", int(clock.now().timestamp()), body)
    assert hook.call(body).status_code == 401
    assert hook.call(body + b" ", headers).status_code == 401
    assert hook.call(body, headers | {"webhook-timestamp": "1"}).status_code == 401
    assert hook.all(WebhookCall) == []
    assert hook.call(body, headers).status_code == 202
    assert hook.call(body, headers).status_code == 200
    hook.change(lambda row: update_hook(row, "Open", mapping=MAPPING))
    assert hook.call({"id": 2}).status_code == 202


def test_too_many_calls_are_asked_to_wait(hook: Hook) -> None:
    was, inbound.PER_HOOK = inbound.PER_HOOK, inbound.parse("3 per minute")
    try:
        answers = [hook.call({}) for _ in range(5)]
    finally:
        inbound.PER_HOOK = was
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
    assert answers[-1].headers["Retry-After"] == "60" and "in a minute" in answers[-1].json["detail"]
    assert len(hook.all(WebhookCall)) == 3


def test_the_door_looks_at_no_session_and_asks_for_no_token(
    app: Flask, team: Any, rivals: Any, sign_in: Any
) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    hook, client = Hook(app, team), app.test_client()
    answer = client.post(f"/hooks/{hook.token}", json={"id": 1})
    assert answer.status_code == 202 and "Set-Cookie" not in answer.headers
    assert (
        client.post("/dashboard/deals/new", json={}).status_code == 415
    )  # control: other pages take no JSON
    assert client.post("/dashboard/deals/new", data={}).status_code == 400  # and ask for the token
    app.config["WTF_CSRF_ENABLED"] = False
    stranger = sign_in(rivals.owner)
    assert stranger.post(f"/hooks/{hook.token}", json={"id": 2}).status_code == 202
    assert len(hook.all(WebhookCall)) == 2
    assert "Globex" in stranger.get("/dashboard").text  # still in their own workspace


def test_our_own_mark_goes_on_and_a_made_up_one_only_counts(
    app: Flask, team: Any, rivals: Any, hook: Hook
) -> None:
    from soconnective.webhooks.causes import HEADER, mark

    assert hook.call({"id": 1}).status_code == 202
    first = hook.all(EventRow)[0]
    with app.app_context():
        with acting_in(team.id):
            fact = EventRow(id=first.id, root_id=None, depth=2)
            ours = mark(fact)  # type: ignore[arg-type]
        with acting_in(rivals.id):
            theirs = mark(fact)  # type: ignore[arg-type]
    for number, header in enumerate(
        (ours, theirs, ours[:-3] + "xyz", "1.1.5.abc", "nonsense", "1.1.99999.a", "²", ""), 2
    ):
        assert hook.call({"id": number}, {HEADER: header} if header.isascii() else {}).status_code == 202
    told = [(event.parent_id, event.root_id, event.depth) for event in hook.all(EventRow)[1:]]
    assert told == [
        (first.id, first.id, 3), (None, None, 3), (None, None, 3), (None, None, 6), (None, None, 0), (None, None, 0), (None, None, 0), (None, None, 0),
    ]  # fmt: skip


def test_a_call_that_says_it_is_deep_starts_nothing_more(hook: Hook) -> None:
    rule(hook, [("log_note", {"body": "x"})])
    assert hook.call({}, {"SoConnective-Cause": "1.1.7.x"}).status_code == 202
    assert [run.outcome for run in hook.all(AutomationRun)] == ["skipped"]
    assert "8 deep" in hook.all(AutomationRun)[0].detail


def test_calls_are_counted_by_workspace(app: Flask, team: Any, rivals: Any, hook: Hook) -> None:
    hook.call()
    with app.app_context(), acting_in(rivals.id):
        assert db.session.scalar(select(func.count()).select_from(WebhookCall)) == 0
        with write_transaction():
            mine, _token = create_hook("Theirs")
            db.session.flush()
            assert receive(mine, PAYLOAD, "{}", "order-1", None) is not None
        db.session.rollback()

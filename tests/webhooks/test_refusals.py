"""What a hook did not take stands on its page: duplicates with the call that came before, and why others were refused."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select

from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.jobs import Job
from soconnective.webhooks import inbound
from soconnective.webhooks.hook_operations import create_hook
from soconnective.webhooks.models import WebhookCall, WebhookRefusal
from soconnective.webhooks.refusals import MOST, last_deliveries, note_refusal
from soconnective.webhooks.upkeep import KEPT, PruneWebhooks
from tests.webhooks.test_inbound import Hook


def test_the_page_says_what_became_of_each_call(app: Flask, team: Any, owner: Any, monkeypatch: Any) -> None:
    hook = Hook(app, team)
    page = f"/dashboard/settings/webhooks/hooks/{hook.id}"
    assert "Last deliveries" not in owner.get(page).text
    assert [hook.call().status_code for _ in range(2)] == [202, 200]
    assert hook.call(b"{").status_code == 400
    assert hook.call({"id": 9}, {"Content-Type": "text/plain"}).status_code == 415
    assert hook.call(token=hook.token[:-1] + ("A" if hook.token[-1] != "A" else "B")).status_code == 404
    monkeypatch.setattr(inbound, "PER_HOOK", inbound.parse("1 per hour"))
    assert [hook.call({}).status_code for _ in range(4)] == [202, 429, 429, 429]
    call = hook.all(WebhookCall)[0]
    html = owner.get(page).text
    assert (
        f'A call with the id <a href="/dashboard/settings/webhooks/calls/{call.id}">order-1</a> came before'
        in html
    )
    assert "The body is not JSON." in html and "Send JSON, with the header" in html
    assert f"record_type=webhook&amp;record_id={call.id}" in html
    said = [one.said[:14] for one in hook.all(WebhookRefusal)]
    assert said == ["A call with th", "The body is no", "Send JSON, wit", "Too many calls"], (
        "a flood is told once"
    )


def test_a_hook_with_many_calls_has_pages(app: Flask, team: Any, owner: Any) -> None:
    """The links to them hold the id that stands in the path."""
    hook = Hook(app, team)
    for number in range(21):
        assert hook.call({"id": number}).status_code == 202
    page = f"/dashboard/settings/webhooks/hooks/{hook.id}"
    (found,) = re.findall(r'rel="next" href="([^"]+)"', owner.get(page).text)
    assert found.startswith(f"{page}?after=") and ">0</a>" in owner.get(found).text


def test_a_signature_that_is_wrong_is_told(app: Flask, team: Any, owner: Any) -> None:
    hook = Hook(app, team, is_signed=True, secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    answer = hook.call()
    assert answer.status_code == 401
    assert answer.json["detail"] == hook.all(WebhookRefusal)[0].said
    assert hook.all(WebhookCall) == []


def test_refusals_are_bounded_and_forgotten(app: Flask, team: Any, inside: Any) -> None:
    with clock.at(clock.now() - KEPT - timedelta(days=1)), write_transaction():
        hook, _token = create_hook("Form")
        other, _token = create_hook("Other")
        db.session.flush()
        note_refusal(other.id, "old")
        for number in range(MOST + 3):
            note_refusal(hook.id, f"no {number}")
    kept = db.session.scalars(select(WebhookRefusal.said).order_by(WebhookRefusal.id)).all()
    assert (len(kept), kept[0], kept[1], kept[-1]) == (MOST + 1, "old", "no 3", f"no {MOST + 2}")
    assert last_deliveries(hook.id)[0].said.startswith("no ")
    with write_transaction():
        note_refusal(hook.id, "new")
        assert PruneWebhooks().run(Job(kind="prune_webhooks", payload={})) is None
    assert db.session.scalars(select(WebhookRefusal.said)).all() == ["new"]

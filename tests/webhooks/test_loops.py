"""A webhook that comes back to ourselves ends at the bound that rules have: the mark carries the depth."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from waitress import create_server

from soconnective.automation.models import AutomationRun
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.events import EventRow
from soconnective.jobs import Job, Worker
from soconnective.webhooks import sending
from soconnective.webhooks.hook_operations import create_hook
from soconnective.webhooks.operations import create_endpoint
from tests.factories.records import make_deal, make_rule, move

ROUNDS = 12


@pytest.fixture
def port(app: Flask) -> Iterator[int]:
    """The app itself, on a real port of loopback, where webhooks may go."""
    server = create_server(app, host="127.0.0.1", port=0, threads=2)
    port = int(server.effective_port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    app.config["SOCONNECTIVE_WEBHOOK_ALLOW"] = f"127.0.0.1:{port}"
    yield port
    server.close()
    thread.join(5)


def go_round(app: Flask, team: Any, port: int) -> list[tuple[str, str, int, int | None]]:
    """Win a deal; its rule calls our own hook, whose rule calls it again, and so on. The runs in order."""
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            _hook, token = create_hook("Ourselves", mapping="")
            endpoint = create_endpoint("Ourselves", f"http://127.0.0.1:{port}/hooks/{token}")
        for trigger in ("deal.won", "webhook.received"):
            make_rule(trigger, [("call_webhook", {"endpoint_id": endpoint.id})], name=trigger)
        move(make_deal(team.stages["Lead"]), team.stages["Won"])
        for _ in range(ROUNDS):
            with write_transaction():
                for job in db.session.scalars(select(Job).where(Job.state == "ready")):
                    job.next_at = clock.now()
            db.session.remove()
            Worker(app, poll=0.01).turn()
        rows = db.session.execute(
            select(AutomationRun.outcome, AutomationRun.detail, EventRow.depth, EventRow.root_id)
            .join(EventRow, EventRow.id == AutomationRun.event_id)
            .where(AutomationRun.tenant_id == team.id)
            .order_by(AutomationRun.id)
        ).all()
        waiting = db.session.scalars(select(Job.id).where(Job.state == "ready")).all()
        db.session.rollback()
    assert not waiting or len(rows) > ROUNDS
    return [tuple(row) for row in rows]  # type: ignore[misc]


def test_it_ends_at_the_depth_bound_and_says_so(app: Flask, team: Any, port: int) -> None:
    runs = go_round(app, team, port)
    assert [run[0] for run in runs] == ["succeeded"] * 8 + ["skipped"]
    assert [run[2] for run in runs] == list(range(9))
    assert "8 deep" in runs[-1][1]
    assert (
        len({run[3] for run in runs[1:]}) == 1 and runs[1][3] is not None
    )  # one chain, back to the deal that was won


def test_without_the_mark_it_would_go_on(app: Flask, team: Any, port: int, monkeypatch: Any) -> None:
    """Control: a peer that strips the header."""
    monkeypatch.setattr(sending, "HEADER", "X-Nothing")
    runs = go_round(app, team, port)
    assert [run[0] for run in runs] == ["succeeded"] * (ROUNDS + 1)
    assert {run[2] for run in runs} == {0}

"""Proof 6, webhooks: workers killed with -9 while they send to a real server; none is lost, each is repeated under its id."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, text

from soconnective.core.db import db, write_transaction
from soconnective.core.secrets import open_secret
from soconnective.core.tenancy import acting_in
from soconnective.jobs.models import Job
from soconnective.jobs.queue import run_again
from soconnective.webhooks.models import WebhookEndpoint
from soconnective.webhooks.operations import create_endpoint, deliver
from soconnective.webhooks.signatures import BadSignature, require_signature
from tests.proofs.nursery import Birth, Nursery

NAME = "6d Crash of webhooks"


class Post:
    """A workspace that sends numbered messages, and the other side, which may kill the worker that it hears."""

    def __init__(self, app: Flask, team: Any, url: str) -> None:
        self.app, self.team, self.url = app, team, url
        self.number = 0
        self.victim: int | None = None  # killed at the next message, after it came and before it is answered
        self.killed = 0
        self.got: dict[int, list[tuple[str, bytes, dict[str, str]]]] = defaultdict(list)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.port = self.server.server_address[1]
        os.environ["SOCONNECTIVE_WEBHOOK_ALLOW"] = (
            f"127.0.0.1:{self.port}"  # read by the workers at their start
        )
        app.config["SOCONNECTIVE_WEBHOOK_ALLOW"] = f"127.0.0.1:{self.port}"
        self.nursery = Nursery()
        with app.app_context(), acting_in(team.id):
            self.reader = create_engine(
                app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool
            )
            with write_transaction():
                endpoint = create_endpoint("Other side", f"http://127.0.0.1:{self.port}/")
            self.endpoint_id, self.secret = endpoint.id, open_secret(endpoint.secret_name) or ""
            db.session.remove()

    def _handler(post: Any) -> type[BaseHTTPRequestHandler]:  # noqa: N805  the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                post.got[json.loads(body)["number"]].append((headers["webhook-id"], body, headers))
                victim, post.victim = post.victim, None
                if victim is not None:
                    post.killed += 1
                    os.kill(victim, signal.SIGKILL)
                with suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        return Handler

    def ask(self, number: int) -> None:
        with self.app.app_context(), acting_in(self.team.id):
            with write_transaction():
                endpoint = db.session.get_one(WebhookEndpoint, self.endpoint_id)
                for _ in range(number):
                    self.number += 1
                    deliver(endpoint, "test", lambda key, n=self.number: {"id": key, "number": n})  # type: ignore[misc]
            db.session.remove()

    def count(self, table: str, state: str) -> int:
        with self.reader.connect() as connection:
            query = text(f"SELECT count(*) FROM {table} WHERE state = :state")
            return int(connection.execute(query, {"state": state}).scalar_one())

    def finish(self) -> None:
        """Let one worker send all that is left, and run again what was given up with its workers.

        Messages may be many and the machine busy: it fails when none at all came in two minutes.
        """
        until, delivered = time.monotonic() + 120, 0
        with self.nursery.worker(Birth(self.url, 0, is_worker=True)):
            while (now := self.count("webhook_deliveries", "delivered")) < self.number:
                if now > delivered:
                    until, delivered = time.monotonic() + 120, now
                assert time.monotonic() < until, self.count("webhook_deliveries", "waiting")
                if self.count("jobs", "dead"):
                    with self.app.app_context(), acting_in(self.team.id), write_transaction():
                        for job in db.session.query(Job).filter_by(state="dead"):
                            run_again(job)
                time.sleep(0.02)

    def wrong(self) -> list[str]:
        with self.reader.connect() as connection:
            keys = set(
                connection.execute(
                    text("SELECT key FROM webhook_deliveries WHERE state = 'delivered'")
                ).scalars()
            )
        problems = [f"message {n} never came" for n in range(1, self.number + 1) if not self.got[n]]
        for number, calls in self.got.items():
            ids = {message_id for message_id, _body, _headers in calls}
            if len(ids) > 1 or len({body for _id, body, _headers in calls}) > 1:
                problems.append(f"message {number} came under {len(ids)} ids")
            problems += [f"message {number}: {one} is nobody's" for one in ids - keys]
            for message_id, body, headers in calls:
                try:
                    require_signature(self.secret, headers, body, time.time())
                except BadSignature:
                    problems.append(f"message {number}: {message_id} is not signed")
        return problems

    def close(self) -> None:
        os.environ.pop("SOCONNECTIVE_WEBHOOK_ALLOW", None)
        self.nursery.close()
        self.reader.dispose()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def post(app: Flask, team: Any, database_url: str) -> Iterator[Post]:
    made = Post(app, team, database_url)
    yield made
    made.close()


def kill_while_sending(post: Post, is_broken: bool = False) -> None:
    """One worker, killed by the other side in the moment in which a message came and was not answered."""
    post.ask(1)
    killed, until = post.killed, time.monotonic() + 10
    with post.nursery.worker(Birth(post.url, 0, is_broken=is_broken, is_worker=True)) as pid:
        post.victim = pid
        while post.killed == killed and time.monotonic() < until:
            time.sleep(0.005)
    post.victim = None


@pytest.mark.proof(NAME)
def test_killed_between_sending_and_recording(post: Post, proof: Any) -> None:
    for _ in range(proof.scale(5, 500)):
        kill_while_sending(post)
        proof.cases += 1
    post.finish()
    problems = post.wrong()
    proof.faults, proof.found = post.killed, len(problems)
    assert not problems, "\n".join(problems[:20])
    assert post.killed >= proof.scale(4, 450)
    assert sum(len(calls) for calls in post.got.values()) > post.number  # they did come twice


@pytest.mark.proof(NAME)
def test_killed_at_random_moments(post: Post, proof: Any) -> None:
    chance, other = random.Random(23), Nursery()
    try:
        for _ in range(proof.scale(4, 500)):
            post.ask(20)
            with other.worker(Birth(post.url, 0, is_worker=True)):
                time.sleep(chance.uniform(0.1, 0.5))
            proof.cases += 20
            proof.faults += 1
    finally:
        other.close()
    post.finish()
    problems = post.wrong()
    proof.found = len(problems)
    assert not problems, "\n".join(problems[:20])


@pytest.mark.control(NAME)
def test_a_new_id_at_each_attempt_is_found(post: Post) -> None:
    for _ in range(2):
        kill_while_sending(post, is_broken=True)
    post.finish()
    assert any("nobody's" in problem for problem in post.wrong())

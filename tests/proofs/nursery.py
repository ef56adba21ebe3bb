"""Servers to be killed: one process that has imported everything forks a server for each trial."""

from __future__ import annotations

import http.client
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import event
from waitress import create_server

from soconnective import create_app
from soconnective.automation import going_on
from soconnective.core.db import Session, db
from soconnective.jobs import Worker, queue, register_job
from tests.databases import settings_for
from tests.proofs import errands


@dataclass(frozen=True)
class Birth:
    """What a server is started with. `failpoint`: it kills itself there, counted from the first POST."""

    url: str
    port: int
    failpoint: int = 0
    is_broken: bool = False  # planted: what the request has done is committed after each UPDATE
    is_worker: bool = False  # no pages: it works on jobs; a failpoint counts from its first claim
    lease: float = 0.4


def _work(birth: Birth) -> None:
    """A worker with short leases, so that what a killed one held is soon done by another."""
    app = create_app(settings_for(birth.url))
    queue.LEASE = timedelta(seconds=birth.lease)
    for errand in (
        errands.CarelessErrand if birth.is_broken else errands.InsideErrand,
        errands.OutsideErrand,
        *([errands.CarelessDelivery] if birth.is_broken else []),
    ):
        register_job(errand)
    if birth.is_broken:
        going_on.perform = errands.careless_perform
    with app.app_context():
        engine = db.engine
    seen = [0]

    def _point(*_args: Any, **_more: Any) -> None:
        seen[0] += seen[0] > 0
        if len(_args) > 2 and isinstance(_args[2], str) and "UPDATE jobs SET" in _args[2]:
            seen[0] = seen[0] or 1
        if seen[0] == birth.failpoint:
            os.kill(os.getpid(), signal.SIGKILL)

    if birth.failpoint:
        for name in ("before_cursor_execute", "commit", "savepoint", "release_savepoint"):
            event.listen(engine, name, _point)
        event.listen(Session, "after_commit", _point)
    Worker(app, poll=0.005).run()


def _live(birth: Birth) -> None:
    app = create_app(settings_for(birth.url) | {"WTF_CSRF_ENABLED": False})
    with app.app_context():
        engine = db.engine
    seen = [0]
    is_armed = [False]

    def _point(*_args: Any, **_more: Any) -> None:
        if is_armed[0]:
            seen[0] += 1
            if seen[0] == birth.failpoint:
                os.kill(os.getpid(), signal.SIGKILL)

    @app.before_request
    def _arm() -> None:
        from flask import request

        is_armed[0] = birth.failpoint > 0 and request.method == "POST" and "/move" in request.path

    app.before_request_funcs[None].insert(0, app.before_request_funcs[None].pop())
    for name in ("before_cursor_execute", "commit", "savepoint", "release_savepoint"):
        event.listen(engine, name, _point)
    event.listen(Session, "after_commit", _point)

    @app.after_request
    def _last(response: Any) -> Any:
        _point()
        return response

    if birth.is_broken:

        @event.listens_for(engine, "after_cursor_execute")
        def _half(_c: Any, cursor: Any, statement: str, *_more: Any) -> None:
            if statement.startswith("UPDATE deals"):
                cursor.connection.execute("COMMIT")
                cursor.connection.execute("BEGIN")

    create_server(app, host="127.0.0.1", port=birth.port, threads=4).run()


def _nurse(pipe: Any) -> None:
    """Fork a server for each `Birth`; kill it when told to, or say that it has died."""
    while True:
        birth = pipe.recv()
        if birth is None:
            return
        child = os.fork()
        if child == 0:
            with suppress(BaseException), Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), sys.stderr.fileno())
                (_work if birth.is_worker else _live)(birth)
            os._exit(1)
        pipe.send(child)
        pipe.recv()  # the trial is over
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        pipe.send(os.waitpid(child, 0)[1])


class Nursery:
    """Start servers and kill them; each is a child of the nurse, ended by its own pid."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.nurse = context.Process(target=_nurse, args=(other,), daemon=True)
        self.nurse.start()

    @contextmanager
    def server(self, birth: Birth) -> Iterator[int]:
        """A running server; leaving kills it with SIGKILL at whatever it is doing. Gives its pid."""
        self.pipe.send(birth)
        pid = self.pipe.recv()
        try:
            _wait_for(birth.port)
            yield pid
        finally:
            self.pipe.send("over")
            self.pipe.recv()

    @contextmanager
    def worker(self, birth: Birth) -> Iterator[int]:
        """The same for a worker, which nobody waits for."""
        self.pipe.send(birth)
        pid = self.pipe.recv()
        try:
            yield pid
        finally:
            self.pipe.send("over")
            self.pipe.recv()

    def close(self) -> None:
        self.pipe.send(None)
        self.nurse.join(10)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.005)
    raise TimeoutError(f"no server on {port}")


def post(port: int, cookie: str, path: str, data: dict[str, Any]) -> int:
    """The status of a post; raises `OSError` or `HTTPException` if the server dies meanwhile."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", path, urlencode(data), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()

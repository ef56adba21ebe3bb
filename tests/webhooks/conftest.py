"""Real HTTP servers on loopback that stand for the other side, and what they were sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from soconnective.webhooks.addresses import allowed_of


@dataclass
class Other:
    """The other side: what it was sent, and what it answers (`answers` by turn; the last one for ever)."""

    port: int = 0
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(200, {}, b"ok")])
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def allowed(self) -> Any:
        return allowed_of(f"127.0.0.1:{self.port}")


@pytest.fixture
def other() -> Iterator[Other]:
    made = Other()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            made.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status, headers, answer = made.answers[0] if len(made.answers) == 1 else made.answers.pop(0)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(answer)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def listener() -> Iterator[Callable[[Callable[[socket.socket], None]], tuple[int, list[str]]]]:
    """A bare listener on loopback: `listener(what)` gives its port, and who connected."""
    sockets = []

    def listen(what: Callable[[socket.socket], None]) -> tuple[int, list[str]]:
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)
        came: list[str] = []

        def serve() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                came.append(str(address))
                with suppress(OSError), connection:
                    what(connection)

        threading.Thread(target=serve, daemon=True).start()
        return server.getsockname()[1], came

    yield listen
    for server in sockets:
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()

"""The one client that calls webhooks: it resolves once, judges every answer, and connects to what it judged.

No redirects, no proxies of the environment, no cookies; the name stays in the Host header and in TLS. The whole
call has one deadline, so that a side that sends a byte a minute holds nobody up, and at most 64 kB are read.
The back end is set on httpx2's pool, which its transport keeps in a private attribute:
`tests/webhooks/test_client.py` fails if it ever stops being asked.
"""

from __future__ import annotations

import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore2
import httpx2

from soconnective.webhooks.addresses import Allowed, Blocked, judge, target_of

for _name in ("httpx2", "httpcore2"):  # they log whole addresses, and an address may be a secret
    logging.getLogger(_name).setLevel(logging.WARNING)

Resolve = Callable[[str, int], Sequence[str]]
LONGEST_ANSWER = 64 * 1024


class NoAnswer(Exception):
    """The other side could not be reached, or did not answer in time; the message is for people."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Seconds: to connect (names, TCP and TLS each), between two bytes, and for all of it."""

    connect: float = 5.0
    read: float = 10.0
    total: float = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes  # the first 64 kB, as they came over the wire


def resolve(host: str, port: int) -> list[str]:
    """Every address of `host`, as the system's resolver gives them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    allowed: Allowed,
    caps: Caps = Caps(),
    ask: Resolve = resolve,
) -> Answer:
    """Send `body` to `url`; raises `Blocked` for an address that may not be called and `NoAnswer` in words."""
    target = target_of(url, allowed)
    backend = GuardedBackend(allowed, ask, time.monotonic() + caps.total, caps)
    timeout = httpx2.Timeout(caps.read, connect=caps.connect)
    with httpx2.Client(
        transport=_transport(backend), trust_env=False, follow_redirects=False, timeout=timeout
    ) as client:
        try:
            with client.stream("POST", target.url, content=body, headers=dict(headers)) as answer:
                return Answer(answer.status_code, dict(answer.headers), _read(answer))
        except httpx2.TimeoutException:
            raise NoAnswer(f"{target.host} did not answer in time.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError) as error:
            raise NoAnswer(f"{target.host} could not be reached ({_kind(error)}).") from None


def _transport(backend: GuardedBackend) -> httpx2.HTTPTransport:
    context = httpx2.create_ssl_context(trust_env=False)
    transport = httpx2.HTTPTransport(verify=context, trust_env=False)
    transport._pool = httpcore2.ConnectionPool(  # noqa: SLF001  the only way in; see above
        ssl_context=context, max_connections=1, max_keepalive_connections=0, network_backend=backend
    )
    return transport


def _read(answer: httpx2.Response) -> bytes:
    """As it came: what is packed stays packed, so that it cannot grow."""
    read = b""
    for part in answer.iter_raw():
        read += part
        if len(read) >= LONGEST_ANSWER:
            break
    return read[:LONGEST_ANSWER]


def _kind(error: BaseException) -> str:
    """What went wrong, without anything that the other side wrote."""
    return {
        "ConnectError": "no connection",
        "ReadError": "the connection broke",
        "WriteError": "the connection broke",
        "RemoteProtocolError": "its answer is not HTTP",
    }.get(type(error).__name__, type(error).__name__)


class GuardedBackend(httpcore2.SyncBackend):
    """Connects to judged addresses only, and until `deadline` only (`time.monotonic`)."""

    def __init__(self, allowed: Allowed, ask: Resolve, deadline: float, caps: Caps) -> None:
        self.allowed, self.ask, self.deadline, self.caps = allowed, ask, deadline, caps

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = judge(host, port, self._resolved(host, port), self.allowed)
        failed: Exception = httpcore2.ConnectError("no address")
        for address in addresses[:4]:
            try:
                stream = super().connect_tcp(
                    str(address), port, left(self.deadline, timeout), local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
            else:
                return TimedStream(stream, self.deadline)
        raise failed

    def connect_unix_socket(self, *_args: Any, **_more: Any) -> httpcore2.NetworkStream:
        raise Blocked("Webhooks go to public addresses only.")

    def _resolved(self, host: str, port: int) -> Sequence[str]:
        """What `host` leads to. The system's resolver knows no time limit, so it is asked in a thread of its own."""
        answers: queue.Queue[Any] = queue.Queue()

        def _ask() -> None:
            try:
                answers.put(self.ask(host, port))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        threading.Thread(target=_ask, name="webhook-names", daemon=True).start()
        try:
            found = answers.get(timeout=left(self.deadline, self.caps.connect))
        except queue.Empty:
            raise httpcore2.ConnectTimeout("the name was not found in time") from None
        if isinstance(found, Exception):
            raise httpcore2.ConnectError("the name is not known") from None
        return found  # type: ignore[no-any-return]


class TimedStream(httpcore2.NetworkStream):
    """A stream each of whose waits ends with the call's deadline."""

    def __init__(self, inner: httpcore2.NetworkStream, deadline: float) -> None:
        self.inner, self.deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, left(self.deadline, timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, left(self.deadline, timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        inner = self.inner.start_tls(ssl_context, server_hostname, left(self.deadline, timeout))
        return TimedStream(inner, self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


def left(deadline: float, timeout: float | None, error: type[Exception] = httpcore2.ConnectTimeout) -> float:
    """Seconds that may be waited: `timeout`, and never beyond the deadline."""
    rest = deadline - time.monotonic()
    if rest <= 0:
        raise error("the time is over")
    return rest if timeout is None else min(timeout, rest)

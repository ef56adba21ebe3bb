"""The guarded client: what may not be called gets no connection, and nobody can hold it up."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from soconnective.webhooks import client
from soconnective.webhooks.addresses import Allowed, Blocked, allowed_of
from soconnective.webhooks.client import LONGEST_ANSWER, Caps, NoAnswer, post
from tests.webhooks.test_addresses import spellings

NOBODY = Allowed()
QUICK = Caps(connect=0.5, read=0.4, total=1.0)


def hello(connection: Any) -> None:
    heard = b""
    while not heard.endswith(b"{}") and (part := connection.recv(65536)):
        heard += part
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_a_hook_to_loopback_is_refused_and_nothing_connects(listener: Any) -> None:
    port, came = listener(hello)
    for host in ["localhost", "[::1]", *spellings("127.0.0.1")]:
        with pytest.raises(Blocked):
            post(f"http://{host}:{port}/", b"{}", {}, NOBODY, QUICK)
    assert came == []


def test_the_canary_would_hear_it(listener: Any) -> None:
    """Control: allowed by the operator, the same call connects."""
    port, came = listener(hello)
    assert post(f"http://127.0.0.1:{port}/", b"{}", {}, allowed_of(f"127.0.0.1:{port}"), QUICK).status == 200
    assert len(came) == 1


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], [], ["::1"]])  # fmt: skip
def test_a_name_that_leads_inside_is_refused(answers: list[str], monkeypatch: Any) -> None:
    connected: list[Any] = []
    monkeypatch.setattr(
        "httpcore2._backends.sync.socket.create_connection", lambda *args, **_more: connected.append(args)
    )
    with pytest.raises(Blocked):
        post("http://hooks.example.com/", b"{}", {}, NOBODY, QUICK, lambda _host, _port: answers)
    assert connected == []


def test_a_name_that_is_rebound_is_asked_once_and_the_checked_address_is_used(monkeypatch: Any) -> None:
    answers, connected = [["1.1.1.1"], ["127.0.0.1"], ["127.0.0.1"]], []

    def _connect(address: Any, *_args: Any, **_more: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("httpcore2._backends.sync.socket.create_connection", _connect)
    with pytest.raises(NoAnswer, match="no connection"):
        post("http://hooks.example.com/", b"{}", {}, NOBODY, QUICK, lambda _host, _port: answers.pop(0))
    assert connected == [("1.1.1.1", 80)] and len(answers) == 2


def test_the_name_stays_in_the_host_header_while_the_address_is_called(other: Any) -> None:
    allowed = allowed_of(f"hooks.example.com:{other.port}")
    answer = post(f"http://hooks.example.com:{other.port}/a?b=c", b'{"x": 1}', {"X-Own": "y"}, allowed, QUICK,
                  lambda _host, _port: ["127.0.0.1"])  # fmt: skip
    path, headers, body = other.got[0]
    assert (answer.status, answer.body, path, body) == (200, b"ok", "/a?b=c", b'{"x": 1}')
    assert headers["host"] == f"hooks.example.com:{other.port}" and headers["x-own"] == "y"


def test_a_redirect_is_an_answer_and_is_not_followed(other: Any, listener: Any) -> None:
    port, came = listener(hello)
    other.answers = [(302, {"Location": f"http://127.0.0.1:{port}/"}, b"")]
    assert post(other.url, b"{}", {}, other.allowed, QUICK).status == 302
    assert came == []


def test_proxies_of_the_environment_are_not_asked(other: Any, listener: Any, monkeypatch: Any) -> None:
    port, came = listener(hello)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    assert post(other.url, b"{}", {}, other.allowed, QUICK).status == 200
    assert came == []


def test_a_long_answer_is_read_to_64_kb(other: Any) -> None:
    other.answers = [(200, {}, b"x" * 3_000_000)]
    assert len(post(other.url, b"{}", {}, other.allowed, Caps()).body) == LONGEST_ANSWER


def drip(start: bytes) -> Any:
    def _drip(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(start)
        for _ in range(200):
            connection.sendall(b"x")
            time.sleep(0.05)

    return _drip


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"]
)
def test_one_byte_at_a_time_ends_at_the_cap(listener: Any, start: bytes) -> None:
    port, came = listener(drip(start))
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="in time"):
        post(f"http://127.0.0.1:{port}/", b"{}", {}, allowed_of(f"127.0.0.1:{port}"), QUICK)
    assert 0.8 < time.monotonic() - began < 4 and came


def test_silence_ends_at_the_read_cap(listener: Any) -> None:
    port, _came = listener(lambda _connection: time.sleep(6))
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="in time"):
        post(f"http://127.0.0.1:{port}/", b"{}", {}, allowed_of(f"127.0.0.1:{port}"), QUICK)
    assert time.monotonic() - began < 4


def test_a_resolver_that_hangs_ends_at_the_connect_cap() -> None:
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="in time"):
        post("http://hooks.example.com/", b"{}", {}, NOBODY, QUICK, lambda _h, _p: time.sleep(6) or [])  # type: ignore[func-returns-value]
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n", b"\x00" * 500, b"HTTP/1.1 999999 x\r\n\r\n"])
def test_what_is_not_http_is_told_in_words(listener: Any, said: bytes) -> None:
    port, _came = listener(lambda connection: (connection.recv(65536), connection.sendall(said)))
    with pytest.raises(NoAnswer, match="could not be reached"):
        post(f"http://127.0.0.1:{port}/", b"{}", {}, allowed_of(f"127.0.0.1:{port}"), QUICK)


def test_tls_asks_for_the_name_not_the_address(listener: Any) -> None:
    hellos: list[bytes] = []
    port, _came = listener(lambda connection: hellos.append(connection.recv(65536)))
    allowed = allowed_of(f"hooks.example.com:{port}")
    with pytest.raises(NoAnswer):
        post(f"https://hooks.example.com:{port}/", b"{}", {}, allowed, QUICK, lambda _h, _p: ["127.0.0.1"])
    assert b"hooks.example.com" in hellos[0]


def certificate(folder: Path, name: str) -> ssl.SSLContext:
    """A server's side of TLS with a certificate for `name` that nobody but `folder`/ca.pem vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize(
    ("name", "is_trusted", "is_called"),
    [
        ("hooks.example.com", True, True),
        ("hooks.example.com", False, False),
        ("other.example.com", True, False),
    ],
)
def test_tls_checks_who_answers(
    listener: Any, tmp_path: Path, monkeypatch: Any, name: str, is_trusted: bool, is_called: bool
) -> None:
    context = certificate(tmp_path, name)

    def _serve(connection: Any) -> None:
        with context.wrap_socket(connection, server_side=True) as safe:
            heard = b""
            while not heard.endswith(b"{}"):
                heard += safe.recv(65536)
            safe.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    if is_trusted:
        trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        monkeypatch.setattr(client.httpx2, "create_ssl_context", lambda **_more: trusting)
    port, _came = listener(_serve)
    url, allowed = f"https://hooks.example.com:{port}/", allowed_of(f"hooks.example.com:{port}")
    if is_called:
        assert post(url, b"{}", {}, allowed, Caps(), lambda _h, _p: ["127.0.0.1"]).status == 200
    else:
        with pytest.raises(NoAnswer, match="could not be reached"):
            post(url, b"{}", {}, allowed, Caps(), lambda _h, _p: ["127.0.0.1"])


def test_the_back_end_is_asked_or_this_fails(monkeypatch: Any) -> None:
    """Control: with httpx2's own back end the name itself would be connected to, unjudged."""
    connected: list[Any] = []

    def _connect(address: Any, *_args: Any, **_more: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("httpcore2._backends.sync.socket.create_connection", _connect)
    monkeypatch.setattr(client, "_transport", lambda _backend: httpx2.HTTPTransport(trust_env=False))
    with pytest.raises(NoAnswer):
        post("http://hooks.example.com/", b"{}", {}, NOBODY, QUICK, lambda _h, _p: ["127.0.0.1"])
    assert connected == [("hooks.example.com", 80)]

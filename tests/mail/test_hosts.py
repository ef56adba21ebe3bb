"""Where mail may go: not into the operator's network unless they say so, and never in clear over a wire."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from soconnective.core.errors import Refused
from soconnective.jobs import GiveUp
from soconnective.mail.hosts import INSIDE, NEEDS_TLS, check_account, clean_host, vetted_address
from soconnective.mail.message import build_message
from soconnective.mail.transport import Server, deliver
from tests.mail.test_message import mail

WITHIN = ["127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
          "192.0.0.8", "198.18.0.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1", "::1", "::",
          "fe80::1", "fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
          "2002:7f00:1::", "2001:0:1:2:3:4:80ff:fffe", "::127.0.0.1", "2001:db8::1"]  # fmt: skip


@pytest.mark.parametrize("host", [*WITHIN, "localhost", "mail.localhost"])
def test_what_stands_inside_is_refused(host: str) -> None:
    with pytest.raises(Refused, match="stands inside"):
        check_account(clean_host(host), 587, "starttls", False)
    check_account(clean_host(host), 4711, "starttls", True)


@pytest.mark.parametrize("address", WITHIN)
def test_a_name_that_leads_inside_is_refused_too(address: str, monkeypatch: Any) -> None:
    """Also if only one of its addresses does, and also when it comes to sending."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = [(socket.AF_INET, 1, 6, "", ("9.9.9.9", 587)), (family, 1, 6, "", (address, 587))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: found)
    monkeypatch.setattr(socket, "create_connection", lambda *_a, **_k: pytest.fail("it connected"))
    with pytest.raises(Refused) as refused:
        vetted_address("smtp.x.example", 587, "starttls", False)
    assert refused.value.message == INSIDE
    server = Server("smtp.x.example", 587, "starttls", None, None)
    with pytest.raises(GiveUp, match="stands inside"):
        deliver(server, build_message(mail()), "a@x.example", "b@x.example")


def test_the_vetted_address_is_the_one_that_is_called(monkeypatch: Any) -> None:
    """A name that changes in between leads nowhere else."""
    answers = [[(2, 1, 6, "", ("9.9.9.9", 587))], [(2, 1, 6, "", ("127.0.0.1", 587))]]
    called = []

    def connect(place: Any, *_more: Any) -> Any:
        called.append(place)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: answers.pop(0))
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(Exception, match="cannot be reached"):
        deliver(
            Server("smtp.x.example", 587, "tls", None, None),
            build_message(mail()),
            "a@x.example",
            "b@x.example",
        )
    assert called == [("9.9.9.9", 587)] and len(answers) == 1


@pytest.mark.parametrize("host", ["smtp.x.example", "10.0.0.1", "localhost.x.example"])
def test_in_clear_only_to_this_machine(host: str) -> None:
    with pytest.raises(Refused) as refused:
        check_account(host, 25, "none", True)
    assert (refused.value.message, refused.value.field) == (NEEDS_TLS, "security")


@pytest.mark.parametrize("port", [1, 22, 80, 443, 5432, 6379, 65535])
def test_other_ports_are_refused(port: int) -> None:
    with pytest.raises(Refused) as refused:
        check_account("smtp.x.example", port, "tls", False)
    assert refused.value.field == "port"


@pytest.mark.parametrize(
    "host", ["", " ", "a b", "a/b", "http://x.example", "x.example:25", "user@x", "1.2.3", "0x7f.1", "2130706433",
             "-a.example", "a..b", "a\x00b", "a\r\nb", "x" * 300, "[::1", "１２７.0.0.1"],
)  # fmt: skip
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(Refused) as refused:
        clean_host(host)
    assert refused.value.field == "host"


@pytest.mark.parametrize(("host", "clean"), [("SMTP.X.example.", "smtp.x.example"), ("[::1]", "::1"), ("bücher.example", "xn--bcher-kva.example")])  # fmt: skip
def test_a_host_in_its_plain_form(host: str, clean: str) -> None:
    assert clean_host(host) == clean

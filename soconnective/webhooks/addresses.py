"""Which addresses a webhook may call: judged by our own table, over every address that a name leads to.

Pure: nothing here resolves or connects. `target_of` reads a URL as people write it and refuses what can
never be meant; `why_not` judges an address that a name was resolved to. `is_private` of the standard library is
not enough: it lets NAT64, 6to4 and Teredo forms of an inside address through, and changed over the years
(CVE-2024-4032). The ranges: https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

import idna

Address = IPv4Address | IPv6Address
PORTS = {"http": 80, "https": 443}
LONGEST = 2000

_DENIED_4 = [
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a provider's inner network"),
        ("127.0.0.0/8", "this machine"),
        ("168.63.129.16/32", "a cloud's own service"),
        ("169.254.0.0/16", "the local link, where clouds keep their secrets"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "an address for examples"),
        ("192.88.99.0/24", "a reserved address"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "a test network"),
        ("198.51.100.0/24", "an address for examples"),
        ("203.0.113.0/24", "an address for examples"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
]
_GLOBAL_6 = IPv6Network("2000::/3")  # all that is given out; the rest is inside, local or reserved
_DENIED_6 = [
    (IPv6Network(network), why)
    for network, why in (
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "an address for examples"),
        ("3fff::/20", "an address for examples"),
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
_TEREDO = IPv6Network("2001::/32")
_6TO4 = IPv6Network("2002::/16")
_INSIDE_NAMES = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "home.arpa",
    "localdomain",
)


class Blocked(Exception):
    """This address may not be called; the message says why, to people."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be asked for, as far as its text tells. `host` is ASCII and lower case, without brackets."""

    scheme: str
    host: str
    port: int
    url: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator allows beside the world: hosts with their port, and networks on ports 80 and 443."""

    hosts: frozenset[tuple[str, int]] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def names(self, host: str, port: int) -> bool:
        return (host, port) in self.hosts

    def holds(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def allowed_of(text: str) -> Allowed:
    """The allow-list as the setting writes it: `n8n.lan:5678, 10.0.0.0/8`. Raises `ValueError` in words."""
    hosts, networks = set(), []
    for entry in re.split(r"[\s,]+", text.strip()):
        if not entry:
            continue
        if "/" in entry:
            networks.append(ip_network(entry))
            continue
        host, _, port = entry.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{entry!r} is neither host:port nor a network like 10.0.0.0/8")
        hosts.add((host.strip("[]").lower(), int(port)))
    return Allowed(frozenset(hosts), tuple(networks))


def target_of(url: str, allowed: Allowed) -> Target:
    """What `url` asks for; raises `Blocked` in words for what can never be called."""
    parts, port = _split(url)
    scheme = parts.scheme.lower()
    if scheme not in PORTS:
        raise Blocked("Webhooks go to addresses that begin with https:// or http://.")
    if "@" in parts.netloc:
        raise Blocked("An address may not hold a name or password before an @.")
    if parts.fragment:
        raise Blocked("An address with a # in it cannot be called.")
    if parts.netloc.startswith("[") and ":" not in (parts.hostname or ""):
        raise Blocked("This is no IPv6 address.")
    host = _host(parts.hostname or "")
    port = PORTS[scheme] if port is None else port
    target = Target(scheme, host, port, _written(scheme, host, port, parts.path, parts.query))
    if allowed.names(host, port):
        return target
    if port not in PORTS.values():
        raise Blocked(f"Only the ports 80 and 443 may be called, not {port}.")
    if (address := literal(host)) is not None:
        require_allowed(address, allowed)
    elif "." not in host or host.endswith(tuple(f".{name}" for name in _INSIDE_NAMES)):
        raise Blocked(f"{host} is a name of an inside network. Whoever hosts this can allow it.")
    return target


def _split(url: str) -> tuple[SplitResult, int | None]:
    if len(url) > LONGEST:
        raise Blocked(f"An address has at most {LONGEST:,} characters.")
    if not url.isprintable() or any(char.isspace() for char in url) or "\\" in url:
        raise Blocked("An address has no spaces, backslashes or control characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Blocked("This is no address. Write it like https://example.com/hook.") from None
    return parts, port


def require_allowed(address: Address, allowed: Allowed) -> None:
    """Raise `Blocked` unless `address` may be connected to."""
    why = why_not(address)
    if why is not None and not allowed.holds(address):
        raise Blocked(f"{address} is {why}. Webhooks go to public addresses only.")


def why_not(address: Address) -> str | None:
    """Why `address` is not one of the public internet's, or None if it is. Whatever it wraps is judged too."""
    if isinstance(address, IPv4Address):
        return next((why for network, why in _DENIED_4 if address in network), None)
    if address.scope_id is not None:
        return "an address of one network card"
    wrapped = _wrapped(address)
    if wrapped:
        return next((why for inner in wrapped if (why := why_not(inner)) is not None), None)
    if address not in _GLOBAL_6:
        return "an inside, local or reserved address"
    return next((why for network, why in _DENIED_6 if address in network), None)


def _wrapped(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to, by one of the ways to carry the old in the new."""
    number = int(address)
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [_four(number)]
    if address in _6TO4:
        return [_four(number >> 80)]
    if address in _TEREDO:
        return [_four(number >> 64), _four(~number)]
    is_isatap = address in _GLOBAL_6 and (number >> 32) & 0xFDFFFFFF == 0x5EFE
    return [_four(number)] if is_isatap else []


def _four(number: int) -> IPv4Address:
    return IPv4Address(number & 0xFFFFFFFF)


def literal(host: str) -> Address | None:
    """The address that `host` is, if it is written as one."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def judge(host: str, port: int, found: Sequence[str], allowed: Allowed) -> list[Address]:
    """The addresses to connect to, of all that `host` was resolved to; raises `Blocked` if a single one is not allowed."""
    if not found:
        raise Blocked(f"{host} leads nowhere.")
    addresses = [ip_address(text) for text in dict.fromkeys(found)]
    if allowed.names(host, port):
        return addresses
    if port not in PORTS.values():
        raise Blocked(f"Only the ports 80 and 443 may be called, not {port}.")
    for address in addresses:
        require_allowed(address, allowed)
    return addresses


def _host(typed: str) -> str:
    """The host in one spelling: ASCII, lower case. Odd spellings of numbers are refused, not understood."""
    if not typed:
        raise Blocked("This is no address. Write it like https://example.com/hook.")
    if ":" in typed:  # IPv6, without its brackets
        found = literal(typed)
        if found is None:
            raise Blocked("This is no IPv6 address.")
        return str(found)
    try:
        host = idna.encode(typed.rstrip("."), uts46=True, transitional=False).decode().lower()
    except (idna.IDNAError, UnicodeError):
        host = ""
    if not host and re.fullmatch(r"[\w.-]{1,253}", typed, re.ASCII):  # underscores, which some names have
        host = typed.rstrip(".").lower()
    if not re.fullmatch(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", host):
        raise Blocked("The name of the host is not one that the internet knows.")
    last = host.rpartition(".")[2]
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last) and literal(host) is None:
        raise Blocked("Write a number address in the usual way, like 198.51.100.7.")
    return host


def _written(scheme: str, host: str, port: int, path: str, query: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    place = shown if port == PORTS[scheme] else f"{shown}:{port}"
    return f"{scheme}://{place}{path or '/'}{f'?{query}' if query else ''}"

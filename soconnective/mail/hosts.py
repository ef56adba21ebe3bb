"""Where mail may be handed over: the server's addresses are found once and vetted, then connected to as they are.

Whoever edits a workspace is not whoever runs the machine: without the operator's word
(SOCONNECTIVE_MAIL_INSIDE) no account leads to this machine or its network, nor to a port that is not one of mail.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from soconnective.core.errors import Refused

PORTS = (25, 465, 587, 2525)
INSIDE = (
    "This server stands inside the network that SoConnective runs in. Whoever runs SoConnective can allow it "
    "(SOCONNECTIVE_MAIL_INSIDE=1)."
)
NEEDS_TLS = (
    "Without encryption mail may only go to a server on this machine (localhost). Choose STARTTLS or TLS."
)
_NAME = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ALSO_INSIDE = tuple(  # what older tables of `ipaddress` take for public
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "64:ff9b:1::/48", "::/96", "5f00::/16", "3fff::/20"
    )
)  # fmt: skip
Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def clean_host(value: str) -> str:
    """A host name or IP address in its plain form; raises `Refused` for the field."""
    text = value.strip().rstrip(".").casefold()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if (found := _ip(bare)) is not None:
        return str(found)
    try:
        name = text.encode("idna").decode()
    except UnicodeError:
        name = ""
    if not _NAME.fullmatch(name) or re.fullmatch(r"[0-9.]+|0x[0-9a-f.x]+", name):
        raise Refused("Write the server's name, like smtp.example.com.", "host")
    return name


def check_account(host: str, port: int, security: str, is_inside_allowed: bool) -> None:
    """What can be said of a server by its name alone; raises `Refused` beside the field."""
    found = _ip(host)
    is_here = is_loopback(found) if found is not None else host == "localhost" or host.endswith(".localhost")
    if not is_inside_allowed and (is_here or (found is not None and not is_outside(found))):
        raise Refused(INSIDE, "host")
    if security == "none" and not is_here:
        raise Refused(NEEDS_TLS, "security")
    if not is_inside_allowed and port not in PORTS:
        raise Refused(f"Mail servers listen on {', '.join(map(str, PORTS[:-1]))} or {PORTS[-1]}.", "port")


def vetted_address(host: str, port: int, security: str, is_inside_allowed: bool) -> str:
    """One address of `host` to connect to; raises `Refused` if any of them is where mail may not go.

    Raises `OSError` when the name leads nowhere.
    """
    check_account(host, port, security, is_inside_allowed)
    found = [
        ipaddress.ip_address(str(place[4][0]).partition("%")[0])
        for place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ]
    if not is_inside_allowed and not all(is_outside(address) for address in found):
        raise Refused(INSIDE, "host")
    if security == "none" and not all(is_loopback(address) for address in found):
        raise Refused(NEEDS_TLS, "security")
    return str(found[0])


def is_outside(address: Ip) -> bool:
    """Whether `address`, and what it carries inside, belongs to the public internet."""
    return all(_is_public(one) for one in _layers(address))


def _is_public(address: Ip) -> bool:
    if any(address in network for network in _ALSO_INSIDE):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_loopback(address: Ip) -> bool:
    return _layers(address)[-1].is_loopback


def _layers(address: Ip) -> list[Ip]:
    """The address and the IPv4 address it stands for, if any."""
    if not isinstance(address, ipaddress.IPv6Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.sixtofour is not None:
        return [address, address.sixtofour]
    if address.teredo is not None:
        return [address, *address.teredo]
    return [address]


def _ip(text: str) -> Ip | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None

"""Which addresses may be called: every spelling of an inside one is refused. Nothing here connects anywhere."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from soconnective.webhooks.addresses import Allowed, Blocked, allowed_of, judge, target_of, why_not

NOBODY = Allowed()
INSIDE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255",
]  # fmt: skip
OUTSIDE = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "172.15.255.255",
    "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
]  # fmt: skip
INSIDE_6 = [
    "::", "::1", "::7f00:1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "fc00::1", "fd00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "100::1",
    "64:ff9b:1::1", "2001::1", "2001:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1", "8000::1",
]  # fmt: skip
OUTSIDE_6 = [
    "2606:4700:4700::1111",
    "2a00:1450:4001:800::200e",
    "2001:4860:4860::8888",
    "2003::1",
    "2620:fe::fe",
]


def wrapped(four: str) -> dict[str, str]:
    """The IPv6 forms that lead to an IPv4 address, by the name of the trick."""
    number = int(IPv4Address(four))
    high, low = number >> 16, number & 0xFFFF
    flipped = number ^ 0xFFFFFFFF
    return {
        "mapped": f"::ffff:{four}",
        "NAT64": f"64:ff9b::{high:x}:{low:x}",
        "6to4": f"2002:{high:x}:{low:x}::1",
        "Teredo client": f"2001:0:808:808:0:0:{flipped >> 16:x}:{flipped & 0xFFFF:x}",
        "Teredo server": f"2001:0:{high:x}:{low:x}:0:0:{0xF7F7:x}:{0xF7F7:x}",
        "ISATAP": f"2a00:1450::5efe:{high:x}:{low:x}",
        "ISATAP, global": f"2a00:1450::200:5efe:{high:x}:{low:x}",
    }


def spellings(four: str) -> list[str]:
    """An IPv4 address as hosts of a URL: the ways that some resolver, library or browser reads."""
    number = int(IPv4Address(four))
    a, b, c, d = four.split(".")
    full = four.translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    return [
        four, f"{four}.", str(number), f"0x{number:x}", f"0x{number:X}", f"0{number:o}", f"{a}.{int(b) * 65536 + int(c) * 256 + int(d)}",
        f"{a}.{b}.{int(c) * 256 + int(d)}", ".".join(f"0x{int(part):x}" for part in (a, b, c, d)), ".".join(f"0{int(part):o}" for part in (a, b, c, d)),
        f"0{int(a):o}.{b}.{c}.{d}", full, four.replace(".", "。"), four.replace(".", "．"), f"[::ffff:{four}]", f"[{wrapped(four)['NAT64']}]",
        f"[{wrapped(four)['6to4']}]", f"{four}.0x0", f"{a}.{b}.{c}.0x{int(d):x}", f"0{four}",
    ]  # fmt: skip


ADDRESSES = [*INSIDE, *INSIDE_6, *(form for four in INSIDE for form in wrapped(four).values())]
HOSTS = [host for four in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "198.18.0.9") for host in spellings(four)]  # fmt: skip
NAMES = [
    "localhost", "LOCALHOST", "localhost.", "a.localhost", "ⓛocalhost", "printer.local", "metadata.google.internal", "metadata", "db", "router.lan",
    "nas.home", "box.home.arpa", "wiki.corp", "x.intranet", "x.localdomain", "[::1]", "[::]", "[fe80::1%25eth0]", "[fd00::1]", "%31%32%37.0.0.1", "a b.com",
    "exa\tmple.com", "-", ".", "..", "a..b", "1.2.3.4.5", "0x7f", "127.1", "127.0.1", "999.1.1.1", "256.256.256.256", "٣.example.٣",
]  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len(set(ADDRESSES)) > 200 and len({*HOSTS, *NAMES}) > 150


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_inside_address_is_refused(text: str) -> None:
    assert why_not(ip_address(text)) is not None
    with pytest.raises(Blocked):
        judge("example.com", 443, ["1.1.1.1", text], NOBODY)


@pytest.mark.parametrize("host", [*HOSTS, *NAMES])
def test_an_inside_host_is_refused_however_it_is_written(host: str) -> None:
    for url in (f"http://{host}/", f"https://{host}/x?y=1"):
        with pytest.raises(Blocked):
            target_of(url, NOBODY)


@pytest.mark.parametrize("text", [*OUTSIDE, *OUTSIDE_6])
def test_the_worlds_addresses_are_allowed(text: str) -> None:
    address = ip_address(text)
    assert why_not(address) is None
    host = f"[{text}]" if isinstance(address, IPv6Address) else text
    assert target_of(f"https://{host}/", NOBODY).host == str(address)
    if isinstance(address, IPv4Address):
        assert {name: why_not(ip_address(form)) for name, form in wrapped(text).items()} == dict.fromkeys(
            wrapped(text)
        )


def test_every_network_card_of_the_table_ends_where_it_says() -> None:
    """Control: the neighbours of each range are outside."""
    for four, is_inside in (("9.255.255.255", 0), ("10.0.0.0", 1), ("100.63.255.255", 0), ("100.64.0.0", 1),
                            ("172.31.255.255", 1), ("172.32.0.0", 0), ("223.255.255.255", 0), ("224.0.0.0", 1)):  # fmt: skip
        assert bool(why_not(ip_address(four))) == bool(is_inside), four


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/", "https://"), ("javascript:alert(1)", "https://"), ("example.com/hook", "https://"), ("", "https://"),
        ("file:///etc/passwd", "https://"), ("gopher://example.com/", "https://"), ("https://", "Write it like"), ("https:///x", "Write it like"),
        ("https://user:pw@example.com/", "@"), ("https://example.com@127.0.0.1/", "@"), ("https://@example.com/", "@"),
        ("https://example.com:8443/", "ports"), ("https://example.com:22/", "ports"), ("https://example.com:0/", "ports"),
        ("https://example.com:99999/", "no address"), ("https://example.com:x/", "no address"), ("https://[::1/", "no address"),
        ("https://example.com/#x", "#"), ("https://example.com\\@127.0.0.1/", "backslashes"), ("https://exa mple.com/", "spaces"),
        ("https://example.com/\r\nHost: x", "spaces"), ("https://example.com/\x00", "spaces"), ("https://" + "a" * 3000, "characters"),
        ("https://" + "a" * 64 + ".com/", "internet"), ("https://[v1.a]/", ""),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_words(url: str, said: str) -> None:
    with pytest.raises(Blocked, match=None) as refused:
        target_of(url, NOBODY)
    assert said in str(refused.value) and str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("url", "host", "written"),
    [
        ("https://example.com", "example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/a?b=c", "example.com", "https://example.com/a?b=c"),
        ("http://example.com:80/", "example.com", "http://example.com/"),
        ("http://example.com:443/", "example.com", "http://example.com:443/"),
        ("https://bücher.example/ü", "xn--bcher-kva.example", "https://xn--bcher-kva.example/ü"),
        ("https://hooks_a.example.com/x", "hooks_a.example.com", "https://hooks_a.example.com/x"),
        ("https://example.com./x", "example.com", "https://example.com/x"),
        ("https://8.8.8.8/", "8.8.8.8", "https://8.8.8.8/"),
    ],
)
def test_what_may_be_called_is_written_in_one_way(url: str, host: str, written: str) -> None:
    target = target_of(url, NOBODY)
    assert (target.host, target.url) == (host, written)


def test_the_operator_allows_hosts_and_networks() -> None:
    allowed = allowed_of("127.0.0.1:8081, n8n.lan:5678 10.1.0.0/16,[::1]:9000")
    assert target_of("http://127.0.0.1:8081/x", allowed).port == 8081
    assert target_of("http://N8N.lan:5678/x", allowed).host == "n8n.lan"
    assert target_of("http://[::1]:9000/x", allowed).url == "http://[::1]:9000/x"
    assert target_of("http://10.1.2.3/", allowed).host == "10.1.2.3"
    assert judge("n8n.lan", 5678, ["192.168.1.4"], allowed) == [ip_address("192.168.1.4")]
    assert judge("inside.example.com", 443, ["10.1.2.3"], allowed) == [ip_address("10.1.2.3")]
    for url in ("http://127.0.0.1:8082/", "http://127.0.0.1/", "http://n8n.lan/", "http://10.2.0.1/", "http://10.1.2.3:8080/"):  # fmt: skip
        with pytest.raises(Blocked):
            target_of(url, allowed)
    for host, port, found in (("n8n.lan", 5679, "1.1.1.1"), ("other.lan", 443, "192.168.1.4"), ("x.com", 443, "10.2.0.1")):  # fmt: skip
        with pytest.raises(Blocked):
            judge(host, port, [found], allowed)
    with pytest.raises(Blocked):
        judge("example.com", 443, [], allowed)


@pytest.mark.parametrize("text", ["localhost", "x:0", "x:99999", "x:y", ":80", "10.0.0.0/99", "10.0.0.1/8"])
def test_an_allow_list_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|network|host bits"):
        allowed_of(text)
    assert allowed_of("") == NOBODY

"""The message itself: whatever names, subjects and texts hold, the headers are those that were meant."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from soconnective.mail import message as module
from soconnective.mail.html import html_of, paragraphs_of, pieces_of
from soconnective.mail.message import Mail, body_text, build_message, header_text, message_id_of

HEADERS = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress",
           "X-SoConnective-Cause", "MIME-Version", "Content-Type"}  # fmt: skip
EVIL = [
    chr(code)
    for code in [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x0B, 0x0C, 0xFEFF, 0x200B, 0x202E]
]
EVIL += ["\r\n", "\r\n\r\n", "\n ", "\r\n\t", "\ud800", "=?utf-8?q?=0D=0ABcc:_x=40evil.example?=", "=?utf-8?b?DQpCY2M6IHg=?=",
         '"', "<", ">", ",", ";", ":", "\\", "(", ")", "@", '" <evil@x.example>, "', "x" * 2000, "é" * 300, "\N{PILE OF POO}" * 80]  # fmt: skip
HIDDEN = "Bcc: evil@x.example"


def mail(**values: Any) -> Mail:
    known = {"from_address": "crm@acme.example", "from_name": "Acme", "to_address": "ana@x.example", "to_name": "Ana",
             "subject": "Hi", "text": "Text", "html": "<p>Text</p>", "message_id": "<1@acme.example>",
             "at": datetime(2026, 3, 1, 12, tzinfo=UTC), "workspace_id": 1, "root_id": 7, "depth": 2}  # fmt: skip
    return Mail(**{**known, **values})


def wrong(mail: Mail) -> list[str]:
    """What is not as it should be once the message has been written out and read again."""
    raw = build_message(mail).as_bytes()
    got = message_from_bytes(raw, policy=SMTP)
    assert isinstance(got, EmailMessage)
    found = (
        [] if set(got.keys()) == HEADERS and len(got.keys()) == len(HEADERS) else [f"headers: {got.keys()}"]
    )
    for name, address in (("From", mail.from_address), ("To", mail.to_address)):
        read = [one.addr_spec for one in got[name].addresses]
        found += [] if read == [address] else [f"{name}: {read}"]
    if got["Message-ID"] != mail.message_id or got["Auto-Submitted"] != "auto-generated":
        found.append("marks")
    head = raw.split(b"\r\n\r\n", 1)[0]
    if any(len(line) > 998 for line in head.split(b"\r\n")) or b"\n" in head.replace(b"\r\n", b""):
        found.append("lines")
    found += [
        f"{kind}: defects"
        for kind, value in got.items()
        if getattr(value, "defects", ()) and kind != "Subject"
    ]
    return found


SOURCES = ("subject", "from_name", "to_name", "text", "html")


@pytest.mark.parametrize("source", SOURCES)
def test_every_evil_character_in_every_source(source: str) -> None:
    for evil in EVIL:
        for value in (evil, f"a{evil}{HIDDEN}", f"{evil}{HIDDEN}{evil}", f"{HIDDEN}{evil}"):
            assert wrong(mail(**{source: value})) == [], (source, evil)


@settings(max_examples=300, deadline=None)
@given(
    *[st.text(max_size=120) | st.lists(st.sampled_from([*EVIL, "a", HIDDEN]), max_size=6).map("".join)] * 4
)
def test_any_text_in_any_source(subject: str, from_name: str, to_name: str, text: str) -> None:
    assert wrong(mail(subject=subject, from_name=from_name, to_name=to_name, text=text)) == []


def test_a_header_that_is_not_cleaned_is_found(monkeypatch: Any) -> None:
    """Control: names and subjects as they come."""
    monkeypatch.setattr(module, "header_text", lambda value, length=0: value)
    found = []
    for evil in ('" <evil@x.example>, "', "=?utf-8?q?=0D=0ABcc:_x=40evil.example?=", "\r\n"):
        try:
            found += wrong(mail(subject=f"a{evil}{HIDDEN}"))
        except (ValueError, IndexError) as refused:
            found.append(str(refused))
    assert found


def test_texts_arrive_as_they_were() -> None:
    text = "Grüße, 你好\n\n.\nFrom here\n" + "long " * 400
    got = message_from_bytes(build_message(mail(text=text, html="")).as_bytes(), policy=SMTP)
    assert isinstance(got, EmailMessage)
    assert got.get_content().replace("\r\n", "\n").strip() == text.strip() and not got.is_multipart()
    assert body_text("a\r\nb\rc\x00\x08\ud800d\te") == "a\nb\ncd\te"
    assert header_text("  a\u2028b\x00 c  ") == "a b c" and header_text("x" * 400).endswith("…")


def test_the_message_id_is_stable_and_tells_nothing() -> None:
    one = message_id_of("mail-key", 1, "acme.example")
    assert one == message_id_of("mail-key", 1, "acme.example") and "mail-key" not in one
    assert one != message_id_of("mail-key", 2, "acme.example") != message_id_of("other", 2, "acme.example")


@pytest.mark.parametrize(
    ("line", "pieces"),
    [("see https://x.example/a.", [("see ", ""), ("https://x.example/a", "https://x.example/a"), (".", "")]),
     ("(http://x.example)", [("(", ""), ("http://x.example", "http://x.example"), (")", "")]),
     ("javascript:alert(1) http:// ftp://x", [("javascript:alert(1) http:// ftp://x", "")]),
     ('https://x.example/"onclick="x', [("https://x.example/", "https://x.example/"), ('"onclick="x', "")]),
     ("", [])],
)  # fmt: skip
def test_links_are_found(line: str, pieces: list[tuple[str, str]]) -> None:
    assert pieces_of(line) == pieces


def test_html_is_made_of_paragraphs_and_escapes_the_rest(app: Flask) -> None:
    assert len(paragraphs_of("a\nb\n\n \n\nc\r\n\r\nd")) == 3
    with app.app_context():
        html = html_of("<script>alert(1)</script>\n{{ 7*7 }}\n\nhttps://x.example/?a=<b>'", "<i>", "& more")
    assert "<script>" not in html and "&lt;script&gt;alert(1)&lt;/script&gt;<br>" in html
    assert "{{ 7*7 }}" in html and "<title>&lt;i&gt;</title>" in html and "&amp; more" in html
    assert html.count("<p>") == 3 and "style" not in html and "<img" not in html

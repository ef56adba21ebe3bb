"""From plain texts to an `EmailMessage`. Pure: it asks no database and no clock.

Headers are set as plain `str` from which every control and line-separating character is gone, and in
which nothing looks like an encoded word: what a name or a subject holds can never become a header.
Marks that this is a machine's mail: RFC 3834 (https://www.rfc-editor.org/rfc/rfc3834) and what Exchange
understands, so that well-behaved answering machines keep quiet.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

SUBJECT_LENGTH = 300
NAME_LENGTH = 64  # fits on one line: when `email` folds a quoted name it loses the quotes
LOOP_HEADER = "X-SoConnective-Cause"
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp", "Co", "Cn"}
_NOT_IN_NAMES = re.compile(r'[<>"@,;:\\\[\]()=?]')


@dataclass(frozen=True, slots=True)
class Mail:
    """What is to be sent, as plain values."""

    from_address: str
    from_name: str
    to_address: str
    to_name: str
    subject: str
    text: str
    html: str
    message_id: str
    at: datetime
    workspace_id: int
    root_id: int | None = None
    depth: int = 0


def header_text(value: str, length: int = SUBJECT_LENGTH) -> str:
    """One line of text for a header: no control character, no separator, no beginning of an encoded word."""
    bare = "".join(" " if unicodedata.category(char) in _UNPRINTABLE else char for char in value)
    flat = " ".join(bare.replace("=?", "= ?").split())
    return flat if len(flat) <= length else f"{flat[: length - 1]}…"


def header_name(value: str) -> str:
    """The same for the name beside an address, without what has a meaning there."""
    return " ".join(_NOT_IN_NAMES.sub(" ", header_text(value, NAME_LENGTH)).split())


def body_text(value: str) -> str:
    """Text for a body: its line breaks alike, and no other control character."""
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in lines if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def message_id_of(key: str, workspace_id: int, domain: str) -> str:
    """The Message-ID of the mail with this key: the same at every try, and telling nothing of the key."""
    digest = hashlib.sha256(f"{workspace_id} {key}".encode()).hexdigest()[:40]
    return f"<{digest}@{domain}>"


def build_message(mail: Mail) -> EmailMessage:
    """The message with its marks; text, and HTML beside it if there is any."""
    message = EmailMessage(policy=SMTP)
    message["From"] = _address(mail.from_name, mail.from_address)
    message["To"] = _address(mail.to_name, mail.to_address)
    message["Subject"] = header_text(mail.subject)
    message["Date"] = format_datetime(mail.at)
    message["Message-ID"] = header_text(mail.message_id)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message[LOOP_HEADER] = f"workspace={mail.workspace_id}; root={mail.root_id or 0}; depth={mail.depth}"
    message.set_content(body_text(mail.text), charset="utf-8", cte="quoted-printable")
    if mail.html:
        message.add_alternative(body_text(mail.html), subtype="html", charset="utf-8", cte="quoted-printable")
    return message


def _address(name: str, address: str) -> str:
    return str(Address(header_name(name), addr_spec=address))

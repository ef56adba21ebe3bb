"""Asking for a mail: its row and its job, in the caller's transaction. Nothing is sent here."""

from __future__ import annotations

import secrets

from sqlalchemy import select

from soconnective.core import clock
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.tenancy import current_tenant_id
from soconnective.events import DomainEvent
from soconnective.jobs import Job, enqueue
from soconnective.jobs.queue import run_again
from soconnective.mail.account import get_account
from soconnective.mail.addresses import clean_address
from soconnective.mail.html import html_of
from soconnective.mail.limits import too_much
from soconnective.mail.message import SUBJECT_LENGTH, body_text, header_name, header_text, message_id_of
from soconnective.mail.models import MailMessage
from soconnective.mail.plain import text_of

KIND = "send_mail"
TEXT_LENGTH = 64_000
OWN_ADDRESS = "{} is the address that this workspace sends from: a mail to it could go round in circles."


def enqueue_mail(
    to: str,
    subject: str,
    text: str,
    *,
    html: str = "",
    to_name: str = "",
    footer: str = "",
    about: tuple[str, int] | None = None,
    addressee: tuple[str, int] | None = None,
    event: DomainEvent | None = None,
    automation_id: int | None = None,
    is_automatic: bool = True,
    key: str | None = None,
) -> MailMessage:
    """Ask for one mail to one address; the HTML is made from `text`, if it has none of its own.

    `html` is such a part of a page as `markup.cleaned` gives; without a text, that is made from it. `about` is the record that it tells of, `addressee` the record whose address it is. With a `key` that
    exists already, that mail is returned and nothing is added. An automatic mail beyond the limits is kept
    as `suppressed`, its `error` saying why. Raises `Refused` in words when there is no account, or no address
    that can be written to.
    """
    if key is not None and (found := _with_key(key)) is not None:
        return found
    account = get_account()
    address = clean_address(to)
    if is_automatic and address == account.from_address:
        raise Refused(OWN_ADDRESS.format(address))
    actor, now = current_actor(), clock.now()
    line, body = header_text(subject, SUBJECT_LENGTH), body_text(text or text_of(html))[:TEXT_LENGTH]
    message = MailMessage(
        to_address=address,
        to_name=header_name(to_name),
        subject=line,
        text=body,
        html=html_of(body, line, footer, html),
        is_automatic=is_automatic,
        key=key or f"mail-{secrets.token_hex(16)}",
        record_type=about[0] if about else None,
        record_id=about[1] if about else None,
        addressee_type=addressee[0] if addressee else None,
        addressee_id=addressee[1] if addressee else None,
        event_id=event.id if event else None,
        root_id=(event.root_id or event.id) if event else None,
        depth=event.depth + 1 if event else 0,
        automation_id=automation_id,
        created_by_kind=actor.kind,
        created_by_id=actor.id,
        created_by_name=actor.name,
        created_at=now,
    )
    domain = account.from_address.rpartition("@")[2]
    message.message_id = message_id_of(message.key, current_tenant_id(), domain)
    if is_automatic and (reason := too_much(account, address, now)) is not None:
        message.state, message.error = "suppressed", f"Held back: {reason}."
    db.session.add(message)
    db.session.flush()
    if message.state == "queued":
        enqueue(
            KIND,
            {"message_id": message.id, "to": address, "subject": line},
            key=message.key,
            about=about,
            event_id=message.event_id,
        )
    return message


def send_again(message: MailMessage) -> None:
    """One that was given up is tried again: the same mail, under its Message-ID. Raises `Refused`."""
    job = db.session.scalars(select(Job).where(Job.key == message.key).with_for_update()).first()
    if message.state != "failed" or job is None:
        raise Refused("Only a mail that was given up lately can be sent again.")
    run_again(job)
    message.state, message.error = "queued", ""


def _with_key(key: str) -> MailMessage | None:
    return db.session.scalars(select(MailMessage).where(MailMessage.key == key)).first()

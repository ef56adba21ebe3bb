"""Notifications that people want by mail leave through the workspace's account."""

from __future__ import annotations

import logging

from soconnective.core.errors import Refused
from soconnective.mail.account import find_account
from soconnective.mail.outbox import enqueue_mail
from soconnective.mail.readiness import mail_trouble
from soconnective.notifications import mail_with

log = logging.getLogger(__name__)


def send_notice(person_id: int, address: str, subject: str, text: str, key: str) -> None:
    """In the caller's transaction. An address that cannot be written to takes nothing along: the bell has it."""
    try:
        enqueue_mail(address, subject, text, key=key)
    except Refused as refused:
        log.warning("a notice to person %s was not sent by mail: %s", person_id, refused.message)


def can_send() -> bool:
    """Whether the current workspace has an account to send from."""
    return find_account() is not None


mail_with(send_notice, can_send, mail_trouble)

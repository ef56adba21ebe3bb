"""How much may leave by itself: so many mails to one address, so many from one workspace.

Counted twice. When a rule asks, in its transaction, so that its run can say that the mail is held back; and when
the worker takes it out, with the account's row locked, so that saves that ask at the same moment cannot slip through
together.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import func, or_, select

from soconnective.core.db import db
from soconnective.mail.models import MailAccount, MailMessage

SHORT, DAY, HOUR = timedelta(hours=2), timedelta(hours=24), timedelta(hours=1)


def too_much(account: MailAccount, address: str, now: datetime) -> str | None:
    """Why no further automatic mail may be asked for now, or None."""
    return _reason(account, address, now, MailMessage.created_at, MailMessage.state.in_(("queued", "sent")))


def too_much_left(account: MailAccount, message: MailMessage, now: datetime) -> str | None:
    """The same at the door: counts what others have tried to send, or sent, before this one."""
    has_gone = or_(MailMessage.state == "sent", MailMessage.state == "queued") & (
        MailMessage.id != message.id
    )
    return _reason(account, message.to_address, now, MailMessage.tried_at, has_gone)


def _reason(account: MailAccount, address: str, now: datetime, moment: Any, which: Any) -> str | None:
    config = current_app.config
    to_them = (which, MailMessage.is_automatic, MailMessage.to_address == address)
    for span, most, words in (
        (SHORT, config["SOCONNECTIVE_MAIL_PER_ADDRESS"], "2 hours"),
        (DAY, config["SOCONNECTIVE_MAIL_PER_ADDRESS_DAY"], "24 hours"),
    ):
        if _count(*to_them, moment > now - span) >= most:
            return f"{address} has been sent {most} automatic mails in the last {words}, the most allowed"
    if _count(which, moment > now - HOUR) >= account.hourly_cap:
        return f"this workspace has sent {account.hourly_cap} mails in the last hour, the most its account allows"
    return None


def _count(*conditions: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(MailMessage).where(*conditions)) or 0

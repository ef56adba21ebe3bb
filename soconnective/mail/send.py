"""The job that sends one mail, and what is written down of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from soconnective.automation.undelivered import Undelivered, tell_delivered, tell_undelivered
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.jobs import GiveUp, Job, OutsideJob, RetryLater
from soconnective.mail.account import NOT_SET_UP, lock_account, prove_account, server_of
from soconnective.mail.limits import too_much_left
from soconnective.mail.message import Mail, build_message
from soconnective.mail.models import MailAccount, MailMessage
from soconnective.mail.outbox import KIND
from soconnective.mail.transport import Server, deliver


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message with all that is needed to hand it over; no row is touched any more."""

    server: Server
    message: EmailMessage
    from_address: str
    to_address: str
    is_test: bool
    account_version: int


class SendMail(OutsideJob):
    """Hands a mail to the account's server. A worker that dies after that sends it again, under the same Message-ID."""

    kind, label = KIND, "Send an e-mail"

    def describe(self, payload: Mapping[str, Any]) -> str:
        return f"“{payload['subject']}” to {payload['to']}"

    def prepare(self, job: Job) -> Parcel | None:
        message = db.session.get(MailMessage, job.payload["message_id"])
        if message is None:
            raise GiveUp("The mail does not exist any more.")
        if message.state in ("sent", "suppressed"):
            return None
        account = lock_account()
        if account is None:
            raise GiveUp(NOT_SET_UP)
        now = clock.now()
        if message.is_automatic and (reason := too_much_left(account, message, now)) is not None:
            message.state, message.error = "suppressed", f"Held back: {reason}."
            _tell(message, is_told=False)
            return None
        message.state, message.error = "queued", ""
        message.attempts += 1
        message.tried_at = message.tried_at or now
        built = build_message(_mail(message, account))
        return Parcel(
            server_of(account),
            built,
            account.from_address,
            message.to_address,
            not message.is_automatic,
            account.version,
        )

    def send(self, prepared: Parcel | None, key: str) -> int | None:
        """The version of the account that sent it, or None if there was nothing to send."""
        if prepared is None:
            return None
        try:
            deliver(prepared.server, prepared.message, prepared.from_address, prepared.to_address)
        except RetryLater as error:
            if prepared.is_test:  # somebody waits for the answer
                raise GiveUp(str(error)) from None
            raise
        return prepared.account_version

    def record(self, job: Job, result: int | None) -> None:
        message = db.session.get(MailMessage, job.payload["message_id"])
        if message is not None and result is not None:
            message.state, message.error, message.sent_at = "sent", "", clock.now()
            prove_account(result)
            if message.automation_id is not None:
                tell_delivered(message.event_id, message.automation_id, "mail", message.id, _title(message))

    def gave_up(self, job: Job, reason: str) -> None:
        message = db.session.get(MailMessage, job.payload["message_id"])
        if message is not None and message.state == "queued":
            message.state, message.error = "failed", reason
            _tell(message)


def _tell(message: MailMessage, *, is_told: bool = True) -> None:
    """A rule's mail that nobody gets; one that is a notice itself tells of nothing."""
    if message.automation_id is not None:
        what = Undelivered(message.automation_id, "mail", message.id, _title(message), message.error)
        tell_undelivered(message.event_id, what, is_told=is_told)


def _title(message: MailMessage) -> str:
    return f"“{message.subject}” to {message.to_address}"


def _mail(message: MailMessage, account: MailAccount) -> Mail:
    return Mail(
        from_address=account.from_address,
        from_name=account.from_name or "",
        to_address=message.to_address,
        to_name=message.to_name,
        subject=message.subject,
        text=message.text,
        html=message.html,
        message_id=message.message_id,
        at=message.tried_at or clock.now(),
        workspace_id=message.tenant_id,
        root_id=message.root_id,
        depth=message.depth,
    )

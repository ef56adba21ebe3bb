"""Notifications by mail: asked for in the same transaction, and never in the way of the notification itself."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from soconnective.core.db import db, write_transaction
from soconnective.jobs import Job
from soconnective.mail.account import save_account
from soconnective.mail.models import MailMessage
from soconnective.notifications import notify
from soconnective.notifications.kinds import kinds
from soconnective.notifications.models import Notification
from soconnective.notifications.operations import choose


def account(from_address: str = "crm@acme.example") -> None:
    with write_transaction():
        save_account(None, host="smtp.acme.example", port=587, security="starttls", username="crm",
                     from_address=from_address, from_name="Acme", password="x")  # fmt: skip


def tell(person_id: int) -> None:
    with write_transaction():
        choose(person_id, {"message": (True, True)})
    with write_transaction():
        notify(person_id, "message", "Call Ana", "She asked twice.")


def test_who_wants_mail_gets_it_when_there_is_an_account(inside: Any) -> None:
    assert "message" in kinds()
    tell(inside.member.id)
    assert list(db.session.scalars(select(MailMessage))) == []
    account()
    tell(inside.member.id)
    (mail,) = db.session.scalars(select(MailMessage))
    assert (mail.to_address, mail.subject, mail.state) == (inside.member.email, "Call Ana", "queued")
    assert "She asked twice." in mail.text
    assert len(list(db.session.scalars(select(Job).where(Job.kind == "send_mail")))) == 1


def test_an_address_that_is_refused_takes_nothing_along(
    inside: Any, caplog: pytest.LogCaptureFixture
) -> None:
    account(inside.member.email)
    tell(inside.member.id)
    assert len(list(db.session.scalars(select(Notification)))) == 1
    assert list(db.session.scalars(select(MailMessage))) == [] and "not sent by mail" in caplog.text

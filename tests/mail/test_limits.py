"""Class 16: however often a rule fires, only so many mails leave; the rest is held back and told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from soconnective.automation.models import AutomationRun
from soconnective.contacts.models import Company
from soconnective.contacts.operations import create_company
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Worker
from soconnective.mail import enqueue_mail, limits, send
from soconnective.mail.account import get_account
from soconnective.mail.models import MailMessage
from tests.factories.records import make_contact, make_rule
from tests.mail.conftest import Post, mails, make_account, work

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MAIL = {"to": "contact", "subject": "Changed", "body": "Hello {{ rule.name }}."}


def counts() -> dict[str, int]:
    db.session.expire_all()
    rows = db.session.execute(select(MailMessage.state, func.count()).group_by(MailMessage.state)).all()
    return {row[0]: row[1] for row in rows}


def test_a_thousand_events_for_one_address_are_five_mails(
    inside: Any, account: Any, post: Post, worker: Worker
) -> None:
    make_rule("company.created", [("send_email", {**MAIL, "to": "address", "address": "Ana@x.example"})])
    for batch in range(0, 1_000, 100):
        with write_transaction():
            for number in range(batch, batch + 100):
                create_company(f"Firm {number}")
    assert counts() == {"queued": 5, "suppressed": 995}
    work(worker, inside, 3)
    assert len(post.letters) == 5 and counts() == {"sent": 5, "suppressed": 995}
    runs = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)).all()
    assert [run.outcome for run in runs] == ["succeeded"] * 1_000
    assert [run.detail for run in runs[4:6]] == [
        "e-mail to ana@x.example on its way", "e-mail to ana@x.example held back"
    ]  # fmt: skip
    said = "Held back: ana@x.example has been sent 5 automatic mails in the last 2 hours, the most allowed."
    assert runs[-1].trace["steps"][0]["remarks"] == [said] and mails()[-1].error == said
    assert db.session.scalar(select(func.count()).select_from(Company)) == 1_000


@pytest.mark.parametrize(("hours", "most"), [(2.1, 20), (0, 5), (4.9, 20)])
def test_five_in_two_hours_and_twenty_in_a_day(inside: Any, account: Any, hours: float, most: int) -> None:
    states = []
    for batch in range(4 if hours == 4.9 else 6):
        for _ in range(7):
            with clock.at(NOON + timedelta(hours=hours * batch)), write_transaction():
                states.append(enqueue_mail("ana@x.example", "s", "t").state)
    assert states.count("queued") == most


def test_the_workspace_has_a_cap(inside: Any, post: Post) -> None:
    make_account(post.port, hourly_cap=3)
    with clock.at(NOON), write_transaction():
        states = [enqueue_mail(f"p{n}@x.example", "s", "t").state for n in range(5)]
        assert states == ["queued"] * 3 + ["suppressed"] * 2
        assert enqueue_mail("me@x.example", "s", "t", is_automatic=False).state == "queued"
    assert "this workspace has sent 3 mails in the last hour" in mails()[3].error
    with clock.at(NOON + timedelta(hours=1, minutes=1)), write_transaction():
        assert enqueue_mail("p9@x.example", "s", "t").state == "queued"


def test_saves_at_the_same_moment_do_not_slip_through(
    inside: Any, account: Any, post: Post, worker: Worker, monkeypatch: Any
) -> None:
    """As if none of them had seen the others: the worker counts again, at the door."""
    monkeypatch.setattr("soconnective.mail.outbox.too_much", lambda *_a: None)
    with write_transaction():
        for _ in range(12):
            enqueue_mail("ana@x.example", "s", "t")
    work(worker, inside, 3)
    assert counts() == {"sent": 5, "suppressed": 7} and len(post.letters) == 5
    assert "the most allowed" in mails()[-1].error


def test_without_the_second_count_they_would(
    inside: Any, account: Any, post: Post, worker: Worker, monkeypatch: Any
) -> None:
    """Control."""
    monkeypatch.setattr("soconnective.mail.outbox.too_much", lambda *_a: None)
    monkeypatch.setattr(send, "too_much_left", lambda *_a: None)
    with write_transaction():
        for _ in range(12):
            enqueue_mail("ana@x.example", "s", "t")
    work(worker, inside, 3)
    assert len(post.letters) == 12


def test_other_workspaces_do_not_count(app: Any, inside: Any, rivals: Any, account: Any, post: Post) -> None:
    with acting_in(rivals.id):
        make_account(post.port)
        with write_transaction():
            for _ in range(5):
                enqueue_mail("ana@x.example", "s", "t")
    with write_transaction():
        assert enqueue_mail("ana@x.example", "s", "t").state == "queued"
    assert limits.too_much(get_account(), "ana@x.example", clock.now()) is None
    db.session.rollback()


def test_nobody_writes_to_the_address_that_mail_comes_from(inside: Any, account: Any) -> None:
    with pytest.raises(Refused, match="could go round in circles"):
        enqueue_mail("CRM@acme.example", "s", "t")
    make_rule("contact.created", [("send_email", MAIL)])
    make_contact("Loop", "Loop", "crm@acme.example")
    run = db.session.scalars(select(AutomationRun)).one()
    assert run.outcome == "failed" and "could go round in circles" in run.detail
    with write_transaction():
        assert enqueue_mail("crm@acme.example", "s", "t", is_automatic=False).state == "queued"

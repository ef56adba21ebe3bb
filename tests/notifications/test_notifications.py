"""Notifications: told once, as each person wants it; read; private to them; kept for a while."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.accounts.models import Membership
from soconnective.accounts.queries import forget_people
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Worker
from soconnective.jobs.models import Job
from soconnective.notifications import kinds as kinds_module
from soconnective.notifications import mail_with, notify, retention
from soconnective.notifications.models import Notification, NotificationChoice
from soconnective.notifications.operations import choose, mark_all_read
from tests.factories.records import make_deal

URL = "/dashboard/notifications"
CHOICES = "/dashboard/settings/notifications"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_mail() -> Iterator[None]:
    kept = list(kinds_module._mailer)
    kinds_module._mailer.clear()
    yield
    kinds_module._mailer[:] = kept


@pytest.fixture
def mails() -> list[tuple[Any, ...]]:
    """What is sent by mail, from a workspace that can."""
    sent: list[tuple[Any, ...]] = []
    mail_with(lambda *mail: sent.append(mail))
    return sent


def tell(person: Any, title: str = "Call Ana", **more: Any) -> int | None:
    with write_transaction():
        row = notify(person.id, "message", title, **more)
        db.session.flush()
        return row.id if row else None


def titles(person: Any) -> list[str]:
    db.session.expire_all()
    mine = select(Notification.title).where(Notification.person_id == person.id, Notification.is_shown)
    return list(db.session.scalars(mine.order_by(Notification.id)))


def test_it_belongs_to_the_transaction(inside: Any) -> None:
    def fail() -> None:
        with write_transaction():
            notify(inside.owner.id, "message", "Never said")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert titles(inside.owner) == []
    tell(inside.owner)
    assert titles(inside.owner) == ["Call Ana"] and titles(inside.admin) == []


def test_a_kind_that_nobody_registered_is_a_mistake(inside: Any) -> None:
    with pytest.raises(KeyError):
        notify(inside.owner.id, "nonsense", "x")


@pytest.mark.parametrize("status", ["disabled", "removed"])
def test_who_is_no_active_member_is_not_told(inside: Any, rivals: Any, status: str) -> None:
    with write_transaction():
        membership = db.session.scalars(
            select(Membership).where(Membership.user_id == inside.member.id)
        ).one()
        membership.status = status
        forget_people()
    assert tell(inside.member) is None and tell(rivals.owner) is None
    assert db.session.scalars(select(Notification)).all() == []


def test_a_cause_is_told_once_or_once_in_a_while(inside: Any) -> None:
    day = timedelta(days=1)
    for hours, told in ((0, 1), (1, 1), (23.9, 1), (24, 2), (25, 2), (48, 3)):
        with clock.at(NOON + timedelta(hours=hours)):
            tell(inside.owner, key="cause", again_after=day)
        assert len(titles(inside.owner)) == told, hours
    with clock.at(NOON + timedelta(days=400)):
        assert tell(inside.owner, key="cause") is None  # once is once
        tell(inside.admin, key="cause")  # each person once
        tell(inside.owner, key="other")
    assert len(titles(inside.owner)) == 4 and len(titles(inside.admin)) == 1


def test_long_texts_are_shortened(inside: Any) -> None:
    tell(inside.owner, "two\nlines " + "x" * 300, text="y" * 9000)
    row = db.session.scalars(select(Notification)).one()
    assert row.title.startswith("two lines xx") and len(row.title) == 200 and row.title.endswith("…")
    assert len(row.text) == 5000


def test_mail_goes_out_as_each_person_wants_it(inside: Any, mails: list[Any]) -> None:
    tell(inside.owner)
    assert mails == []  # not unless they ask for it
    with write_transaction():
        choose(inside.owner.id, {"message": (True, True)})
        choose(inside.admin.id, {"message": (False, True)})
        choose(inside.member.id, {"message": (False, False)})
    for person in (inside.owner, inside.admin, inside.member):
        tell(person, "Deal won", text="Well done.", key="k", again_after=timedelta(days=1))
        tell(person, "Deal won", text="Well done.", key="k", again_after=timedelta(days=1))
    assert [(to, address, subject) for to, address, subject, _text, _key in mails] == [
        (inside.owner.id, "owner@acme.example", "Deal won"),
        (inside.admin.id, "admin@acme.example", "Deal won"),
    ]
    assert mails[0][3] == "Deal won\n\nWell done." and mails[0][4] != mails[1][4]
    assert titles(inside.owner) == ["Call Ana", "Deal won"]
    assert titles(inside.admin) == [] and titles(inside.member) == []


def test_a_workspace_without_an_account_sends_nothing_and_says_so(inside: Any, owner: Any) -> None:
    sent: list[Any] = []
    mail_with(lambda *mail: sent.append(mail), lambda: False)
    with write_transaction():
        choose(inside.owner.id, {"message": (True, True)})
        choose(inside.admin.id, {"message": (False, True)})
    tell(inside.owner)
    assert tell(inside.admin) is None and not sent and titles(inside.owner) == ["Call Ana"]
    db.session.rollback()
    page = owner.get(CHOICES).text
    assert "No mail account is set up in this workspace" in page
    assert owner.post(CHOICES, data={"message-app": "y"}).status_code == 302
    db.session.expire_all()
    kept = db.session.scalars(
        select(NotificationChoice).where(
            NotificationChoice.person_id == inside.owner.id, NotificationChoice.kind == "message"
        )
    ).one()
    assert kept.in_app and kept.by_mail  # the box was not on the page: it stays as it was


def test_choosing(app: Flask, inside: Any, owner: Any, mails: list[Any]) -> None:
    page = owner.get(CHOICES).text
    for words in ("A rule tells you something", "A rule failed", "A rule was paused", "owner@acme.example"):
        assert words in page
    assert page.count("checked") == 4  # in the app, all of them
    assert owner.post(CHOICES, data={"message-mail": "y", "rule_failed-app": "y"}).status_code == 302
    assert owner.get(CHOICES).text.count("checked") == 2
    tell(inside.owner)
    assert len(mails) == 1 and titles(inside.owner) == []
    tell(inside.admin)
    assert len(mails) == 1 and titles(inside.admin) == ["Call Ana"]


def test_the_bell_counts_what_is_not_read(app: Flask, team: Any, owner: Any) -> None:
    def bell() -> str:
        page = owner.get("/dashboard/tasks").text
        start = page.index('class="btn btn-quiet bell"')
        return page[start : page.index("</a>", start)]

    assert "not read" not in bell() and "Notifications" in bell()
    with app.app_context(), acting_in(team.id):
        for number in range(3):
            tell(team.owner, f"Title {number}")
        tell(team.admin)
        first = db.session.scalars(select(Notification.id).order_by(Notification.id)).first()
        db.session.rollback()
    assert ", 3 not read" in bell()
    assert owner.post(f"{URL}/{first}/read").status_code == 302
    assert ", 2 not read" in bell()
    assert owner.post(f"{URL}/read").status_code == 302
    assert "not read" not in bell()
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            for number in range(120):
                notify(team.owner.id, "message", f"Many {number}")
        db.session.rollback()
    assert "more than 99 not read" in bell() and "99+" in bell()


def test_the_list_leads_to_what_it_is_about(app: Flask, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        deal = make_deal(team.stages["Lead"])
        about, nowhere = tell(team.owner, about=("deal", deal.id)), tell(team.owner, "No record")
        gone = tell(team.owner, "Of a kind that is gone", about=("spaceship", 7))
        deal_id = deal.id
        db.session.rollback()
    page = owner.get(URL).text
    assert page.index("Of a kind that is gone") < page.index("No record") < page.index("Call Ana")
    assert f"{URL}/{about}/open" in page and f"{URL}/{nowhere}/open" not in page
    answer = owner.post(f"{URL}/{about}/open")
    assert answer.headers["Location"] == f"/dashboard/deals/{deal_id}"
    page = owner.get(f"{URL}?view=unread").text
    assert "Call Ana" not in page and "No record" in page
    answer = owner.post(f"{URL}/{nowhere}/read", data={"view": "unread"})
    assert answer.headers["Location"] == f"{URL}?view=unread"
    owner.post(f"{URL}/{gone}/open")
    assert "Everything is read" in owner.get(f"{URL}?view=unread").text


def test_nothing_yet_helps(owner: Any) -> None:
    page = owner.get(URL).text
    assert "Nothing yet" in page and "Choose what to be told of" in page and "Mark all as read" not in page


def test_a_long_list_goes_by_key(app: Flask, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            for number in range(70):
                notify(team.owner.id, "message", f"Number {number:02}")
        db.session.rollback()
    seen, url = [], URL
    while url:
        page = owner.get(url).text
        seen += [n for n in range(69, -1, -1) if f"Number {n:02}<" in page]
        start = page.find('rel="next" href="')
        url = page[start + 17 : page.index('"', start + 17)].replace("&amp;", "&") if start > 0 else ""
    assert seen == list(range(69, -1, -1))


def test_nobody_reads_what_another_is_told(app: Flask, team: Any, rivals: Any, sign_in: Any) -> None:
    with app.app_context(), acting_in(team.id):
        told = tell(team.owner, "Private")
        db.session.rollback()
    for person in (team.admin, team.member, rivals.owner):
        client = sign_in(person)
        assert "Private" not in client.get(URL).text
        for what in ("open", "read"):
            assert client.post(f"{URL}/{told}/{what}").status_code == 404
        client.post(f"{URL}/read")
    with app.app_context(), acting_in(team.id):
        assert db.session.get_one(Notification, told).read_at is None
        db.session.rollback()


def test_reading_twice_keeps_the_first_moment(inside: Any) -> None:
    tell(inside.owner)
    with clock.at(NOON), write_transaction():
        assert mark_all_read(inside.owner.id) == 1
    with clock.at(NOON + timedelta(hours=1)), write_transaction():
        assert mark_all_read(inside.owner.id) == 0
    db.session.expire_all()
    assert db.session.scalars(select(Notification.read_at)).one() == NOON


def test_old_ones_are_forgotten(app: Flask, team: Any, rivals: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SLICE", 2)
    now = clock.now()
    for workspace in (team, rivals):
        with app.app_context(), acting_in(workspace.id):
            for days in (91, 91, 91, 91, 91, 89, 0):
                with clock.at(now - timedelta(days=days)):
                    tell(workspace.owner, f"{days} days")
            db.session.rollback()
    worker = Worker(app)
    for _ in range(6):
        worker.turn()
    for workspace in (team, rivals):
        with app.app_context(), acting_in(workspace.id):
            assert titles(workspace.owner) == ["89 days", "0 days"]
            (job,) = db.session.scalars(select(Job).where(Job.kind == "prune_notifications"))
            assert job.state == "done"
            db.session.rollback()

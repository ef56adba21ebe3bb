"""A mail of a rule that nobody gets: its run says so, who answers for the rule is told, and that goes round in no circle."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import select

from soconnective.automation.models import AutomationRun
from soconnective.core.db import db, write_transaction
from soconnective.jobs import Worker
from soconnective.notifications.models import Notification
from soconnective.notifications.operations import choose
from tests.factories.records import make_contact
from tests.mail.conftest import Post, later, mails, work
from tests.mail.test_sending import last, send

NOBODY = "550 5.1.1 no such person"


def told() -> list[tuple[int, str, str]]:
    db.session.expire_all()
    rows = db.session.scalars(select(Notification).order_by(Notification.id))
    return [(row.person_id, row.kind, row.text) for row in rows]


def test_a_mail_that_is_given_up_is_told_once(inside: Any, account: Any, post: Post, worker: Worker) -> None:
    send()
    post.answers = [NOBODY, NOBODY]
    make_contact("Ana", "Ruiz", "ana@x.example")
    make_contact("Ben", "Ruiz", "ben@x.example")
    assert told() == []
    work(worker, inside, 4)
    assert "not delivered: “Welcome Ben” to ben@x.example: " in last().detail
    assert NOBODY in last().trace["steps"][0]["remarks"][-1] and last().outcome == "succeeded"
    assert {(person, kind) for person, kind, _text in told()} == {
        (inside.owner.id, "undelivered"),
    }
    assert len(told()) == 2  # the server names the address: two reasons
    row = db.session.scalars(select(Notification)).first()
    assert row is not None and (row.record_type, row.record_id) == ("run", first_run().id)


def test_what_was_given_up_is_sent_again_and_its_run_says_so(
    inside: Any, account: Any, post: Post, worker: Worker, owner: FlaskClient
) -> None:
    send()
    post.answers = [NOBODY]
    make_contact("Ana", "Ruiz", "ana@x.example")
    work(worker, inside)
    url = f"/dashboard/mail/{mails()[0].id}"
    db.session.rollback()
    run_page, lists = (
        f"/dashboard/automations/runs/{last().id}",
        ("/dashboard/automations", "/dashboard/automations/runs"),
    )
    db.session.rollback()
    page = owner.get(run_page).text
    assert "success, e-mail not delivered" in page and f'<a href="{url}">Welcome Ana</a>' in page
    assert all("success, e-mail not delivered" in owner.get(one).text for one in lists)
    assert last().outcome == "succeeded"
    db.session.rollback()
    page = owner.get(url).text
    assert "Send again" in page and NOBODY in page and "The mail account" in page
    assert "It is on its way again" in owner.post(f"{url}/again", follow_redirects=True).text
    assert "given up lately" in owner.post(f"{url}/again", follow_redirects=True).text
    work(worker, inside)
    assert len(post.letters) == 1 and mails()[0].state == "sent"
    run = last()
    assert run.detail.endswith("550 5.1.1 no such person; delivered after all")
    assert run.trace["steps"][0]["remarks"][-1] == "“Welcome Ana” to ana@x.example: delivered after all"
    assert "given up lately" in owner.post(f"{url}/again", follow_redirects=True).text
    assert not any("not delivered</" in owner.get(one).text for one in (run_page, *lists))
    assert "success, e-mail" not in owner.get(run_page).text


def test_a_run_that_has_other_words_by_then_says_so_too(
    inside: Any, account: Any, post: Post, worker: Worker, owner: FlaskClient
) -> None:
    """As one has that waited after the mail and went on: it is told by the mark at its step."""
    send()
    post.answers = [NOBODY]
    make_contact("Ana", "Ruiz", "ana@x.example")
    work(worker, inside)
    with write_transaction():
        last().detail = "mail queued; waited; task created"
    url = f"/dashboard/mail/{mails()[0].id}"
    db.session.rollback()
    owner.post(f"{url}/again")
    work(worker, inside)
    assert mails()[0].state == "sent"
    assert last().undelivered == [] and last().detail == "mail queued; waited; task created"
    assert last().trace["steps"][0]["remarks"][-1].endswith("delivered after all")


def test_a_mail_that_was_never_given_up_changes_no_run(
    inside: Any, account: Any, post: Post, worker: Worker
) -> None:
    send()
    post.answers = ["451 later"]
    make_contact("Ana", "Ruiz", "ana@x.example")
    said = last().detail
    work(worker, inside)
    later(worker, inside)
    assert len(post.letters) == 1 and last().detail == said and last().trace["steps"][0]["remarks"] == []


def first_run() -> AutomationRun:
    return db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)).first()  # type: ignore[return-value]


def test_a_notice_that_cannot_be_sent_either_ends_there(
    inside: Any, account: Any, post: Post, worker: Worker
) -> None:
    with write_transaction():
        choose(inside.owner.id, {"undelivered": (True, True)})
    send()
    post.answers = [NOBODY] * 9
    make_contact("Ana", "Ruiz", "ana@x.example")
    for _ in range(4):
        later(worker, inside)
    assert [mail.state for mail in mails()] == ["failed"] * 2  # the rule's, and the notice of it
    assert len(told()) == 1


def test_what_was_sent_stands_on_the_page_that_undoes(
    inside: Any, account: Any, post: Post, worker: Worker, owner: FlaskClient
) -> None:
    send()
    make_contact("Ana", "Ruiz", "ana@x.example")
    run_id = last().id
    db.session.rollback()
    page = owner.get(f"/dashboard/automations/runs/{run_id}/undo").text
    assert "What was sent stays sent: <strong>Welcome Ana</strong>." in page

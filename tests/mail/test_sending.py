"""A mail from the rule to a real server on loopback: once; later when it is down; never when it says no."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from soconnective.automation.models import AutomationRun
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.secrets import has_secret, keep_secret
from soconnective.jobs import Job, Worker, run_again
from soconnective.mail import enqueue_mail
from soconnective.mail.account import PASSWORD, find_account, save_account
from tests.factories.records import make_contact, make_rule
from tests.mail.conftest import CANARY, Post, Running, job_of, later, mails, make_account, work

WELCOME = {"to": "contact", "subject": "Welcome {{ contact.first_name }}", "body": "Dear {{ contact.name }},\n\nSee https://x.example/a?b=1&c=2."}  # fmt: skip


def send(**settings: Any) -> Any:
    return make_rule("contact.created", [("send_email", {**WELCOME, **settings})], "Welcome")


def last() -> AutomationRun:
    db.session.expire_all()
    run = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id.desc())).first()
    assert run is not None
    return run


def test_a_rule_sends_one_mail_with_text_and_html(
    inside: Any, account: Any, post: Post, worker: Worker
) -> None:
    rule = send()
    contact = make_contact("Ana <b>", "Ruiz", "ana@x.example")
    mail = mails()[0]
    assert (last().outcome, last().detail) == ("succeeded", "e-mail to ana@x.example on its way")
    assert last().trace["steps"][0]["made"][0] == {
        "type": "mail", "id": mail.id, "title": "Welcome Ana <b>", "verb": "sent"
    }  # fmt: skip
    assert (mail.state, mail.addressee_type, mail.addressee_id) == ("queued", "contact", contact.id)
    assert (mail.record_type, mail.record_id, mail.automation_id) == ("contact", contact.id, rule.id)
    assert mail.event_id == last().event_id and mail.depth == 1 and mail.root_id == mail.event_id
    work(worker, inside, 2)
    (letter,) = post.letters
    assert (letter.sender, letter.recipients) == ("crm@acme.example", ["ana@x.example"])
    got = letter.message
    assert got["From"] == "Acme CRM <crm@acme.example>" and got["Subject"] == "Welcome Ana <b>"
    assert got["To"].addresses[0].addr_spec == "ana@x.example"
    assert got["Message-ID"] == mail.message_id and mail.message_id.endswith("@acme.example>")
    assert got["Auto-Submitted"] == "auto-generated" and got["X-Auto-Response-Suppress"] == "All"
    assert got["X-SoConnective-Cause"] == f"workspace={inside.id}; root={mail.root_id}; depth=1"
    assert "Dear Ana <b> Ruiz," in got.get_body(("plain",)).get_content()
    html = got.get_body(("html",)).get_content()
    assert "Dear Ana &lt;b&gt; Ruiz," in html
    assert '<a href="https://x.example/a?b=1&amp;c=2">https://x.example/a?b=1&amp;c=2</a>.' in html
    sent = mails()[0]
    assert (sent.state, sent.attempts, sent.error) == ("sent", 1, "") and sent.sent_at is not None
    assert job_of(sent).state == "done"


def test_a_server_that_is_down_is_tried_again(inside: Any, worker: Worker) -> None:
    running = Running(Post())
    port = running.post.port
    running.stop()
    make_account(port)
    send()
    make_contact("Ana", "Ruiz", "ana@x.example")
    work(worker, inside)
    first = mails()[0]
    assert (first.state, job_of(first).state) == ("queued", "ready")
    assert "cannot be reached: Connection refused" in job_of(first).error
    again = Running(Post(), port)
    try:
        later(worker, inside)
        assert [letter.message["Message-ID"] for letter in again.post.letters] == [first.message_id]
    finally:
        again.stop()
    assert (mails()[0].state, mails()[0].attempts) == ("sent", 2)


@pytest.mark.parametrize(
    ("answer", "state", "job", "said"),
    [("450 4.2.1 busy, come back", "queued", "ready", "450 4.2.1 busy, come back"),
     ("550 5.1.1 no such person", "failed", "dead", "refused ana@x.example: 550 5.1.1 no such person")],
)  # fmt: skip
def test_4xx_is_later_and_5xx_is_never(
    inside: Any, account: Any, post: Post, worker: Worker, answer: str, state: str, job: str, said: str
) -> None:
    send()
    post.answers = [answer]
    make_contact("Ana", "Ruiz", "ana@x.example")
    work(worker, inside)
    mail = mails()[0]
    assert (mail.state, job_of(mail).state) == (state, job)
    assert said in job_of(mail).error and (state == "queued" or said in mail.error)
    with write_transaction():
        if job == "dead":
            run_again(job_of(mail))
    later(worker, inside)
    assert len(post.letters) == 1 and mails()[0].state == "sent" and mails()[0].error == ""


def test_the_account_signs_in_and_its_password_stays_inside(
    inside: Any, post: Post, worker: Worker, caplog: Any
) -> None:
    post.wants_login = True
    make_account(post.port, username="crm", password=CANARY)
    send()
    make_contact("Ana", "Ruiz", "ana@x.example")
    work(worker, inside)
    assert job_of(mails()[0]).error == "" and post.logins == [("crm", CANARY)] and len(post.letters) == 1
    with write_transaction():
        keep_secret(PASSWORD, "wrong" + CANARY)
    make_contact("Ben", "Roth", "ben@x.example")
    work(worker, inside)
    assert "did not take the user name or the password: 535" in mails()[1].error
    assert CANARY not in caplog.text
    with write_transaction():
        keep_secret(PASSWORD, None)
    make_contact("Cy", "Tal", "cy@x.example")
    work(worker, inside)
    assert mails()[2].error == "The mail account has no password. Enter it in Settings → E-mail."
    assert {password for _name, password in post.logins} == {CANARY, "wrong" + CANARY}


def test_a_key_that_changed_is_told(app: Any, inside: Any, post: Post, worker: Worker) -> None:
    make_account(post.port, username="crm", password=CANARY)
    app.config["SECRET_KEY"] = "another"
    send()
    make_contact("Ana", "Ruiz", "ana@x.example")
    work(worker, inside)
    assert "SECRET_KEY has changed" in mails()[0].error and not post.logins


@pytest.mark.parametrize("change", [{"host": "localhost"}, {"port": 2525}, {"username": "other"}])
def test_another_place_drops_the_password(inside: Any, post: Post, change: dict[str, Any]) -> None:
    made = make_account(post.port, username="crm", password=CANARY)
    same = {"host": made.host, "port": made.port, "security": "none", "username": "crm",
            "from_address": made.from_address, "from_name": "Other name", "hourly_cap": 5}  # fmt: skip
    with write_transaction():
        assert save_account(made, **same, password=None)[1] is False
    assert has_secret(PASSWORD)
    with write_transaction():
        assert save_account(made, **{**same, **change}, password=None)[1] is True
    assert not has_secret(PASSWORD)


def test_without_an_account_the_run_says_so_and_the_save_stays(inside: Any) -> None:
    with write_transaction():
        assert find_account() is None
    send()
    contact = make_contact("Ana", "Ruiz", "ana@x.example")
    assert last().outcome == "failed"
    assert last().detail == "step 1 failed: There is no mail account yet. Set it up in Settings → E-mail."
    assert contact.id and not mails() and db.session.scalar(select(func.count()).select_from(Job)) == 0


def test_a_mail_goes_with_its_rule_or_not_at_all(
    inside: Any, account: Any, post: Post, worker: Worker
) -> None:
    make_rule("contact.created", [("send_email", WELCOME), ("change_field", {"target": "contact", "field": "last_name", "value": None}),
                                  ("change_field", {"target": "contact", "field": "first_name", "value": None})])  # fmt: skip
    make_contact("Ana", "Ruiz", "ana@x.example")
    assert last().outcome == "failed" and not mails()
    work(worker, inside)
    assert not post.letters


def test_the_api_for_others(inside: Any, account: Any, post: Post, worker: Worker) -> None:
    with write_transaction():
        first = enqueue_mail("Ben@X.example", "Hello\r\nBcc: evil@x.example", "text", key="note-7")
        assert enqueue_mail("other@x.example", "else", "else", key="note-7") is first
    work(worker, inside, 2)
    (letter,) = post.letters
    assert letter.recipients == ["ben@x.example"] and letter.message["Bcc"] is None
    assert letter.message["Subject"] == "Hello Bcc: evil@x.example"
    for bad in ("", "x", "a@b\r\nRCPT TO:<c@d.example>", "a@x.example,b@x.example"):
        with pytest.raises(Refused):
            enqueue_mail(bad, "s", "t")
    db.session.rollback()

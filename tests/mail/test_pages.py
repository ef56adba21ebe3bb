"""Settings → E-mail, templates, and the pages of mails."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from soconnective.core.db import db, write_transaction
from soconnective.core.secrets import has_secret
from soconnective.jobs import Worker
from soconnective.mail import enqueue_mail
from soconnective.mail.account import PASSWORD, find_account
from soconnective.mail.models import MailAccount, MailMessage, MailTemplate
from soconnective.mail.templates import create_template
from tests.factories.records import make_contact, make_deal, make_rule
from tests.mail.conftest import CANARY, Post, make_account, work

URL = "/dashboard/settings/mail"
GOOD = {"host": "smtp.x.example", "port": "587", "security": "starttls", "username": "crm", "password": CANARY,
        "from_address": "crm@x.example", "from_name": "Acme", "hourly_cap": "200"}  # fmt: skip
TEMPLATE = {"name": "Welcome", "record_type": "contact", "subject": "Hi {{ contact.first_name }}", "body": "Dear {{ contact.name }},\n\nhttps://x.example"}  # fmt: skip


def test_the_account_is_saved_and_its_password_never_shown(app: Flask, owner: Any, there: Any) -> None:
    assert "Does it work?" not in owner.get(URL).text
    assert owner.post(URL, data=GOOD).status_code == 302
    page = owner.get(URL).text
    assert "Saved." in page and "smtp.x.example" in page and CANARY not in page and "One is kept" in page
    kept = find_account()
    assert kept is not None and (kept.port, kept.security, kept.from_address) == (
        587,
        "starttls",
        "crm@x.example",
    )
    assert has_secret(PASSWORD)
    db.session.rollback()
    owner.post(URL, data={**GOOD, "password": "", "from_name": "Other", "version": 1})
    assert has_secret(PASSWORD)
    db.session.rollback()
    owner.post(URL, data={**GOOD, "password": "", "host": "evil.example", "version": 2})
    assert "the password was forgotten" in owner.get(URL).text and not has_secret(PASSWORD)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"host": ""}, "Write the server"), ({"host": "a b"}, "Write the server"), ({"host": "127.0.0.1"}, "stands inside"),
     ({"host": "10.0.0.9"}, "stands inside"), ({"security": "none"}, "Without encryption"), ({"security": "x"}, "Not a valid"),
     ({"port": "22"}, "Mail servers listen"), ({"port": "99999"}, "Choose 1 to 65535"), ({"port": "x"}, "Not a valid"),
     ({"from_address": "x"}, "is not a mail address"), ({"from_address": ""}, "Write the address"), ({"hourly_cap": "0"}, "Choose 1 to"),
     ({"password": "geheim-ü"}, "ASCII"), ({"password": "x\r\ny"}, "ASCII"), ({"username": "nul\x00"}, "cannot be stored")],
)  # fmt: skip
def test_bad_settings_are_refused_beside_their_field(
    app: Flask, owner: Any, there: Any, change: dict[str, str], says: str
) -> None:
    app.config["SOCONNECTIVE_MAIL_INSIDE"] = False
    answer = owner.post(URL, data={**GOOD, **change})
    assert answer.status_code == 422 and says in answer.text and "Acme" in answer.text
    assert CANARY not in answer.text and find_account() is None and not has_secret(PASSWORD)


def test_a_second_account_is_not_made(app: Flask, owner: Any, there: Any) -> None:
    for _ in range(2):
        owner.post(URL, data={**GOOD, "form_key": ""})
    assert db.session.scalar(select(func.count()).select_from(MailAccount)) == 1


def test_the_test_mail_says_what_came_of_it(
    app: Flask, owner: Any, there: Any, post: Post, worker: Worker
) -> None:
    assert "There is no mail account yet" in owner.post(f"{URL}/test", follow_redirects=True).text
    make_account(post.port)
    answer = owner.post(f"{URL}/test")
    assert answer.headers["Location"] == "/dashboard/mail/1"
    assert "It leaves in a moment" in owner.get("/dashboard/mail/1").text
    work(worker, there)
    page = owner.get("/dashboard/mail/1").text
    assert "The mail server took it" in page and "hx-trigger" not in page.split("mail-state")[1][:80]
    assert post.letters[0].recipients == ["owner@acme.example"]
    assert "Your last test mail" in owner.get(URL).text
    post.answers = ["451 come back later"]
    owner.post(f"{URL}/test")
    work(worker, there)  # whoever asks wants an answer: it is not tried for hours
    assert "451 come back later" in owner.get(URL).text and "not sent" in owner.get("/dashboard/mail/2").text


def test_a_template_is_written_previewed_and_deleted(app: Flask, owner: Any, there: Any) -> None:
    new = f"{URL}/templates/new"
    shown = owner.post(new, data={**TEMPLATE, "op": "preview"}).text
    assert "[first name]" in shown and "There is no record" in shown
    make_contact("Ana <i>", "Ruiz")
    shown = owner.post(new, data={**TEMPLATE, "op": "preview"}).text
    assert "Hi Ana &lt;i&gt;" in shown and '<a href="https://x.example"' in shown
    assert db.session.scalar(select(func.count()).select_from(MailTemplate)) == 0
    db.session.rollback()
    answer = owner.post(new, data=TEMPLATE)
    assert answer.status_code == 302, answer.text
    assert "Welcome" in owner.get(f"{URL}/templates").text
    page = answer.headers["Location"]
    assert owner.post(page, data={**TEMPLATE, "body": "New", "version": 1}).status_code == 302
    assert owner.post(page, data={**TEMPLATE, "body": "Old", "version": 1}).status_code == 409
    make_rule("contact.created", [("send_email", {"to": "contact", "template_id": 1})], "Greeter")
    assert "Greeter" in owner.get(f"{page}/delete").text
    assert owner.post(f"{page}/delete", data={"version": 2}).status_code == 302
    assert owner.get(page).status_code == 404
    assert "The template does not exist any more" in owner.get("/dashboard/automations").text


def test_another_kind_of_record_offers_its_fields_at_once(app: Flask, owner: Any, there: Any) -> None:
    new = f"{URL}/templates/new"
    assert "deal.title" not in owner.get(new).text
    answer = owner.post(new, data={"op": "fields", "record_type": "deal", "body": "Typed", "subject": ""})
    assert (
        answer.status_code == 200
        and "field-error" not in answer.text
        and ">Typed</textarea>" in answer.text.replace("\r\n", "")
    )
    assert "deal.title" in answer.text and "contact.first_name" not in answer.text
    assert owner.post(new, data={"op": "fields", "record_type": "nonsense"}).status_code == 200
    assert db.session.scalar(select(func.count()).select_from(MailTemplate)) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [({"name": ""}, "Give the template a name"), ({"subject": "{{ deal.title }}"}, "There is no field"), ({"body": ""}, "Write the text"),
     ({"body": "{{ contact.name"}, "not closed"), ({"record_type": "mail"}, "Not a valid"), ({"body": "x" * 20_001}, "longer than"),
     ({"body": "{% for a in b %}x{% endfor %}"}, "not available")],
)  # fmt: skip
@pytest.mark.parametrize("op", ["", "preview"])
def test_a_bad_template_is_refused(
    app: Flask, owner: Any, there: Any, change: Any, says: str, op: str
) -> None:
    answer = owner.post(f"{URL}/templates/new", data={**TEMPLATE, **change, "op": op})
    assert says in answer.text and answer.status_code == 422
    assert db.session.scalar(select(func.count()).select_from(MailTemplate)) == 0


def test_the_builder_offers_channel_template_and_texts(app: Flask, owner: Any, there: Any) -> None:
    with write_transaction():
        create_template(**TEMPLATE)
    data = {
        "name": "Rule",
        "trigger": "contact.created",
        "on_failure": "undo",
        "steps-0-kind": "send_email",
        "is_active": "1",
    }
    page = owner.post("/dashboard/automations/new", data={**data, "op": "trigger"}).text
    assert "the contact" in page and "the record&#39;s owner" in page and ">Welcome<" in page
    refused = owner.post("/dashboard/automations/new", data={**data, "steps-0-to": "contact"})
    assert refused.status_code == 422 and "Write the subject, or choose a template" in refused.text
    good = {**data, "steps-0-to": "contact", "steps-0-template_id": "1"}
    answer = owner.post("/dashboard/automations/new", data=good)
    assert answer.status_code == 302, answer.text
    assert "from template “Welcome” to the contact" in owner.get("/dashboard/automations").text
    other = {**good, "trigger": "deal.won"}
    assert "for another kind of record" in owner.post("/dashboard/automations/new", data=other).text


def test_mails_are_listed_with_their_state_and_on_the_records(
    app: Flask, owner: Any, sign_in: Any, there: Any, post: Post, worker: Worker
) -> None:
    make_account(post.port)
    contact = make_contact("Ana", "Ruiz", "ana@x.example")
    deal = make_deal(there.stages["Lead"], contact_ids=[contact.id])
    pages = (f"/dashboard/contacts/{contact.id}", f"/dashboard/deals/{deal.id}")
    db.session.rollback()
    for url in pages:
        assert 'id="mails"' not in owner.get(url).text
    with write_transaction():
        enqueue_mail(
            "ana@x.example", "Offer <b>", "Text", about=("deal", deal.id), addressee=("contact", contact.id)
        )
        for _ in range(5):
            enqueue_mail("ana@x.example", "More", "Text")
    work(worker, there)
    for url in pages:
        page = owner.get(url).text
        assert 'id="mails"' in page and "Offer &lt;b&gt;" in page and "More" not in page
    listed = owner.get("/dashboard/mail").text
    assert "Offer &lt;b&gt;" in listed and "Held back: ana@x.example" in listed
    assert "Offer" not in owner.get("/dashboard/mail?state=suppressed").text
    assert "Offer" in owner.get("/dashboard/mail?state=nonsense").text
    shown = sign_in(there.viewer).get("/dashboard/mail/1").text
    assert "Ana Ruiz" in shown and "Roll-out" in shown and "The mail server took it" in shown
    assert db.session.scalar(select(func.count()).select_from(MailMessage)) == 6

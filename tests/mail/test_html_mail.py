"""HTML of one's own, from the template and the step to the letter at the other end."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import definition_of
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.jobs import Worker
from soconnective.mail import enqueue_mail
from soconnective.mail.frame import STYLES
from soconnective.mail.models import MailTemplate
from soconnective.mail.templates import create_template
from tests.factories.records import make_contact, make_rule
from tests.mail.conftest import Post, mails, make_account, work
from tests.mail.test_pages import URL

HTML = '<h1 style="color: #1f6feb">Hello {{ contact.first_name }}</h1><p><a href="{{ contact.website }}">Your page</a> and <a href="https://x.example/?a=1&amp;b=2">ours</a></p>'
HTML = HTML.replace("contact.website", "contact.job_title")
NEW = {"name": "Offer", "record_type": "contact", "subject": "For {{ contact.first_name }}", "body": "", "html": HTML}  # fmt: skip


def kept(**values: Any) -> MailTemplate:
    with write_transaction():
        return create_template(**{**NEW, **values})


def last() -> AutomationRun:
    db.session.expire_all()
    return db.session.scalars(select(AutomationRun).order_by(AutomationRun.id.desc()).limit(1)).one()


def parts(post: Post) -> tuple[str, str]:
    message = post.letters[-1].message
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None and html is not None
    return plain.get_content().replace("\r\n", "\n").strip(), html.get_content()


def test_a_template_with_html_only_arrives_as_both(
    inside: Any, account: Any, post: Post, worker: Worker
) -> None:
    template = kept()
    make_rule("contact.created", [("send_email", {"to": "contact", "template_id": template.id})])
    make_contact("Ana <script>", "Ruiz", "ana@x.example", job_title="javascript:alert(1)")
    run = last()
    assert run.outcome == "succeeded"
    assert run.trace["steps"][0]["remarks"] == [
        "a link was left out: its address is not https://, http:// or mailto:"
    ]
    work(worker, inside, 2)
    text, html = parts(post)
    assert text == "Hello Ana <script>\n\nYour page and ours (https://x.example/?a=1&b=2)"
    assert '<h1 style="color: #1f6feb">Hello Ana &lt;script&gt;</h1>' in html
    assert "<a>Your page</a>" in html and 'href="https://x.example/?a=1&amp;b=2"' in html
    assert "javascript" not in html and "<script" not in html


def test_text_and_html_are_filled_with_the_same_values(
    inside: Any, account: Any, post: Post, worker: Worker
) -> None:
    rule = make_rule("contact.created", [("send_email", {
        "to": "contact", "subject": "Hi", "body": "Dear {{ contact.name }} & co", "html": "<p>Dear <b>{{ contact.name }}</b> &amp; co</p>",
    })])  # fmt: skip
    assert (
        definition_of(rule)
        .sentence()
        .endswith(
            "send e-mail “Hi” with text “Dear {{ contact.name }} & co” and its own HTML (46 letters, 4633f6b4) to the contact"
        )
    )
    make_contact("Ana", "O'Neil & Sons", "ana@x.example")
    work(worker, inside, 2)
    text, html = parts(post)
    assert text == "Dear Ana O'Neil & Sons & co"
    assert "<p>Dear <b>Ana O'Neil &amp; Sons</b> &amp; co</p>" in html


def test_without_html_it_is_made_from_the_text_as_before(
    inside: Any, account: Any, post: Post, worker: Worker
) -> None:
    with write_transaction():
        enqueue_mail("ana@x.example", "Hi", "One\n\nTwo <b>")
        enqueue_mail("ana@x.example", "Hi", "", html="<p>Only <b>this</b></p>")
    work(worker, inside, 3)
    texts = [letter.message.get_body(("plain",)).get_content().strip() for letter in post.letters]
    pages = [letter.message.get_body(("html",)).get_content() for letter in post.letters]
    assert [text.split() for text in texts] == [["One", "Two", "<b>"], ["Only", "this"]]
    assert "Two &lt;b&gt;" in pages[0] and "<p>Only <b>this</b></p>" in pages[1]


@pytest.mark.parametrize(
    ("values", "said"),
    [({"html": "<p>{{ contact.job_title | default: '' }}</p>"}, "text is empty once"), ({"html": "<p></p>"}, "text is empty once")],
)  # fmt: skip
def test_html_that_says_nothing_fails_in_words(
    inside: Any, account: Any, values: dict[str, Any], said: str
) -> None:
    template = kept(**values)
    make_rule("contact.created", [("send_email", {"to": "contact", "template_id": template.id})])
    make_contact("Ana", "Ruiz", "ana@x.example")
    assert last().outcome == "failed" and said in last().detail and not mails()


def test_what_cannot_be_sent_is_refused_beside_its_field(inside: Any) -> None:
    for values, field, said in (
        ({"html": "<p>{{ contact.nothing }}</p>"}, "html", "There is no field"), ({"html": "<script>"}, "html", "never sent"),
        ({"html": ""}, "body", "Write the text, or the HTML."), ({"html": '<img src="https://x.example/a.png" alt="">'}, "html", "Images are not allowed"),
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            create_template(**{**NEW, **values})
        assert refused.value.field == field and said in refused.value.message
        db.session.rollback()
        step = {"to": "contact", "subject": "Hi", "html": values["html"]}
        assert ("0", field) in [
            p[:2] for p in build("R", "contact.created", {}, [("send_email", step)]).problems()
        ]
    assert kept(html='<p>x</p><img src="https://x.example/a.png" alt="">', has_images=True).id


def test_a_template_is_written_and_previewed_as_source(
    app: Flask,
    owner: Any,
    there: Any,
) -> None:
    make_contact("Ana <i>", "Ruiz", job_title="https://ana.example")
    new = f"{URL}/templates/new"
    answer = owner.post(new, data={**NEW, "op": "preview"})
    assert answer.status_code == 200 and STYLES in answer.headers["Content-Security-Policy"]
    assert "script-src 'self' 'nonce-" in answer.headers["Content-Security-Policy"]
    frame = re.search(
        r'<iframe class="mail-frame" sandbox="" title="The mail as HTML" srcdoc="([^"]*)">', answer.text
    )
    assert frame is not None
    inner = unescape(frame[1])
    assert "Hello Ana &lt;i&gt;</h1>" in inner and '<a href="https://ana.example">' in inner
    assert 'Your page (<a href="https://ana.example"' in answer.text  # the text part below it
    assert db.session.scalar(select(func.count()).select_from(MailTemplate)) == 0
    db.session.rollback()
    for op in ("", "preview"):
        refused = owner.post(new, data={**NEW, "html": '<p>a</p>\n<p onclick="x">b</p>', "op": op})
        assert refused.status_code == 422 and "Line 2: onclick would be a script" in refused.text
        assert (
            "&lt;p onclick=&#34;x&#34;&gt;" in refused.text and '<details class="wide" open>' in refused.text
        )
    page = owner.post(new, data=NEW).headers["Location"]
    assert 'class="mail-frame"' in owner.get(page).text
    assert "style-src-attr" not in owner.get(URL).headers["Content-Security-Policy"]


def test_the_page_of_a_mail_shows_both(app: Flask, owner: Any, there: Any, post: Post) -> None:
    make_account(post.port)
    with write_transaction():
        mail = enqueue_mail("ana@x.example", "Hi", "", html='<p style="color: red">Dear <b>Ana</b></p>')
    answer = owner.get(f"/dashboard/mail/{mail.id}")
    assert "Dear Ana</p>" in answer.text and STYLES in answer.headers["Content-Security-Policy"]
    assert "&lt;p style=&#34;color: red&#34;&gt;Dear &lt;b&gt;Ana&lt;/b&gt;" in answer.text

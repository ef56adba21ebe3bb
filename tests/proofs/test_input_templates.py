"""Proof 7, templates: no text with merge fields reaches more than its fields, takes long or grows without bound."""

from __future__ import annotations

import time
import tracemalloc
from itertools import product
from typing import Any

import pytest
from flask import Flask
from jinja2.sandbox import SandboxedEnvironment
from sqlalchemy import text

from soconnective.automation import merge
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from soconnective.mail import markup, markup_check
from tests.databases import owner_engine
from tests.factories.records import make_deal, move
from tests.mail.conftest import make_account
from tests.proofs.digests import changed, digest_of

NAME = "7 Input: templates"
SECONDS, BYTES = 0.5, 50_000_000
HEARTS = [
    "7*7", "7*'7'", "deal.__class__", "deal.title.__class__.__mro__[1].__subclasses__()", "''.__class__.__base__.__subclasses__()", "config",
    "config.SECRET_KEY", "self.__init__.__globals__", "request.application.__globals__", "cycler.__init__.__globals__.os.popen('id').read()",
    "lipsum.__globals__['os'].system('id')", "lipsum(n=100000)", "range(100000)", "range(10**9)", "'a'*10**9", "'%1000000000s'|format('x')",
    "'x'.center(10**9)", "[1]*10**9", "deal.query.all()", "deal.query.delete()", "deal.query.session.connection().exec_driver_sql('DROP TABLE deals')",
    "deal.query.session.commit()", "deal.owner.password", "deal.tenant_id", "deal['__class__']", "deal|attr('__class__')", "deal.title|map('upper')",
    "namespace", "joiner", "url_for.__globals__", "get_flashed_messages.__globals__", "g", "session", "''.join(['a']*10**8)", "dict(a=1)", "deal._sa_instance_state",
    "deal.title.format.__globals__", "'{0.__class__}'.format(deal)", "deal.title | append: deal.title", "deal.title | replace: 'a', 'b'", "deal | json",
    "deal.title | split: ''", "1..999999999", "(1..99999999)", "'x' | times: 1000000000", "deal.title | date: '%999999999d'", "deal.title | truncate: 999999999",
    "deal.amount | money: 'XYZ'", "deal.title | truncate: -1", "actor.password", "rule.definition", "true", "nil", "empty", "blank",
]  # fmt: skip
SHAPES = [
    "{{{{ {} }}}}",
    "{{% if {} %}}x{{% endif %}}",
    "{{% for x in {} %}}{{{{ x }}}}{{% endfor %}}",
    "{{% assign x = {} %}}{{{{ x }}}}",
    "${{{}}}",
    "<%= {} %>",
    "#{{{}}}",
]
DEEP = [
    "{{" * 499 + "x" * 15_000, "}}" * 499 + "{{" * 499 + "x" * 15_000, "{{" * 499 + "x" * 15_000 + "}}",
    "{%" * 499 + "x" * 15_000 + "%}", "{{ 'a" * 499 + "x" * 9_000 + "}}",
"{% if deal.title %}" * 500, "{{" * 5000, "{% case deal.title %}" * 50, "{{ deal.title }}" * 2000, "{% raw %}{{", "{% include 'x' %}", "{% render '/etc/passwd' %}",
        "{% extends 'base.html' %}", "{% layout 'x' %}", "{% comment %}" * 300, "{%- liquid\nassign x = 1 -%}", "{{ deal.title | upcase }}" * 1000, "{% unless false %}x{% endunless %}" * 500]  # fmt: skip
PAYLOADS = [shape.format(heart) for shape, heart in product(SHAPES, HEARTS)] + DEEP
NEW = "/dashboard/automations/new"
FIELDS = {"create_task": "title", "log_note": "body", "send_email": "html"}


def rule(kind: str, payload: str, number: int) -> dict[str, str]:
    settings = {"steps-0-kind": kind, f"steps-0-{FIELDS[kind]}": payload}
    if kind == "create_task":
        settings |= {"steps-0-due_in_days": "1", "steps-0-assign_to": "owner"}
    if kind == "send_email":
        settings |= {"steps-0-to": "address", "steps-0-address": "ana@x.example", "steps-0-subject": "Hello"}
    return {"name": f"P{number}", "trigger": "deal.won", "on_failure": "undo", "is_active": "y", **settings}


def texts_of(app: Flask, deal_id: int) -> list[str]:
    with owner_engine(app).connect() as connection:
        return [
            row[0]
            for query in (
                "SELECT title FROM tasks WHERE deal_id = :deal",
                "SELECT body FROM notes WHERE deal_id = :deal",
                "SELECT text FROM mail_messages WHERE record_type = 'deal' AND record_id = :deal",
                "SELECT html FROM mail_messages WHERE record_type = 'deal' AND record_id = :deal",
            )
            for row in connection.execute(text(query), {"deal": deal_id})
        ]


GROWING = {
    "tasks",
    "notes",
    "events",
    "event_links",
    "automations",
    "automation_steps",
    "automation_versions",
    "automation_runs",
    "deals",
    "search_words",
    "mail_messages",
    "jobs",
    "notifications",  # a rule that fails is told of
}
LEAKS = (
    "49",
    "7777777",
    "<class",
    "subclasses",
    "SECRET",
    "root:",
    "uid=",
    "password",
    "InstanceState",
    "Traceback",
)


def try_payload(app: Flask, team: Any, client: Any, kind: str, payload: str, number: int) -> list[str]:
    """Save a rule with `payload`, let it run on a won deal, switch it off; what it got hold of."""
    answer = client.post(NEW, data=rule(kind, payload, number))
    if answer.status_code == 422:
        return []
    if answer.status_code != 302:
        return [f"{payload[:80]!r}: {answer.status_code}"]
    with app.app_context(), acting_in(team.id):
        deal = make_deal(team.stages["Lead"], "Plain deal")
        move(deal, team.stages["Won"])
        deal_id = deal.id
        db.session.execute(
            text("UPDATE automations SET is_active = :no WHERE tenant_id = :t"), {"no": False, "t": team.id}
        )
        db.session.commit()
        db.session.remove()
    made = texts_of(app, deal_id)
    if any(one == payload.strip() for one in made):  # no merge field at all: text, as it was written
        return []
    return [f"{payload[:80]!r} gave {one[:80]!r}" for one in made for leak in LEAKS if leak in one]


@pytest.mark.proof(NAME)
@pytest.mark.parametrize("kind", FIELDS)
def test_no_text_gets_hold_of_more_than_its_fields(
    app: Flask, team: Any, owner: Any, proof: Any, kind: str
) -> None:
    if kind == "send_email":
        with app.app_context(), acting_in(team.id):
            make_account(587, host="smtp.x.example", security="starttls")
            db.session.remove()
    reader = owner_engine(app)
    before, problems = digest_of(reader, team.id), []
    assert len(PAYLOADS) >= 300
    step = 1 if proof.is_long else 6
    for number, payload in enumerate(PAYLOADS[::step]):
        problems += try_payload(app, team, owner, kind, payload, number)
        proof.cases += 1
    problems += [
        f"{name} changed" for name in changed(before, digest_of(reader, team.id)) if name not in GROWING
    ]
    proof.found = len(problems)
    assert not problems, "\n".join(problems)


@pytest.mark.proof(NAME)
def test_no_text_takes_long_or_grows(inside: Any, proof: Any) -> None:
    fields = {
        "deal": {"title": "x" * 200, "amount": "10.00", "currency": "EUR"},
        "rule": {"name": "R"},
        "actor": {"name": "A"},
    }
    for payload in PAYLOADS:
        tracemalloc.start()
        began = time.process_time()
        try:
            if not merge.problems(payload, "deal"):
                assert len(merge.render(payload, fields)) <= merge.MAX_OUTPUT
                assert len(merge.render(payload, fields, is_html=True)) <= merge.MAX_OUTPUT
            if not markup_check.problems(payload):
                assert "<" not in markup.filled(payload, fields).html
        except merge.MergeError:
            pass
        took, (_now, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        proof.cases += 1
        assert took < SECONDS * 4 and peak < BYTES, (
            payload[:80],
            took,
            peak,
        )  # traced memory makes it slower


@pytest.mark.control(NAME)
def test_a_language_with_attributes_is_found(
    app: Flask, team: Any, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: Jinja's sandbox in place of ours."""
    monkeypatch.setattr(merge, "problems", lambda *_args: [])
    monkeypatch.setattr(
        merge,
        "render",
        lambda source, fields, **_how: SandboxedEnvironment().from_string(source).render(**fields),
    )
    assert try_payload(app, team, owner, "log_note", "{{ 7*7 }}", 1)

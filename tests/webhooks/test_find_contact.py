"""The contact of a call: found by e-mail, else by a phone number that only one has, else made. Never merged."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.contacts.models import Contact
from soconnective.contacts.operations import Identity, create_contact
from soconnective.core.db import db, write_transaction
from soconnective.deals.models import DealContact
from soconnective.tasks.models import Task
from soconnective.timeline.models import Note
from soconnective.webhooks.hook_operations import create_hook, receive
from tests.factories.records import make_contact, make_rule

FIND = ("find_or_create_contact", {"email": "{{ webhook.email }}", "phone": "{{ webhook.phone }}", "last_name": "{{ webhook.name }}"})  # fmt: skip
PHONE = "+34 600 123 456"


@pytest.fixture
def call(inside: Any) -> Any:
    with write_transaction():
        hook, _token = create_hook("Form", mapping="email = email\nphone = phone\nname = name")

    def _call(**payload: Any) -> AutomationRun:
        with write_transaction():
            receive(hook, payload, "{}", None, None)
        return db.session.scalars(select(AutomationRun).order_by(AutomationRun.id.desc()).limit(1)).one()

    return _call


def contacts() -> list[str]:
    return [contact.name for contact in db.session.scalars(select(Contact).order_by(Contact.id))]


def test_what_follows_belongs_to_the_contact(inside: Any, call: Any) -> None:
    make_rule("webhook.received", [
        FIND, ("create_task", {"title": "Call {{ webhook.contact }}"}), ("log_note", {"body": "wrote"}),
        ("create_deal", {"title": "{{ webhook.contact }}", "stage_id": inside.stages["Lead"]}),
    ])  # fmt: skip
    ana = make_contact("Ana", "Ruiz", "ana@x.example", owner_id=inside.owner.id)
    run = call(email="ANA@x.example", name="Somebody Else")
    assert (run.outcome, run.detail) == (
        "succeeded",
        "contact found; task created; note logged; deal created",
    )
    assert contacts() == ["Ana Ruiz"]  # what it has is never overwritten
    task = db.session.scalars(select(Task)).one()
    assert (task.contact_id, task.title, task.assignee_id) == (ana.id, "Call Ana Ruiz", inside.owner.id)
    assert db.session.scalars(select(Note.contact_id)).one() == ana.id
    assert db.session.scalars(select(DealContact.contact_id)).one() == ana.id


def test_the_first_call_makes_it_and_the_next_finds_it(inside: Any, call: Any) -> None:
    make_rule("webhook.received", [FIND])
    assert call(email="bo@x.example").detail == "contact created"
    assert contacts() == ["bo@x.example"]
    assert call(email="bo@x.example", name="Bo Li", phone=PHONE).detail == "contact found"
    assert contacts() == ["Bo Li"]


def test_a_phone_number_tells_only_if_one_has_it_and_there_is_no_mail(inside: Any, call: Any) -> None:
    make_rule("webhook.received", [FIND])
    with write_transaction():
        create_contact("Ana", "Ruiz", identities=[Identity("phone", PHONE)])
    run = call(phone="+34600123456", name="X")
    assert run.detail == "contact found" and "phone number alone" in run.trace["steps"][0]["remarks"][0]
    run = call(phone="+34600123456", email="new@x.example", name="New One")
    assert run.detail == "contact created" and "nobody was merged" in run.trace["steps"][0]["remarks"][0]
    assert contacts() == ["Ana Ruiz", "New One"]
    run = call(phone=PHONE)
    assert run.outcome == "failed" and "2 contacts have this phone number" in run.detail


@pytest.mark.parametrize(
    ("payload", "said"),
    [({}, "neither an e-mail address nor a phone"), ({"email": "nonsense"}, "@-sign"), ({"phone": "call me"}, "phone number"),
     ({"email": "x" * 3000 + "@x.example"}, ""), ({"email": ["a@x.example"]}, "")],
)  # fmt: skip
def test_what_tells_nobody_fails_in_words_and_makes_nobody(
    inside: Any, call: Any, payload: Any, said: str
) -> None:
    make_rule("webhook.received", [FIND])
    run = call(**payload)
    assert run.outcome == "failed" and said in run.detail and contacts() == []


def test_a_bad_one_beside_a_good_one_is_remarked_on(inside: Any, call: Any) -> None:
    make_rule("webhook.received", [FIND])
    run = call(email="nonsense", phone=PHONE, name="Ana")
    assert run.detail == "contact created" and len(run.trace["steps"][0]["remarks"]) == 1


def test_where_it_makes_no_sense_it_is_refused_beside_its_field(inside: Any) -> None:
    assert build(
        "R", "deal.won", {}, [("find_or_create_contact", {"email": "{{ deal.title }}"})]
    ).problems() == [("0", "", "Only rules about a webhook that is received can look for its contact.")]
    assert [
        p[:2] for p in build("R", "webhook.received", {}, [("find_or_create_contact", {})]).problems()
    ] == [("0", "email")]
    assert [
        p[:2]
        for p in build(
            "R", "webhook.received", {}, [("find_or_create_contact", {"email": "{{ webhook.nothing }}"})]
        ).problems()
    ] == [("0", "email")]

"""The action *Send an e-mail*: to whom, with which text, and what it says when it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from soconnective.automation.contracts import Scope
from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import definition_of, set_active
from soconnective.automation.registry import action_types
from soconnective.contacts.operations import delete_contact
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.mail import SendEmail
from soconnective.mail.channels import addressees, channels
from soconnective.mail.templates import Known, create_template, delete_template, preview, update_template
from soconnective.tasks.operations import create_task
from tests.factories.records import make_company, make_contact, make_deal, make_rule, move
from tests.mail.conftest import mails

TEXT = {"subject": "About {{ deal.title }}", "body": "Hello {{ deal.contact }}"}


def rule(trigger: str = "deal.won", **settings: Any) -> Any:
    return make_rule(trigger, [("send_email", {"to": "contact", **TEXT, **settings})])


def last() -> AutomationRun:
    db.session.expire_all()
    run = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id.desc())).first()
    assert run is not None
    return run


def won(inside: Any, **values: Any) -> Any:
    deal = make_deal(inside.stages["Lead"], **values)
    move(deal, inside.stages["Won"])
    return deal


def template(**values: Any) -> Any:
    with write_transaction():
        return create_template(
            **{
                "name": "Welcome",
                "record_type": "deal",
                "subject": "Hi {{ deal.title }}",
                "body": "B",
                **values,
            }
        )


def test_email_is_the_first_channel_and_makes_the_action(inside: Any) -> None:
    assert list(channels()) == ["email"] and action_types()["send_email"] is SendEmail
    assert (SendEmail.label, SendEmail.icon, SendEmail.type_id) == ("Send an e-mail", "mail", "send_email")
    for kind in ("contact", "deal", "task", "appointment", "note"):
        assert addressees(Scope(kind)) == {"contact": "the contact"}
    assert addressees(Scope("company")) == {} == addressees(Scope("contact", is_gone=True))
    assert addressees(Scope("deal", is_gone=True)) == {"contact": "the contact"}


def test_to_the_contact_of_a_deal_at_the_first_address(inside: Any, account: Any) -> None:
    one = rule()
    contact = make_contact("Ana", "Ruiz", "Ana@X.example")
    deal = won(inside, contact_ids=[contact.id])
    (mail,) = mails()
    assert (mail.to_address, mail.to_name, mail.subject) == ("ana@x.example", "Ana Ruiz", "About Roll-out")
    assert (mail.text, mail.record_type, mail.record_id) == ("Hello Ana Ruiz", "deal", deal.id)
    assert (mail.addressee_type, mail.addressee_id) == ("contact", contact.id)
    assert (
        definition_of(one).sentence()
        == "When a deal is won → send e-mail “About {{ deal.title }}” with text “Hello {{ deal.contact }}” to the contact"
    )


def test_to_the_owner_and_to_a_fixed_address(inside: Any, account: Any) -> None:
    rule(to="owner")
    rule(to="address", address="{{ deal.source }}")
    won(inside, owner_id=inside.admin.id, source="desk@x.example")
    assert [(m.to_address, m.to_name, m.addressee_type) for m in mails()] == [
        ("admin@acme.example", "Acme admin", None), ("desk@x.example", "", None)
    ]  # fmt: skip


def test_a_task_reaches_its_contact(inside: Any, account: Any) -> None:
    rule("task.created", subject="{{ task.title }}", body="x")
    contact = make_contact("Ana", "Ruiz", "ana@x.example")
    with write_transaction():
        create_task("Call", contact_id=contact.id)
    assert [m.to_address for m in mails()] == ["ana@x.example"]


FAILS = [
    ({}, {}, "The deal has no contact."),
    ({}, {"contact": None}, "Ana Ruiz has no e-mail address."),
    ({"to": "owner"}, {}, "The deal has no owner."),
    ({"to": "address", "address": "{{ deal.source }}"}, {}, "There is no address."),
    ({"to": "address", "address": "{{ deal.source }}"}, {"source": "a, b"}, "“a, b” is not a mail address"),
    ({"to": "address", "address": "x@x.example", "subject": "{{ deal.source }}"}, {}, "The subject is empty once"),
    ({"to": "address", "address": "x@x.example", "body": "{{ deal.source }}"}, {}, "The text is empty once"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "values", "said"), FAILS)
def test_what_cannot_be_sent_fails_in_words(
    inside: Any, account: Any, settings: Any, values: dict[str, Any], said: str
) -> None:
    rule(**settings)
    if "contact" in values:
        values = {"contact_ids": [make_contact("Ana", "Ruiz", values["contact"]).id]}
    deal = won(inside, **values)
    assert last().outcome == "failed" and last().detail.startswith(f"step 1 failed: {said}")
    assert deal.status == "won" and not mails()


WRONG = [
    ({"to": "company"}, "to"), ({"to": "user"}, "to"), ({"to": "address"}, "address"),
    ({"to": "address", "address": "no address"}, "address"), ({"to": "address", "address": "{{ deal.nothing }}"}, "address"),
    ({"to": "address", "address": "a@x.example,b@x.example"}, "address"), ({"subject": None}, "subject"),
    ({"body": None}, "body"), ({"subject": "{{ deal.secret }}"}, "subject"), ({"body": "{% for a in b %}{% endfor %}"}, "body"),
    ({"template_id": 77}, "template_id"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "field"), WRONG)
def test_what_makes_no_sense_is_refused_beside_its_field(inside: Any, settings: Any, field: str) -> None:
    with pytest.raises(Refused) as refused:
        rule(**settings)
    assert refused.value.field == f"steps-0-{field}"


def test_who_is_deleted_cannot_be_written_to(inside: Any, account: Any) -> None:
    with pytest.raises(Refused, match="Who is deleted cannot be written to"):
        rule("contact.deleted", subject="s", body="b")
    rule(
        "contact.deleted",
        to="address",
        address="desk@x.example",
        subject="Bye {{ contact.first_name }}",
        body="b",
    )
    contact = make_contact("Ana", "Ruiz", "ana@x.example")
    with write_transaction():
        delete_contact(contact)
    assert [(m.to_address, m.subject) for m in mails()] == [("desk@x.example", "Bye Ana")]


def test_a_company_has_no_address(inside: Any, account: Any) -> None:
    with pytest.raises(Refused, match="cannot reach them"):
        rule("company.created", subject="s", body="b")
    rule("company.created", to="owner", subject="{{ company.name }}", body="b")
    make_company(owner_id=inside.owner.id)
    assert [m.subject for m in mails()] == ["Initech"]


def test_a_template_is_referred_to_and_its_last_text_sent(inside: Any, account: Any) -> None:
    made = template()
    one = rule(template_id=made.id, subject=None, body=None)
    assert definition_of(one).sentence().endswith("send e-mail from template “Welcome” to the contact")
    contact = make_contact("Ana", "Ruiz", "ana@x.example")
    won(inside, contact_ids=[contact.id])
    with write_transaction():
        update_template(made, name="Welcome", record_type="deal", subject="New {{ deal.title }}", body="C")
    won(inside, contact_ids=[contact.id])
    assert [(m.subject, m.text) for m in mails()] == [("Hi Roll-out", "B"), ("New Roll-out", "C")]


def test_a_deleted_template_breaks_its_rule(inside: Any, account: Any) -> None:
    made = template()
    one = rule(template_id=made.id, subject=None, body=None)
    with write_transaction():
        delete_template(made)
    assert definition_of(one).broken == "The template does not exist any more. Choose another one."
    assert "⚠ that is gone" in definition_of(one).sentence()
    won(inside, contact_ids=[make_contact("Ana", "Ruiz", "ana@x.example").id])
    assert last().outcome == "failed" and "The template does not exist any more" in last().detail
    with write_transaction():
        set_active(one, False)
    with pytest.raises(Refused):
        set_active(one, True)
    db.session.rollback()


def test_a_template_of_another_kind_or_workspace_is_refused(inside: Any, rivals: Any) -> None:
    made = template(record_type="contact", subject="{{ contact.name }}")
    with pytest.raises(Refused, match="for another kind of record"):
        rule(template_id=made.id)
    with acting_in(rivals.id):
        theirs = template().id
    definition = build("x", "deal.won", {}, [("send_email", {"to": "contact", "template_id": theirs})])
    assert definition.problems()[0][1:] == (
        "template_id",
        "The template does not exist any more. Choose another one.",
    )


@pytest.mark.parametrize(("values", "field"), [({"subject": "{{ contact.x }}"}, "subject"), ({"body": "{{"}, "body"), ({"name": "Welcome"}, "name")])  # fmt: skip
def test_templates_are_checked(inside: Any, values: dict[str, str], field: str) -> None:
    template()
    with pytest.raises(Refused) as refused:
        template(**{"name": "Other", **values})
    assert refused.value.field == field


def test_a_preview_has_the_newest_record_or_the_names_of_the_fields(inside: Any) -> None:
    assert preview(Known("", "deal", "{{ deal.title }}", "{{ rule.name }}")).subject == "[title]"
    make_deal(inside.stages["Lead"], "First")
    make_deal(inside.stages["Lead"], "Newest")
    shown = preview(
        Known("", "deal", "{{ deal.title }}", "{{ deal.stage }} {{ deal.source | default: '–' }}")
    )
    assert (shown.subject, shown.text, shown.record) == ("Newest", "Lead –", "Newest")
    db.session.rollback()

"""What rules as text say of other things: the rules, templates and endpoints they name, marks of steps, the shadow."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from soconnective.automation.definition import build
from soconnective.automation.models import Automation
from soconnective.automation.operations import create_automation, definition_of, update_automation
from soconnective.automation.plan import apply, export_rules, plan
from soconnective.automation.text import BadText, read_rules
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.mail.templates import create_template
from soconnective.webhooks.operations import create_endpoint
from tests.automation.test_rules_as_text import fill


def fill_with_names(team: Any) -> None:
    """The same, and rules that name a rule, a template and an endpoint."""
    fill(team)
    with write_transaction():
        target = create_automation(
            build("Startable", "deal.rule_started", {}, [("log_note", {"body": "x"})]), is_active=True
        )
        mail = create_template(name="Hello", record_type="deal", subject="Hi", body="Hello")
        endpoint = create_endpoint("Billing", "https://billing.example/hook")
        create_automation(
            build("Names others", "deal.won", {}, [
                ("start_rule", {"rule_id": target.id}),
                ("send_email", {"to": "owner", "template_id": mail.id}),
                ("call_webhook", {"endpoint_id": endpoint.id}),
            ]))  # fmt: skip


def test_what_rules_name_of_others_has_a_name_in_text(inside: Any) -> None:
    fill_with_names(inside)
    text = export_rules().text
    for part in ('rule = "startable"', 'template = "Hello"', 'endpoint = "Billing"'):
        assert part in text, (part, text)
    assert "_id" not in text and not plan(text).has_changes


def test_new_rules_of_a_text_may_name_each_other_and_themselves(inside: Any, rivals: Any) -> None:
    steps = [
        ("start_rule", {"rule_id": 0}),
        ("cancel_waiting", {"rule_id": 0}),
        ("create_task", {"title": "x", "due_in_days": 1}),
    ]
    with write_transaction():
        names = ["First", "Second"]
        made = [
            create_automation(build(name, "deal.rule_started", {}, steps[2:]), is_active=True)
            for name in names
        ]
        for rule, other in zip(made, reversed(made), strict=True):
            named = [
                ("start_rule", {"rule_id": other.id}),
                ("cancel_waiting", {"rule_id": rule.id}),
                steps[2],
            ]
            update_automation(rule, build(rule.name, rule.trigger, {}, named))
    text = export_rules().text
    db.session.rollback()
    with acting_in(rivals.id):
        elsewhere = text.replace("rules of Acme", "rules of Globex")
        said = plan(elsewhere)
        assert "start rule “Second”" in said.changes[0].after
        with write_transaction():
            apply(elsewhere)
        first, second = db.session.scalars(select(Automation).order_by(Automation.id))
        assert [step.settings.rule_id for step in definition_of(first).steps[:2]] == [second.id, first.id]
        assert first.is_active and export_rules().text == elsewhere and not plan(elsewhere).has_changes
        db.session.rollback()


def test_marks_of_steps_and_the_shadow_are_in_the_text(inside: Any) -> None:
    fill(inside)
    text = export_rules().text
    assert 'do = "log_note"\noff = true\nnote = """\nNot "before" May\nsays Ana"""\n' in text
    assert "active = false\nshadow = true\n" in text
    changed = text.replace("active = false\nshadow = true", "active = false")
    assert [c.notes for c in plan(changed).changes if c.is_change] == [["switched off"]]
    with write_transaction():
        apply(changed)
        assert [rule.state for rule in db.session.scalars(select(Automation))] == ["on", "off"]
        apply(text)
        assert [rule.state for rule in db.session.scalars(select(Automation))] == ["on", "shadow"]
    with pytest.raises(BadText, match="active or in the shadow"):
        read_rules(text.replace("active = false", "active = true"))
    with pytest.raises(BadText, match="off is true or false"):
        read_rules(text.replace("off = true", "off = 1"))

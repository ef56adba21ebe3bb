"""Rules that send HTML and make deals from fields, as text and back."""

from __future__ import annotations

from typing import Any

from soconnective.automation.plan import apply, export_rules, plan
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from tests.factories.records import make_rule
from tests.mail.test_html_mail import HTML


def test_html_and_fields_come_back_as_they_were(inside: Any, rivals: Any) -> None:
    make_rule("contact.created", [("send_email", {"to": "contact", "subject": "Hi", "html": HTML + "\n<p>Second line</p>"})], "Greets")  # fmt: skip
    make_rule("deal.won", [("create_deal", {"title": "Again", "stage_id": inside.stages["Lead"], "amount_from": "{{ deal.amount }}", "close_from": "2027-01-31"})], "Renews")  # fmt: skip
    text = export_rules().text
    assert "Second line" in text and "{{ deal.amount }}" in text and not plan(text).has_changes
    db.session.rollback()
    with acting_in(rivals.id):
        elsewhere = text.replace("rules of Acme", "rules of Globex")
        with write_transaction():
            apply(elsewhere)
        assert export_rules().text == elsewhere and not plan(elsewhere).has_changes
        db.session.rollback()

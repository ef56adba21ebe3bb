"""Amounts in cents and times in Unix seconds: read as people write them, and in words where they cannot be."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from soconnective.automation.models import AutomationRun
from soconnective.core.db import db, write_transaction
from soconnective.deals.models import Deal
from soconnective.webhooks.hook_operations import create_hook, receive
from soconnective.webhooks.mapping import mapped, mapping_text, parse_mapping
from tests.factories.records import make_rule

TEXT = "total = order.total in cents\ndue = order.due in unix seconds\nplain = order.total"


@pytest.mark.parametrize(
    ("total", "wanted"),
    [(1250, "12.50"), ("5", "0.05"), (0, "0.00"), (1250.0, "12.50"), (-5, "-0.05"), (None, None), ("", ""),
     (12.5, "12.5 is not a whole number of cents"), ("12.50", "12.50 is not a whole number of cents"), (True, "true is not a whole number of cents"),
     ({"a": 1}, "an object is not a whole number of cents"), ([], "a list is not a whole number of cents"), ("²", "² is not a whole number of cents"),
     (float("inf"), "inf is not a whole number of cents"), ("9" * 3000, "9" * 19 + "… is not a whole number of cents")],
)  # fmt: skip
def test_an_amount_in_cents(total: Any, wanted: str | None) -> None:
    assert mapped({"total": total}, parse_mapping("total = total in cents"))["total"] == wanted


@pytest.mark.parametrize(
    ("due", "wanted"),
    [(1796117400, "2026-12-01T09:30:00+00:00"), ("0", "1970-01-01T00:00:00+00:00"), (-1, "1969-12-31T23:59:59+00:00"),
     (1796117400000, "1796117400000 is not a time in seconds"), (10**15 - 1, "999999999999999 is not a time in seconds"), ("soon", "soon is not a whole number of seconds")],
)  # fmt: skip
def test_a_time_in_seconds(due: Any, wanted: str) -> None:
    assert mapped({"due": due}, parse_mapping("due = due in Unix seconds"))["due"] == wanted


def test_the_lines_are_written_as_they_were_read() -> None:
    mapping = parse_mapping(TEXT)
    assert mapping == [
        ["total", "order.total", "cents"],
        ["due", "order.due", "unix seconds"],
        ["plain", "order.total"],
    ]
    assert mapping_text(mapping) == TEXT


def test_a_deal_is_made_of_them_or_its_run_says_why_not(inside: Any, owner: Any) -> None:
    with write_transaction():
        hook, _token = create_hook("Shop", mapping=TEXT)
    step = {"title": "Order", "stage_id": inside.stages["Lead"], "amount_from": "{{ webhook.total }}", "close_from": "{{ webhook.due }}"}  # fmt: skip
    make_rule("webhook.received", [("create_deal", step)])
    for order in ({"total": 1250, "due": 1796117400}, {"total": 12.5}, {"due": "soon"}):
        with write_transaction():
            receive(hook, {"order": order}, "{}", None, None)
    (deal,) = db.session.scalars(select(Deal)).all()
    assert (deal.amount, deal.expected_close_on) == (Decimal("12.50"), date(2026, 12, 1))
    runs = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)).all()
    assert [run.outcome for run in runs] == ["succeeded", "failed", "failed"]
    assert "amount cannot be read: “12.5 is not a whole number of cents”" in runs[1].detail
    assert "closing date cannot be read: “soon is not a whole number of seconds”" in runs[2].detail
    hook_id = hook.id
    db.session.rollback()
    page = owner.get(f"/dashboard/settings/webhooks/hooks/{hook_id}").text
    assert "amount in cents" in page and "time in Unix seconds" in page
    assert (
        "total = order.total in cents" in owner.get(f"/dashboard/settings/webhooks/hooks/{hook_id}/edit").text
    )

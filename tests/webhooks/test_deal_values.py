"""A webhook that makes a deal: its amount, currency, closing date and source come from the call, or the run says why not."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import definition_of
from soconnective.core.db import db, write_transaction
from soconnective.core.foreign import read_amount, read_currency, read_day, read_number
from soconnective.deals.models import Deal
from soconnective.webhooks.hook_operations import create_hook, receive
from tests.factories.records import make_rule

MAPPING = "total = order.total\ncurrency = order.currency\ndue = order.due\nshop = shop"
FROM = {"amount_from": "{{ webhook.total }}", "currency_from": "{{ webhook.currency }}", "close_from": "{{ webhook.due }}", "source_from": "{{ webhook.shop }}"}  # fmt: skip


@pytest.fixture
def order(inside: Any) -> Any:
    with write_transaction():
        hook, _token = create_hook("Shop", mapping=MAPPING)

    def _order(shop: Any = "Web", **values: Any) -> AutomationRun:
        with write_transaction():
            receive(hook, {"shop": shop, "order": values}, "{}", None, None)
        return db.session.scalars(select(AutomationRun).order_by(AutomationRun.id.desc()).limit(1)).one()

    return _order


def step(team: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("create_deal", {"title": "Order", "stage_id": team.stages["Lead"], **FROM, **more})


def deals() -> list[Deal]:
    return list(db.session.scalars(select(Deal).order_by(Deal.id)))


def test_the_deal_has_what_the_call_says(inside: Any, order: Any) -> None:
    rule = make_rule("webhook.received", [step(inside)])
    assert (
        definition_of(rule)
        .sentence()
        .endswith(
            "create deal “Order” in Lead, with amount “{{ webhook.total }}”, currency “{{ webhook.currency }}”, "
            "closing date “{{ webhook.due }}”, source “{{ webhook.shop }}”"
        )
    )
    assert order(total=1250.5, currency="usd", due="2026-12-01").outcome == "succeeded"
    (deal,) = deals()
    assert (deal.amount, deal.currency, deal.expected_close_on, deal.source) == (
        Decimal("1250.50"), "USD", date(2026, 12, 1), "Web",
    )  # fmt: skip
    run = order(total=None, shop="x" * 500)
    assert run.outcome == "succeeded" and deals()[1].amount is None and deals()[1].source == "x" * 80
    assert run.trace["steps"][0]["remarks"][-3:] == [
        "no amount: “{{ webhook.total }}” was empty", "no currency: “{{ webhook.currency }}” was empty",
        "no closing date: “{{ webhook.due }}” was empty",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "said"),
    [({"total": "a lot"}, "amount cannot be read: “a lot” is no number"), ({"total": -5}, "not between 0 and"), ({"total": "1,250"}, "read in two ways"),
     ({"total": 1019.999}, "two decimals"), ({"total": 1e300}, "is no number"), ({"total": {"x": 1}}, "is no number"), ({"total": True}, "is no number"), ({"total": "²"}, "is no number"),
     ({"total": "9" * 2000}, "is no number"), ({"currency": "EURO"}, "is no currency"), ({"due": "tomorrow"}, "is no date"), ({"due": "2026-02-30"}, "is no date"),
     ({"due": "12/01/2026"}, "is no date"), ({"due": "9999-12-31"}, "between 1900 and 2199"), ({"due": "9999-12-31T23:59:59-14:00"}, "is no date"), ({"due": 20261201}, "is no date")],
)  # fmt: skip
def test_what_does_not_read_fails_the_run_in_words(
    inside: Any, order: Any, values: dict[str, Any], said: str
) -> None:
    make_rule("webhook.received", [step(inside)])
    run = order(**values)
    assert (run.outcome, deals()) == ("failed", []) and said in run.detail, run.detail


def test_a_call_with_nonsense_is_taken_and_no_error(app: Flask, team: Any, inside: Any, client: Any) -> None:
    with write_transaction():
        _hook, token = create_hook("Shop", mapping=MAPPING)
    make_rule("webhook.received", [step(inside)])
    for total in ("1.2.3", [], "NaN", "1e999", "\ud800", "0x10", "٣"):
        assert client.post(f"/hooks/{token}", json={"order": {"total": total}}).status_code == 202
    db.session.rollback()
    db.session.expire_all()
    runs = db.session.scalars(select(AutomationRun)).all()
    assert [run.outcome for run in runs].count("failed") == 7


def test_what_never_reads_is_refused_beside_its_field(inside: Any) -> None:
    for change, field in (
        ({"amount_from": "{{ webhook.nothing }}"}, "amount_from"), ({"amount": Decimal(1)}, "amount_from"), ({"currency_from": "EURO"}, "currency_from"),
        ({"close_from": "soon"}, "close_from"), ({"amount_from": "x"}, "amount_from"), ({"source_from": "{{ x"}, "source_from"),
    ):  # fmt: skip
        only = {**dict.fromkeys(FROM), **({"amount_from": "12"} if "amount" in change else {}), **change}
        found = build("R", "webhook.received", {}, [step(inside, **only)]).problems()
        assert [(path, name) for path, name, _said in found] == [("0", field)], change


@pytest.mark.parametrize(
    ("text", "number"),
    [("1250", "1250"), ("1250.5", "1250.5"), ("1250,5", "1250.5"), ("1,250.50", "1250.50"), ("1.250,50", "1250.50"), ("1 250,50", "1250.50"), ("1\u202f250", "1250"),
     ("1’250.00", "1250.00"), ("1.250.000", "1250000"), ("1,250,000.5", "1250000.5"), ("0.125", "0.125"), ("-3", "-3"), ("+3.5", "3.5"), ("1250.125", "1250.125"),
     ("1,250", None), ("1.250", None), ("", None), (".5", None), ("5.", None), ("1,25,0", None), ("1.250,500,00", None), ("12 EUR", None), ("€5", None), ("1e3", None), ("٣", None)],
)  # fmt: skip
def test_numbers_as_others_write_them(text: str, number: str | None) -> None:
    if number is None:
        with pytest.raises(ValueError, match=r"no number|two ways"):
            read_number(text)
    else:
        assert read_number(text) == Decimal(number)


def test_what_binary_adding_leaves_over_is_no_third_decimal() -> None:
    assert read_amount("59.970000000000006") == Decimal("59.97") and read_amount(
        "0.30000000000000004"
    ) == Decimal("0.30")
    assert read_currency(" eur ") == "EUR"


@pytest.mark.parametrize(
    ("text", "day"),
    [("2026-12-01", date(2026, 12, 1)), ("2026-12-01T23:30:00Z", date(2026, 12, 2)), ("2026-12-01T23:30:00", date(2026, 12, 1)), ("1.12.2026", date(2026, 12, 1)),
     ("2026-12-01 10:00:00+00:00", date(2026, 12, 1))],
)  # fmt: skip
def test_days_in_the_zone_of_the_workspace(
    inside: Any, text: str, day: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soconnective.core.foreign.zone", lambda: "Europe/Madrid")
    assert read_day(text) == day


@given(
    st.text(max_size=40)
    | st.from_regex(r"[+-]?[0-9., ]{1,20}", fullmatch=True)
    | st.from_regex(r"[0-9-]{8,12}T?[0-9:+Z.]*", fullmatch=True)
)
def test_whatever_comes_is_read_or_refused_in_words(text: str) -> None:
    for read in (read_number, read_amount, read_currency, read_day):
        said = ""
        try:
            read(text)
        except ValueError as error:
            said = str(error)
        assert not said or "“" in said

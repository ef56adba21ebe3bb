"""Fields, formats, cursors and moments: what they make of the odd value."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError, StatementError
from werkzeug.datastructures import MultiDict
from wtforms import Form

from soconnective.accounts.operations import set_member_status
from soconnective.accounts.queries import membership_in
from soconnective.automation.models import AutomationRun
from soconnective.core import db as database
from soconnective.core import fields, formats, listing, once
from soconnective.core.db import db, write_transaction
from soconnective.core.fields import AmountField, IdsField, PersonField
from soconnective.deals.models import Deal
from tests.factories.records import make_deal


class Some(Form):
    ids = IdsField("Some")
    person = PersonField("Person")
    amount = AmountField("Amount")


def _errors(**values: Any) -> dict[str, Any]:
    form = Some(MultiDict([(key, one) for key, many in values.items() for one in many]))
    form.ids.offer([(number, str(number)) for number in range(1, 400)])
    form.person.offer_people(keep=None)
    form.validate()
    return {name: list(found) for name, found in form.errors.items() if found}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ids": ["1", "2"]}, {}),
        ({"ids": ["1", "400"]}, {"ids": ["Choose from the list."]}),
        (
            {"ids": [str(n) for n in range(1, fields.MOST_CHOSEN + 2)]},
            {"ids": [f"Choose {fields.MOST_CHOSEN} at most."]},
        ),
        ({"amount": ["12.5"]}, {}),
        ({"amount": ["12.345"]}, {"amount": ["Two decimals at most."]}),
        ({"amount": ["-1"]}, {"amount": ["Write an amount between 0 and 999,999,999,999.99."]}),
    ],
)
def test_what_fields_say(inside: Any, values: Any, expected: Any) -> None:
    assert _errors(**values) == expected


def test_somebody_who_left_is_offered_only_where_they_stand(inside: Any) -> None:
    with write_transaction():
        membership = membership_in(inside.id, inside.member.id)
        assert membership is not None
        set_member_status(membership, "disabled", "owner")
    form = Some()
    form.person.offer_people()
    assert inside.member.name not in str(form.person.choices)
    form.person.offer_people(keep=inside.member.id)
    assert f"{inside.member.name} (no longer active)" in str(form.person.choices)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 11, 24, 3, tzinfo=UTC), "2026-11-24T03:00:00+00:00"),
        (date(2026, 11, 24), "2026-11-24"),
        ("2026-11-24", "2026-11-24"),
        (None, ""),
    ],
)
def test_iso(value: Any, expected: str) -> None:
    assert formats.iso(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 11, 24, 23, 30, tzinfo=UTC), "Wed 25 Nov 2026"),  # in Madrid it is the next day
        ("2026-11-24T23:30:00+00:00", "Wed 25 Nov 2026"),
        ("2026-11-24", "Tue 24 Nov 2026"),
        (date(2026, 11, 24), "Tue 24 Nov 2026"),
        (None, ""),
    ],
)
def test_days_are_those_of_the_workspace(inside: Any, value: Any, expected: str) -> None:
    assert formats.date_text(value) == expected


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (datetime, "2026-11-24T03:00:00"),
        (datetime, "soon"),
        (date, "2026-02-30"),
        (Decimal, "NaN"),
        (Decimal, "much"),
        (int, True),
        (int, "1"),
        (int, 2**70),
        (str, 1),
    ],
)
def test_a_cursor_of_another_type_is_refused(kind: type, bad: Any) -> None:
    with pytest.raises((TypeError, ValueError, ArithmeticError)):
        listing._typed(bad, kind)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (datetime, "2026-11-24T03:00:00+00:00", datetime(2026, 11, 24, 3, tzinfo=UTC)),
        (date, "2026-11-24", date(2026, 11, 24)),
        (Decimal, "12.50", Decimal("12.5")),
        (int, 7, 7),
        (str, "a", "a"),
        (str, None, None),
    ],
)
def test_a_cursor_reads_back(kind: type, text: Any, value: Any) -> None:
    assert listing._typed(text, kind) == value


@pytest.mark.parametrize("held", [["a\x00b", 1], ["a", True], ["a", "1"], ["a", 2**63], ["a"], 7])
def test_a_cursor_that_nobody_wrote_is_the_first_page(held: Any) -> None:
    text = base64.urlsafe_b64encode(json.dumps(held).encode()).decode().rstrip("=")
    assert listing._decode(text) is None


def test_a_cursor_for_another_column_is_the_first_page(inside: Any, owner: Any) -> None:
    make_deal(inside.stages["Lead"], "Roll-out")
    text = base64.urlsafe_b64encode(b'["no amount", 1]').decode().rstrip("=")
    page = owner.get(f"/dashboard/deals?sort=amount&after={text}")
    assert page.status_code == 200 and "Roll-out" in page.text


def test_a_moment_needs_a_time_zone(inside: Any) -> None:
    with pytest.raises(StatementError, match="a moment needs a time zone"):
        db.session.query(AutomationRun).filter(AutomationRun.started_at > datetime(2026, 1, 1)).all()


def test_an_error_that_is_no_clash_is_not_hidden_by_a_form(
    app: Flask, inside: Any, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("soconnective.contacts.operations.create_company", fail)
    with pytest.raises(ZeroDivisionError):
        owner.post("/dashboard/companies/new", data={"name": "Acme"})


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    app: Flask, team: Any, owner: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise SQLAlchemyError("planted")

    monkeypatch.setattr(once, "delete", fail)
    data = {"name": "Acme", "form_key": "k" * 32}
    answer = owner.post("/dashboard/companies/new", data=data)
    assert answer.status_code == 302
    assert "could not be kept" in caplog.text


def test_a_function_is_called_once_before_a_commit_however_often_it_is_registered() -> None:
    count = len(database._before_outermost_commit)
    first = database._before_outermost_commit[0]
    assert database.before_outermost_commit(first) is first
    assert len(database._before_outermost_commit) == count


def test_changes_and_deletions_after_a_hidden_failure_are_forgotten(inside: Any) -> None:
    """What was changed or deleted in memory but never flushed goes with the savepoint that died."""
    changed, gone = make_deal(inside.stages["Lead"], "Changed"), make_deal(inside.stages["Lead"], "Gone")
    with write_transaction(), db.session.no_autoflush:
        names = (changed.title, gone.title)
        changed.title = "Other"
        db.session.delete(gone)
        database._forget_unsaved(db.session())
        assert not db.session.dirty and not db.session.deleted
    db.session.expire_all()
    assert tuple(db.session.get_one(Deal, deal.id).title for deal in (changed, gone)) == names

"""Asking before a record is deleted, and what a form does when its operation fails in a way that nobody foresaw."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm.exc import StaleDataError

from soconnective.contacts.models import Company
from soconnective.contacts.operations import create_company
from soconnective.core.conditions import Test as Condition
from soconnective.core.conditions import fields_of
from soconnective.core.conditions.tree import problem
from soconnective.core.db import db, write_transaction
from soconnective.core.forms import RecordForm
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.deals.operations import update_deal
from soconnective.tasks.models import Task
from soconnective.tasks.operations import create_task
from tests.factories.records import make_deal


def test_the_page_says_what_becomes_of_what_hangs_on_it_and_deletes_when_told(
    app: Flask, team: Any, owner: FlaskClient, version: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        deal = make_deal(team.stages["Lead"], "Roll-out").id
        with write_transaction():
            made = create_task("Call", deal_id=deal)
        task = made.id
        db.session.rollback()
    url = f"/dashboard/deals/{deal}/delete"
    page = owner.get(url)
    assert page.status_code == 200 and "Roll-out" in page.text and "task" in page.text.lower()
    asked = version(owner, url)
    with app.app_context(), acting_in(team.id), write_transaction():
        update_deal(db.session.get_one(Deal, deal), title="Renamed meanwhile")
    late = owner.post(url, data={"version": asked})
    assert late.status_code == 409
    with app.app_context(), acting_in(team.id):
        assert db.session.get(Deal, deal) is not None
        db.session.rollback()
    gone = owner.post(url, data={"version": version(owner, url)})
    assert gone.status_code == 302 and "Renamed meanwhile was deleted" in owner.get(gone.location).text
    with app.app_context(), acting_in(team.id):
        assert db.session.get(Deal, deal) is None and db.session.get_one(Task, task).deal_id is None
        db.session.rollback()


@pytest.mark.parametrize(
    ("error", "status"), [(StaleDataError("somebody was first"), 409), (KeyError("x"), None)]
)
def test_a_clash_is_answered_and_any_other_failure_is_loud_and_nothing_of_either_is_saved(
    app: Flask, inside: Any, error: Exception, status: int | None
) -> None:
    app.config["WTF_CSRF_ENABLED"] = False

    def operation() -> None:
        create_company("Never")
        db.session.flush()
        raise error

    with app.test_request_context("/", method="POST", data={"x": "1"}):
        form = RecordForm()
        if status is None:
            with pytest.raises(KeyError):
                form.saved(operation)
        else:
            assert not form.saved(operation) and form.status == status
            assert form.form_problem and "Save again" in form.form_problem
    assert db.session.query(Company).count() == 0


def test_a_form_that_stands_in_no_workspace_carries_none(app: Flask) -> None:
    with app.test_request_context("/"):
        assert RecordForm().workspace.data is None


@pytest.mark.parametrize(
    ("field", "operator", "value", "said"),
    [
        ("expected_close_on", "last_days", "1000000", "number of days"),
        ("amount", "between", ["1"], "Write both ends."),
        ("amount", "between", ["5", "1"], "The first must not be more"),
        ("amount", "between", ["1", "5"], None),
    ],
)
def test_a_condition_with_half_an_answer_says_what_is_missing(
    app: Flask, inside: Any, field: str, operator: str, value: Any, said: str | None
) -> None:
    found = problem(Condition(field=field, operator=operator, value=value), fields_of("deal"), True)
    assert found is None if said is None else said in str(found)

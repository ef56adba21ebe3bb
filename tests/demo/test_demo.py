"""The demo is made by the real operations and goes away whole, and only it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from soconnective import demo
from soconnective.accounts import operations, queries
from soconnective.accounts.models import User
from soconnective.automation.models import AutomationRun
from soconnective.contacts.models import Company, Contact
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.model import Base
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.demo.names import PEOPLE
from soconnective.events import EventRow
from soconnective.tasks.models import Task
from tests.workspaces import PASSWORD

PAGE = "/dashboard/settings/demo"


@pytest.fixture
def made(app: Flask) -> Flask:
    with app.app_context():
        demo.make()
    return app


def sign_in(app: Flask, email: str, password: str = "demo-password") -> Any:
    client = app.test_client()
    assert client.post("/login", data={"email": email, "password": password}).status_code == 302
    return client


def test_it_holds_what_is_promised_and_its_history_lies_behind_us_in_order(made: Flask) -> None:
    with made.app_context():
        acme, globex = queries.all_tenants()
        with acting_in(acme.id):
            count = {
                m: db.session.scalar(select(func.count()).select_from(m)) for m in (Company, Contact, Deal)
            }
            assert count == {Company: 40, Contact: 120, Deal: 60}
            outcomes = set(db.session.scalars(select(AutomationRun.outcome)))
            assert {"succeeded", "not_matched"} <= outcomes
        with acting_in(globex.id):
            assert 0 < (db.session.scalar(select(func.count()).select_from(Contact)) or 0) < 40
        with acting_in(acme.id):
            moments = list(db.session.scalars(select(EventRow.occurred_at).order_by(EventRow.id)))
            assert moments == sorted(moments) and moments[-1] <= clock.now()
            assert (moments[-1] - moments[0]).days > 90
            runs = list(db.session.scalars(select(AutomationRun.outcome)))
            assert runs.count("succeeded") > 100 and "failed" not in runs
            overdue = (
                select(func.count())
                .select_from(Task)
                .where(Task.status == "open", Task.due_on < clock.now().date())
            )
            assert 2 < (db.session.scalar(overdue) or 0) < 30


def test_the_owner_and_nobody_else_removes_it_with_one_button_and_sets_up(made: Flask) -> None:
    for role in ("admin", "member", "viewer"):
        other = sign_in(made, PEOPLE[role][0])
        assert other.get(PAGE).status_code == other.post(PAGE).status_code == 403
        assert PAGE not in other.get("/dashboard/settings").text
    client = sign_in(made, "owner@acme.example")
    assert PAGE in client.get("/dashboard/settings").text
    page = client.get(PAGE).text
    assert "Acme</strong>, with 120 contacts" in page and "Globex" in page
    assert client.post(PAGE).headers["Location"] == "/setup"
    with made.app_context():
        engine_tables = [t for t in Base.metadata.sorted_tables if t.name != "rate_windows"]
        left = {
            t.name: db.session.connection().scalar(select(func.count()).select_from(t)) for t in engine_tables
        }
        assert not any(left.values()), left
    assert client.get("/dashboard").headers["Location"] == "/setup"
    assert client.get("/setup").status_code == 200
    assert (Path(made.instance_path) / "setup_code").exists()


def test_a_real_workspace_and_real_people_stay(made: Flask) -> None:
    with made.app_context(), write_transaction():
        real = operations.create_tenant("Real work")
        person = operations.add_user("real@x.example", "Rea Real", PASSWORD)
        operations.add_member(real, person, "owner")
        globex = queries.tenant_named("Globex")
        operations.add_member(globex, person, "member")  # a demo workspace that is in use
    assert sign_in(made, "real@x.example", PASSWORD).get(PAGE).status_code in (403, 404)
    client = sign_in(made, "owner@acme.example")
    assert "Globex" not in client.get(PAGE).text
    assert client.post(PAGE).headers["Location"] == "/dashboard"
    with made.app_context():
        assert [tenant.name for tenant in queries.all_tenants()] == ["Globex", "Real work"]
        emails = set(db.session.scalars(select(User.email)))
        assert emails == {"real@x.example", "owner@globex.example", "admin@acme.example"}
    assert client.get("/dashboard").status_code == 302
    assert sign_in(made, "real@x.example", PASSWORD).get("/dashboard").status_code == 200


def test_it_is_only_made_in_an_empty_instance(app: Flask, team: Any) -> None:
    with app.app_context():
        assert not demo.is_empty()

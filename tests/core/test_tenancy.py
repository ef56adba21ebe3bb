"""Walls 1 to 3, alone: reads, writes, references."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import exists, func, select, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import aliased

from soconnective import create_app
from soconnective.accounts.models import Tenant
from soconnective.contacts.models import Company, Contact
from soconnective.core import row_security
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import CrossTenant, NoTenant
from soconnective.core.model import Base, TenantOwned
from soconnective.core.tenancy import acting_in, current_tenant_id, tenant_id_of
from soconnective.deals.models import Deal
from tests.databases import settings_for
from tests.factories.records import make_contact, make_deal
from tests.lending import Lender


@pytest.fixture
def app(database_url: str, lender: Lender, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """On PostgreSQL under the owner's role, which wall 4 does not bind: here walls 1 to 3 stand alone."""
    if database_url.startswith("sqlite"):
        app = lender.lend(database_url)
        yield app
        lender.take_back(app)
        return
    monkeypatch.setattr(row_security, "refuse_unsafe_role", lambda _connection: None)
    settings = settings_for(database_url)
    settings["DATABASE_URL"] = settings["SOCONNECTIVE_OWNER_URL"]
    app = create_app({**settings, "WTF_CSRF_ENABLED": False, "PROPAGATE_EXCEPTIONS": True})
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


FORMS: dict[str, Any] = {
    "entity": lambda: select(Contact),
    "columns": lambda: select(Contact.name),
    "count": lambda: select(func.count()).select_from(Contact),
    "exists": lambda: select(Tenant.id).where(
        exists(select(Contact.id).where(Contact.tenant_id == Tenant.id))
    ),
    "scalar": lambda: select(select(func.count(Contact.id)).scalar_subquery()),
    "alias": lambda: select(aliased(Contact)),
    "cte": lambda: select(select(Contact.id).cte().c.id),
    "join": lambda: select(Tenant.id).join(Contact, Contact.tenant_id == Tenant.id),
    "union": lambda: select(Contact.id).union(select(Company.id)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_read_without_a_tenant_raises(app: Any, form: str) -> None:
    with app.app_context(), pytest.raises(StatementError) as caught:
        db.session.execute(FORMS[form]()).all()
    assert isinstance(caught.value.orig, NoTenant)


def _rows(form: str) -> int:
    rows = db.session.execute(FORMS[form]()).all()
    return rows[0][0] if form in ("count", "scalar") else len(rows)


@pytest.mark.parametrize("form", FORMS)
def test_a_read_sees_only_its_own(inside: Any, rivals: Any, form: str) -> None:
    with acting_in(rivals.id):
        make_contact("Their", "Contact")
        assert _rows(form) == 1
    assert _rows(form) == 0


def test_get_sees_only_its_own(inside: Any, rivals: Any) -> None:
    with acting_in(rivals.id):
        theirs = make_contact("Their", "Contact").id
    assert db.session.get(Contact, theirs) is None


@pytest.mark.parametrize("how", ["text", "core"])
def test_what_the_criteria_cannot_see_is_caught_as_it_loads(inside: Any, rivals: Any, how: str) -> None:
    with acting_in(rivals.id):
        make_contact("Their", "Contact")
    statement = text("SELECT * FROM contacts") if how == "text" else select(Contact.__table__)
    with pytest.raises(CrossTenant):
        db.session.scalars(select(Contact).from_statement(statement)).all()


def test_a_foreign_row_is_not_written(inside: Any, rivals: Any) -> None:
    db.session.add(Company(name="x", tenant_id=rivals.id))
    with pytest.raises(CrossTenant):
        db.session.flush()


def test_a_held_foreign_row_is_not_changed(inside: Any, rivals: Any) -> None:
    with acting_in(rivals.id):
        theirs = make_contact("Their", "Contact")
    db.session.add(theirs)
    with pytest.raises(CrossTenant):  # noqa: PT012  setting it may load it, which is refused already
        theirs.job_title = "stolen"
        db.session.flush()


def test_a_row_does_not_point_to_a_foreign_one(inside: Any, rivals: Any) -> None:
    with acting_in(rivals.id):
        with write_transaction():
            company = Company(name="theirs")
            db.session.add(company)
        company_id = company.id
    contact = make_contact()
    contact.company_id = company_id
    with pytest.raises(IntegrityError):  # wall 3: the composite key
        db.session.flush()
    db.session.rollback()


def test_a_foreign_stage_is_refused(inside: Any, rivals: Any) -> None:
    deal = make_deal(inside.stages["Lead"])
    deal.stage_id = rivals.stages["Won"]
    with pytest.raises(CrossTenant):
        db.session.flush()
    db.session.rollback()
    assert db.session.get_one(Deal, deal.id).status == "open"


def test_the_tenant_does_not_change_under_unsaved_rows(inside: Any, rivals: Any) -> None:
    db.session.add(Company(name="unsaved"))
    with pytest.raises(CrossTenant), acting_in(rivals.id):
        pass


def test_a_tenant_is_its_id_however_it_came(inside: Any) -> None:
    assert (
        tenant_id_of(db.session.get_one(Tenant, inside.id)) == tenant_id_of(inside.id) == current_tenant_id()
    )
    for wrong in (True, "1", None, 1.0):
        with pytest.raises(TypeError):
            tenant_id_of(wrong)


def below(cls: type) -> set[Any]:
    """Every class that comes of `cls`."""
    return {found for child in cls.__subclasses__() for found in {child, *below(child)}}


def test_every_table_with_a_tenant_has_its_walls() -> None:
    owned = {cls.__tablename__ for cls in below(TenantOwned) if hasattr(cls, "__tablename__")}
    instance = {"tenants", "users", "memberships", "invitations", "rate_windows", "workers", "ticks"}
    by_hand = {
        "event_links",
        "search_words",
        "form_posts",
    }  # no ORM entity of their own: read joined to owned rows, or by tenant
    assert set(Base.metadata.tables) == owned | instance | by_hand
    for name in owned:
        table = Base.metadata.tables[name]
        for key in table.foreign_key_constraints:
            target = key.referred_table.name
            assert target == "tenants" or "tenant_id" in key.column_keys, (name, key.column_keys)

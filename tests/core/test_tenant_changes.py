"""The current tenant: how it is entered, left and returned to, and what that does to the rows in hand."""

from __future__ import annotations

from contextvars import copy_context
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm.attributes import set_committed_value

from soconnective.accounts.models import Tenant
from soconnective.contacts.models import Company, Contact
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import CrossTenant, NoTenant
from soconnective.core.tenancy import (
    acting_in,
    current_tenant_id,
    enter_tenant,
    has_tenant,
    peek_tenant,
    tenant_id_of,
)
from tests.factories.records import make_contact


def test_a_request_enters_and_leaves() -> None:
    def visit() -> None:
        assert (has_tenant(), peek_tenant()) == (False, None)
        enter_tenant(Tenant(id=7))
        assert (has_tenant(), peek_tenant(), current_tenant_id()) == (True, 7, 7)
        enter_tenant(8)
        assert current_tenant_id() == 8
        enter_tenant(None)
        assert (has_tenant(), peek_tenant()) == (False, None)
        with pytest.raises(NoTenant, match=r"^no tenant is set: sign in to a workspace, or name one with "):
            current_tenant_id()

    copy_context().run(visit)


def test_what_is_no_tenant_is_named() -> None:
    with pytest.raises(TypeError, match=r"^a tenant is an id or an object with an integer id, not 'seven'$"):
        tenant_id_of("seven")
    with pytest.raises(TypeError):
        tenant_id_of(Tenant(id=True))


def test_the_tenant_before_is_returned_to_even_after_an_error(app: Flask, team: Any, rivals: Any) -> None:
    with app.app_context(), acting_in(team.id) as ours:
        assert ours == team.id == current_tenant_id()
        with pytest.raises(RuntimeError, match="planted"), acting_in(rivals.id) as theirs:  # noqa: PT012
            assert theirs == rivals.id == current_tenant_id()
            raise RuntimeError("planted")
        assert current_tenant_id() == team.id
    assert not has_tenant()


def test_rows_in_hand_are_let_go_when_the_tenant_changes_and_not_before(inside: Any, rivals: Any) -> None:
    contact = make_contact()
    with acting_in(inside.id):
        assert contact in db.session
    assert contact in db.session  # it was no change
    with acting_in(rivals.id):
        assert contact not in db.session
        theirs = make_contact("Their", "Contact")
        assert theirs in db.session
    assert theirs not in db.session


def _new(_contact: Contact) -> None:
    db.session.add(Company(name="unsaved"))


def _deleted(contact: Contact) -> None:
    db.session.delete(contact)


def _changed(contact: Contact) -> None:
    contact.job_title = "unsaved"


@pytest.mark.parametrize("unsaved", [_new, _deleted, _changed])
def test_no_unsaved_change_is_carried_to_another_tenant(inside: Any, rivals: Any, unsaved: Any) -> None:
    contact = make_contact()
    unsaved(contact)
    with acting_in(inside.id):
        pass  # the same: nothing changes hands
    with (
        pytest.raises(CrossTenant, match=r"^the tenant changed while rows of another one were unsaved$"),
        acting_in(rivals.id),
    ):
        pass
    assert current_tenant_id() == inside.id
    db.session.rollback()


def test_a_row_that_was_set_to_what_it_is_has_no_unsaved_change(inside: Any, rivals: Any) -> None:
    contact = make_contact()
    contact.first_name = str(contact.first_name)
    with acting_in(rivals.id):
        assert contact not in db.session


def test_a_new_row_is_of_the_current_tenant_and_a_foreign_one_is_named(inside: Any, rivals: Any) -> None:
    with write_transaction():
        company = Company(name="ours")
        db.session.add(company)
    assert company.tenant_id == inside.id
    db.session.add(Company(name="theirs", tenant_id=rivals.id))
    with pytest.raises(CrossTenant, match=r"^a Company of another tenant would be written$"):
        db.session.flush()
    db.session.rollback()


def test_a_row_points_to_one_of_its_own_tenant(inside: Any, rivals: Any) -> None:
    with write_transaction():
        ours = Company(name="ours")
        db.session.add(ours)
    contact = make_contact()
    contact_id = contact.id
    assert ours.tenant_id and contact.job_title is None  # both loaded
    with write_transaction():
        contact.job_title = "x"
        contact.__dict__["company"] = ours
    assert db.session.get_one(Contact, contact.id).job_title == "x"
    with acting_in(rivals.id):
        with write_transaction():
            theirs = Company(name="theirs")
            db.session.add(theirs)
        db.session.refresh(theirs)  # held, with its tenant
    held = db.session.get_one(Contact, contact_id)
    held.job_title = "y"
    held.__dict__["company"] = theirs
    with pytest.raises(CrossTenant, match=r"^a Contact would point to another tenant's Company$"):
        db.session.flush()
    db.session.rollback()


def test_no_list_of_a_row_holds_a_foreign_one(inside: Any, rivals: Any) -> None:
    with acting_in(rivals.id):
        theirs = make_contact("Their", "Contact", email="their@x.example").identities[0]
        db.session.refresh(theirs)  # held, with its tenant
    contact = make_contact(email="our@x.example")
    assert len(contact.identities) == 1
    contact.job_title = "x"
    set_committed_value(contact, "identities", [*contact.identities, theirs])
    with pytest.raises(CrossTenant, match=r"^a Contact would point to another tenant's ContactIdentity$"):
        db.session.flush()
    db.session.rollback()

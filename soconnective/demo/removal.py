"""Taking the demo data away, whole: the workspaces themselves go, so this is not the ORM's business."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, exists, func, select

from soconnective.accounts.models import Membership, Tenant, User
from soconnective.core.db import db
from soconnective.core.model import Base
from soconnective.core.tenancy import acting_in
from soconnective.demo.names import GLOBEX_OWNER, PEOPLE

ADDRESSES = [GLOBEX_OWNER[0], *(email for email, _name in PEOPLE.values())]
_tenants: Any = Tenant.__table__
_users: Any = User.__table__
_memberships: Any = Membership.__table__


def removable(here: int | None = None) -> list[tuple[int, str, int]]:
    """(id, name, contacts) of each demo workspace: `here`, and those in which only demo people work.

    A demo workspace that real people have joined is theirs: it only goes if it is the one asked for.
    """
    real = (
        select(_memberships.c.id)
        .join(_users, _users.c.id == _memberships.c.user_id)
        .where(
            _memberships.c.tenant_id == _tenants.c.id, _memberships.c.status == "active", ~_is_demo_person()
        )
    )
    rows = db.session.connection().execute(
        select(_tenants.c.id, _tenants.c.name)
        .where(_tenants.c.is_demo, (_tenants.c.id == here) | ~exists(real))
        .order_by(_tenants.c.id)
    )
    return [(row[0], row[1], _contacts_of(row[0])) for row in rows.all()]


def _contacts_of(tenant_id: int) -> int:
    contacts = Base.metadata.tables["contacts"]
    with acting_in(tenant_id):
        mine = select(func.count()).select_from(contacts).where(contacts.c.tenant_id == tenant_id)
        return db.session.connection().execute(mine).scalar_one()


def remove(here: int | None = None) -> int:
    """Delete what `removable` names, with everything in it and the demo people; returns how many workspaces."""
    ids = [row[0] for row in removable(here)]
    if not ids:
        return 0
    for tenant_id in ids:
        with acting_in(tenant_id):
            _empty(tenant_id)
    connection = db.session.connection()
    connection.execute(delete(_tenants).where(_tenants.c.id.in_(ids)))
    left = select(_memberships.c.user_id)
    connection.execute(delete(_users).where(_is_demo_person(), ~_users.c.id.in_(left)))
    db.session.expunge_all()
    return len(ids)


def _empty(tenant_id: int) -> None:
    connection = db.session.connection()
    for table in reversed(Base.metadata.sorted_tables):
        if "tenant_id" not in table.c:
            continue
        mine = table.c.tenant_id == tenant_id
        if "parent_id" in table.c:  # rows that point at rows of their own table
            connection.execute(table.update().where(mine).values(parent_id=None))
        connection.execute(delete(table).where(mine))


def _is_demo_person() -> Any:
    return _users.c.email.in_(ADDRESSES)

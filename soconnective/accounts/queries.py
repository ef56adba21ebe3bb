"""The only place that reads workspaces, people and memberships."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any

from flask import g, has_request_context
from sqlalchemy import bindparam, func, select

from soconnective.accounts.models import Invitation, Membership, Tenant, User
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.registry import Person
from soconnective.core.tenancy import current_tenant_id
from soconnective.core.workspace import Workspace

_users: Any = User.__table__.c
_members: Any = Membership.__table__.c
_people = (  # Core: this runs in every transaction that tells of an owner
    select(_users.id, _users.name, _users.email, _users.active, _members.role, _members.status)
    .join_from(User.__table__, Membership.__table__, _members.user_id == _users.id)
    .where(_members.tenant_id == bindparam("tenant_id"))
)


def has_users() -> bool:
    return db.session.scalar(select(User.id).limit(1)) is not None


def get_user_by_email(email: str) -> User | None:
    return db.session.scalar(select(User).where(User.email == normalise_email(email)))


def normalise_email(email: str) -> str:
    """The one spelling of an address under which a person is stored, found and counted."""
    return unicodedata.normalize("NFC", email.strip().casefold())


def memberships_of(user_id: int) -> list[tuple[Membership, Tenant]]:
    """The active memberships of a person with their workspaces, by name."""
    rows = db.session.execute(
        select(Membership, Tenant)
        .join(Tenant, Tenant.id == Membership.tenant_id)
        .where(Membership.user_id == user_id, Membership.status == "active")
        .order_by(Tenant.name, Tenant.id)
    )
    return [(row[0], row[1]) for row in rows]


def load_workspace(tenant_id: int) -> Workspace:
    row = db.session.execute(
        select(Tenant.id, Tenant.name, Tenant.currency, Tenant.timezone, Tenant.is_demo).where(
            Tenant.id == tenant_id
        )
    ).one()
    return Workspace(*row)


def get_tenant(tenant_id: int) -> Tenant | None:
    return db.session.get(Tenant, tenant_id)


def tenant_named(name: str) -> Tenant | None:
    return db.session.scalar(select(Tenant).where(Tenant.name == name).order_by(Tenant.id).limit(1))


def all_tenants() -> list[Tenant]:
    return list(db.session.scalars(select(Tenant).order_by(Tenant.id)))


def workspace_ids() -> list[int]:
    return list(db.session.scalars(select(Tenant.id).order_by(Tenant.id)))


def load_people() -> dict[int, Person]:
    """Everybody who is or was a member of the current workspace; read once a transaction."""
    tenant_id = current_tenant_id()
    session = db.session()
    if has_request_context():
        kept = g.get("people")
        if kept is not None and kept[0] == tenant_id:
            return kept[1]  # type: ignore[no-any-return]
    else:
        kept = session.info.get("accounts.people")
        if (
            kept is not None
            and kept[0] == (tenant_id, id(session.get_transaction()))
            and session.in_transaction()
        ):
            return kept[1]  # type: ignore[no-any-return]
    rows = session.connection().execute(_people, {"tenant_id": tenant_id})
    found = {
        row.id: Person(row.id, row.name, row.email, row.role, row.status == "active" and row.active)
        for row in rows
    }
    if has_request_context():
        g.people = (tenant_id, found)
    else:
        session.info["accounts.people"] = ((tenant_id, id(session.get_transaction())), found)
    return found


def forget_people() -> None:
    """Members changed: save that, and read them anew."""
    db.session.flush()
    if has_request_context():
        g.pop("people", None)
    db.session().info.pop("accounts.people", None)


def members() -> list[tuple[Membership, User]]:
    """Everybody of the current workspace, active ones first, then by name."""
    rows = db.session.execute(
        select(Membership, User)
        .join(User, User.id == Membership.user_id)
        .where(Membership.tenant_id == current_tenant_id())
        .order_by(Membership.status, func.lower(User.name), User.id)
    )
    return [(row[0], row[1]) for row in rows]


def get_member(membership_id: int) -> Membership | None:
    """A membership of the current workspace by its id."""
    return db.session.scalar(
        select(Membership).where(Membership.id == membership_id, Membership.tenant_id == current_tenant_id())
    )


def membership_in(tenant_id: int, user_id: int) -> Membership | None:
    return db.session.scalar(
        select(Membership).where(Membership.tenant_id == tenant_id, Membership.user_id == user_id)
    )


def active_owners(tenant_id: int) -> int:
    return (
        db.session.scalar(
            select(func.count())
            .select_from(Membership)
            .where(
                Membership.tenant_id == tenant_id, Membership.role == "owner", Membership.status == "active"
            )
        )
        or 0
    )


def open_invitations() -> list[Invitation]:
    """Invitations of the current workspace that can still be used, newest first."""
    return list(
        db.session.scalars(
            select(Invitation)
            .where(
                Invitation.tenant_id == current_tenant_id(),
                Invitation.used_at.is_(None),
                Invitation.revoked_at.is_(None),
                Invitation.expires_at > clock.now(),
            )
            .order_by(Invitation.id.desc())
        )
    )


def get_invitation(invitation_id: int) -> Invitation | None:
    return db.session.scalar(
        select(Invitation).where(Invitation.id == invitation_id, Invitation.tenant_id == current_tenant_id())
    )


def invitation_by_token(token: str) -> Invitation | None:
    """The invitation that `token` opens, if it is unused, not taken back and not expired."""
    return db.session.scalar(
        select(Invitation).where(
            Invitation.token_hash == hash_token(token),
            Invitation.used_at.is_(None),
            Invitation.revoked_at.is_(None),
            Invitation.expires_at > clock.now(),
        )
    )


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()

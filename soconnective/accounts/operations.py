"""Every write to workspaces, people, memberships and invitations."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import select, text, update

from soconnective.accounts import queries
from soconnective.accounts.models import Invitation, Membership, Tenant, User
from soconnective.accounts.passwords import to_store
from soconnective.automation.due_plan import plan_all
from soconnective.core import clock
from soconnective.core.access import ROLES, current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.registry import registry
from soconnective.core.tenancy import current_tenant_id, has_tenant, tenant_id_of

INVITATION_DAYS = 7


def create_tenant(name: str, currency: str = "EUR", timezone: str = "UTC", is_demo: bool = False) -> Tenant:
    tenant = Tenant(name=name, currency=currency, timezone=timezone, is_demo=is_demo)
    db.session.add(tenant)
    db.session.flush()
    return tenant


def update_tenant(tenant: Tenant, **values: Any) -> Tenant:
    moves_clock = values.get("timezone", tenant.timezone) != tenant.timezone
    for name in ("name", "currency", "timezone"):
        if name in values:
            setattr(tenant, name, values[name])
    if moves_clock and has_tenant():  # rules wait by the wall clock
        plan_all()
    return tenant


def add_user(email: str, name: str, password: str, is_demo: bool = False) -> User:
    """A new person; raises `Refused` at "email" or "password"."""
    address = check_email(email)
    if queries.get_user_by_email(address) is not None:
        raise Refused("Somebody with this address exists already.", "email")
    ready = to_store(password, address, is_demo)
    user = User(email=address, name=name, password=ready, fs_uniquifier=secrets.token_hex(32))
    db.session.add(user)
    db.session.flush()
    return user


def claim_instance() -> None:
    """Let one set-up pass at a time: who comes second finds that somebody exists. Raises `Refused`."""
    if db.session.connection().dialect.name == "postgresql":
        db.session.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
    if queries.has_users():
        raise Refused("Somebody was faster: this instance is set up already.")


def add_member(tenant: Any, user: User, role: str) -> Membership:
    """Put `user` into `tenant` (an id or an object); somebody who was there before comes back."""
    if role not in ROLES:
        raise ValueError(f"{role} is no role")
    tenant_id = tenant_id_of(tenant)
    membership = queries.membership_in(tenant_id, user.id)
    if membership is None:
        membership = Membership(tenant_id=tenant_id, user_id=user.id, role=role)
        db.session.add(membership)
    elif membership.status == "active":
        raise Refused("This person is a member already.", "email")
    membership.role, membership.status, membership.ended_at = role, "active", None
    db.session.flush()
    queries.forget_people()
    return membership


def set_password(user: User, password: str, is_demo: bool = False) -> None:
    """A new password; every session of this person ends."""
    user.password = to_store(password, user.email, is_demo)
    end_sessions(user)


def end_sessions(user: User) -> None:
    """Sessions carry the uniquifier: a new one makes all of them strangers."""
    user.fs_uniquifier = secrets.token_hex(32)


def change_role(membership: Membership, role: str, acting_role: str) -> None:
    """Give a member another role. Only owners make or unmake owners; one owner always stays."""
    _one_at_a_time(membership.tenant_id)
    _require_may_manage(membership, acting_role)
    if role not in ROLES:
        raise Refused("Choose a role.", "role")
    if role == "owner" and acting_role != "owner":
        raise Refused("Only an owner can appoint an owner.", "role")
    if membership.role == "owner" and role != "owner":
        _require_another_owner(membership)
    membership.role = role
    queries.forget_people()


def set_member_status(membership: Membership, status: str, acting_role: str) -> None:
    """Disable, enable or remove a member; their session here ends with the next request."""
    _one_at_a_time(membership.tenant_id)
    _require_may_manage(membership, acting_role)
    if status != "active" and membership.role == "owner" and membership.status == "active":
        _require_another_owner(membership)
    membership.status = status
    membership.ended_at = None if status == "active" else clock.now()
    # A link that still lies around must neither let them back in nor promise a role they do not get.
    _close_invitations(membership.tenant_id, membership.user.email)
    queries.forget_people()


def hand_over(person_id: int, to_id: int | None, only: Collection[str] | None = None) -> None:
    """Give what a person holds to somebody else, or to nobody; `only` these holdings."""
    if to_id is not None:
        person = queries.load_people().get(to_id)
        if person is None or not person.is_active or to_id == person_id:
            raise Refused("Choose an active member.", "to_id")
    for holding in registry.holdings.values():
        if only is None or holding.name in only:
            holding.hand_over(person_id, to_id)


def invite(email: str, role: str, acting_role: str) -> tuple[Invitation, str]:
    """An invitation and the token of its link, which is shown once; older links to the address end."""
    if role not in ROLES or (role == "owner" and acting_role != "owner"):
        raise Refused("Only an owner can appoint an owner.", "role")
    address = check_email(email)
    user = queries.get_user_by_email(address)
    if user is not None:
        membership = queries.membership_in(current_tenant_id(), user.id)
        if membership is not None and membership.status == "active":
            raise Refused("This person is a member already.", "email")
    _close_invitations(current_tenant_id(), address)
    token = secrets.token_urlsafe(32)
    invitation = Invitation(
        tenant_id=current_tenant_id(),
        token_hash=queries.hash_token(token),
        email=address,
        role=role,
        invited_by_name=current_actor().name,
        expires_at=clock.now() + timedelta(days=INVITATION_DAYS),
    )
    db.session.add(invitation)
    db.session.flush()
    return invitation, token


def revoke(invitation: Invitation) -> None:
    invitation.revoked_at = clock.now()


def accept(invitation: Invitation, user: User) -> Membership:
    """Use the invitation for `user`; it works once, and others to the same address end with it."""
    _one_at_a_time(invitation.tenant_id)
    db.session.refresh(invitation)
    if invitation.used_at is not None or invitation.revoked_at is not None:
        raise Refused("This invitation was used already.")
    invitation.used_at = clock.now()
    _close_invitations(invitation.tenant_id, invitation.email)
    membership = queries.membership_in(invitation.tenant_id, user.id)
    if membership is not None and membership.status == "active":
        return membership
    return add_member(invitation.tenant_id, user, invitation.role)


def check_email(email: str) -> str:
    try:
        return queries.normalise_email(validate_email(email.strip(), check_deliverability=False).normalized)
    except EmailNotValidError as error:
        raise Refused(str(error), "email") from None


def _one_at_a_time(tenant_id: int) -> None:
    """Changes of who belongs to a workspace queue on its row (SQLite has one writer anyway)."""
    db.session.execute(select(Tenant.id).where(Tenant.id == tenant_id).with_for_update())


def _close_invitations(tenant_id: int, email: str) -> None:
    db.session.execute(
        update(Invitation)
        .where(
            Invitation.tenant_id == tenant_id,
            Invitation.email == email,
            Invitation.used_at.is_(None),
            Invitation.revoked_at.is_(None),
        )
        .values(revoked_at=clock.now())
    )


def _require_may_manage(membership: Membership, acting_role: str) -> None:
    if membership.role == "owner" and acting_role != "owner":
        raise Refused("Only an owner can change an owner.")


def _require_another_owner(membership: Membership) -> None:
    if queries.active_owners(membership.tenant_id) < 2:
        raise Refused("A workspace needs an owner. Appoint another one first.")

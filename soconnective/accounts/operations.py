"""Every write to workspaces, people, memberships and invitations."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from email_validator import EmailNotValidError, validate_email
from flask_security import hash_password

from soconnective.accounts import queries
from soconnective.accounts.models import Invitation, Membership, Tenant, User
from soconnective.core import clock
from soconnective.core.access import ROLES, current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.registry import registry
from soconnective.core.tenancy import current_tenant_id, tenant_id_of

INVITATION_DAYS = 7
DEMO_PASSWORD = "demo-password"  # noqa: S105  the demo's, refused everywhere else
_COMMON = {
    "password",
    "password1",
    "12345678",
    "123456789",
    "1234567890",
    "qwertyuiop",
    "iloveyou",
    "letmein123",
    "admin123",
    "welcome1",
    "changeme",
    "soconnective",
}


def create_tenant(name: str, currency: str = "EUR", timezone: str = "UTC", is_demo: bool = False) -> Tenant:
    tenant = Tenant(name=name, currency=currency, timezone=timezone, is_demo=is_demo)
    db.session.add(tenant)
    db.session.flush()
    return tenant


def update_tenant(tenant: Tenant, **values: Any) -> Tenant:
    for name in ("name", "currency", "timezone"):
        if name in values:
            setattr(tenant, name, values[name])
    return tenant


def add_user(email: str, name: str, password: str, is_demo: bool = False) -> User:
    """A new person; raises `Refused` at "email" or "password"."""
    address = check_email(email)
    if queries.get_user_by_email(address) is not None:
        raise Refused("Somebody with this address exists already.", "email")
    if not is_demo:
        check_password(password, address)
    user = User(
        email=address, name=name, password=hash_password(password), fs_uniquifier=secrets.token_hex(32)
    )
    db.session.add(user)
    db.session.flush()
    return user


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
    if not is_demo:
        check_password(password, user.email)
    user.password = hash_password(password)
    end_sessions(user)


def end_sessions(user: User) -> None:
    """Sessions carry the uniquifier: a new one makes all of them strangers."""
    user.fs_uniquifier = secrets.token_hex(32)


def change_role(membership: Membership, role: str, acting_role: str) -> None:
    """Give a member another role. Only owners make or unmake owners; one owner always stays."""
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
    _require_may_manage(membership, acting_role)
    if status != "active" and membership.role == "owner" and membership.status == "active":
        _require_another_owner(membership)
    membership.status = status
    membership.ended_at = None if status == "active" else clock.now()
    queries.forget_people()


def hand_over(person_id: int, to_id: int | None) -> None:
    """Give what a person holds to somebody else, or to nobody."""
    if to_id is not None:
        person = queries.load_people().get(to_id)
        if person is None or not person.is_active or to_id == person_id:
            raise Refused("Choose an active member.", "to_id")
    for holding in registry.holdings.values():
        holding.hand_over(person_id, to_id)


def invite(email: str, role: str, acting_role: str) -> tuple[Invitation, str]:
    """An invitation and the token of its link, which is shown once."""
    if role not in ROLES or (role == "owner" and acting_role != "owner"):
        raise Refused("Only an owner can appoint an owner.", "role")
    address = check_email(email)
    user = queries.get_user_by_email(address)
    if user is not None:
        membership = queries.membership_in(current_tenant_id(), user.id)
        if membership is not None and membership.status == "active":
            raise Refused("This person is a member already.", "email")
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
    """Use the invitation for `user`; it works once."""
    invitation.used_at = clock.now()
    membership = queries.membership_in(invitation.tenant_id, user.id)
    if membership is not None and membership.status == "active":
        return membership
    return add_member(invitation.tenant_id, user, invitation.role)


def check_email(email: str) -> str:
    try:
        return queries.normalise_email(validate_email(email.strip(), check_deliverability=False).normalized)
    except EmailNotValidError as error:
        raise Refused(str(error), "email") from None


def check_password(password: str, email: str) -> None:
    """At least 8 and at most 128 characters, not the address, not among the most common ones."""
    if len(password) < 8:
        raise Refused("Use at least 8 characters.", "password")
    if len(password) > 128:
        raise Refused("Use at most 128 characters.", "password")
    if password.casefold() in _COMMON or password == DEMO_PASSWORD:
        raise Refused("This password is too well known. Choose another one.", "password")
    if password.casefold() in (email.casefold(), email.split("@")[0].casefold()):
        raise Refused("Do not use the e-mail address as the password.", "password")


def _require_may_manage(membership: Membership, acting_role: str) -> None:
    if membership.role == "owner" and acting_role != "owner":
        raise Refused("Only an owner can change an owner.")


def _require_another_owner(membership: Membership) -> None:
    if queries.active_owners(membership.tenant_id) < 2:
        raise Refused("A workspace needs an owner. Appoint another one first.")

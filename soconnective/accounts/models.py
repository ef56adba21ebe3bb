"""Workspaces (tenants), people (users) and who belongs where (memberships).

All three belong to the instance, not to a tenant; they are read only in `accounts/queries.py`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_security import AsaList, UserMixin
from sqlalchemy import Boolean, CheckConstraint, Float, ForeignKey, String, UniqueConstraint
from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm import Mapped, mapped_column, relationship

from soconnective.core import clock
from soconnective.core.access import ROLES
from soconnective.core.model import Base, BigId, Identified, Timestamped, UtcDateTime, Versioned

_ROLE_LIST = ", ".join(f"'{role}'" for role in ROLES)


class Tenant(Identified, Timestamped, Versioned, Base):
    """A workspace: the wall around one team's data."""

    __tablename__ = "tenants"
    __table_args__ = ({"sqlite_autoincrement": True},)

    name: Mapped[str] = mapped_column(String(120))
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    timezone: Mapped[str] = mapped_column(String(64), default="UTC")
    is_demo: Mapped[bool] = mapped_column(Boolean, default=False)


class User(Identified, Timestamped, UserMixin, Base):
    """A person, once for the whole instance; what they may do is on each membership."""

    __tablename__ = "users"
    __table_args__ = ({"sqlite_autoincrement": True},)

    email: Mapped[str] = mapped_column(String(255), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    password: Mapped[str | None] = mapped_column(String(255))
    active: Mapped[bool] = mapped_column(Boolean, default=True)
    fs_uniquifier: Mapped[str] = mapped_column(String(64), unique=True)
    tf_primary_method: Mapped[str | None] = mapped_column(String(64))
    tf_totp_secret: Mapped[str | None] = mapped_column(String(255))
    tf_phone_number: Mapped[str | None] = mapped_column(String(128))
    tf_last_counter: Mapped[int | None] = mapped_column(BigId)
    mf_recovery_codes: Mapped[list[str] | None] = mapped_column(MutableList.as_mutable(AsaList()))
    last_workspace_id: Mapped[int | None] = mapped_column(BigId)

    memberships: Mapped[list[Membership]] = relationship(back_populates="user")

    @property
    def roles(self) -> list[Any]:  # type: ignore[override]
        """Flask-Security's own roles are not used: a role belongs to a membership."""
        return []


class Membership(Identified, Timestamped, Versioned, Base):
    """One person in one workspace. Removing a member keeps the row, marked: others still point to it."""

    __tablename__ = "memberships"
    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id"),
        CheckConstraint(f"role IN ({_ROLE_LIST})", name="role"),
        CheckConstraint("status IN ('active', 'disabled', 'removed')", name="status"),
        {"sqlite_autoincrement": True},
    )

    tenant_id: Mapped[int] = mapped_column(BigId, ForeignKey("tenants.id"))
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id"), index=True)
    role: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20), default="active")
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship(back_populates="memberships")
    tenant: Mapped[Tenant] = relationship()


class Invitation(Identified, Base):
    """A single-use link into a workspace. Only the hash of its token is kept."""

    __tablename__ = "invitations"
    __table_args__ = (
        CheckConstraint(f"role IN ({_ROLE_LIST})", name="role"),
        {"sqlite_autoincrement": True},
    )

    tenant_id: Mapped[int] = mapped_column(BigId, ForeignKey("tenants.id"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    email: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(20))
    invited_by_name: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RateWindow(Base):
    """How often something was tried in a window of time: the store behind the sign-in limit."""

    __tablename__ = "rate_windows"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    count: Mapped[int] = mapped_column(BigId)
    expires_at: Mapped[float] = mapped_column(Float)

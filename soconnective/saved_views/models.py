"""Saved views: a list's filter and its order, under a name."""

from __future__ import annotations

from sqlalchemy import Boolean, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core.model import (
    Base,
    BigId,
    TenantOwned,
    Timestamped,
    Versioned,
    tenant_reference,
    tenant_table,
)

NAME_LENGTH = 60


def _one_of_a_name(name: str, where: str, *more: str) -> Index:
    columns = ("tenant_id", "record_type", "normalised", *more)
    return Index(name, *columns, unique=True, sqlite_where=text(where), postgresql_where=text(where))


class SavedView(TenantOwned, Timestamped, Versioned, Base):
    """A view of the list of one kind of record.

    `conditions` is the tree as canonical JSON (`tree_text.written`). A private view is its owner's alone; a shared
    one is everybody's to see. `normalised` is the name without regard to case: one of a kind among the
    shared views of a list, and among those that a person keeps for themselves.
    """

    __tablename__ = "saved_views"
    __table_args__ = tenant_table(
        tenant_reference("owner_id", "memberships", "user_id"),
        _one_of_a_name("uq_saved_views_shared", "is_shared"),
        _one_of_a_name("uq_saved_views_private", "NOT is_shared", "owner_id"),
        Index("ix_saved_views_list", "tenant_id", "record_type", "position"),
    )

    record_type: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    normalised: Mapped[str] = mapped_column(String(3 * NAME_LENGTH))  # casefold() makes three of some
    conditions: Mapped[str] = mapped_column(Text)
    sort: Mapped[str | None] = mapped_column(String(40))
    owner_id: Mapped[int] = mapped_column(BigId)
    is_shared: Mapped[bool] = mapped_column(Boolean, default=False)
    position: Mapped[int] = mapped_column(Integer, default=0)

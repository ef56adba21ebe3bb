"""Tags, and two mixins: `RecordTag` for an area's link table, `Tagged` for its records."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, UniqueConstraint, event
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, relationship

from soconnective.core import clock
from soconnective.core.model import (
    Base,
    BigId,
    TenantOwned,
    UtcDateTime,
    Versioned,
    tenant_reference,
    tenant_table,
)

NAME_LENGTH = 40


class Tag(TenantOwned, Versioned, Base):
    """A word that records are marked with.

    `normalised` is the name without regard to case: one of a kind in the workspace. A deleted tag is hidden and
    keeps its row, so that old entries of a timeline can name it; its `normalised` is NULL, which frees the name.
    """

    __tablename__ = "tags"
    __table_args__ = tenant_table(UniqueConstraint("tenant_id", "normalised"))

    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    normalised: Mapped[str | None] = mapped_column(String(3 * NAME_LENGTH))  # casefold() makes three of some
    color: Mapped[str] = mapped_column(String(20), default="gray")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RecordTag(TenantOwned):
    """One tag on one record: a mixin for the areas' link tables."""

    tag_id: Mapped[int] = mapped_column(BigId)

    @declared_attr
    def tag(cls) -> Mapped[Tag]:  # noqa: N805  SQLAlchemy calls it with the class
        return relationship(
            primaryjoin=f"foreign({cls.__name__}.tag_id) == Tag.id",  # type: ignore[attr-defined]
            lazy="joined",
            innerjoin=True,
        )


def record_tag_table(name: str, column: str, table: str) -> tuple[Any, ...]:
    """`__table_args__` of the link table `name`, whose `column` points to `table`."""
    return tenant_table(
        tenant_reference(column, table),
        tenant_reference("tag_id", "tags"),
        UniqueConstraint("tenant_id", column, "tag_id"),
        Index(f"ix_{name}_tag", "tenant_id", "tag_id", column),
    )


class Tagged:
    """A record with tags: a mixin for its model, which declares the relationship `tag_rows`."""

    tag_rows: Any

    @property
    def tags(self) -> list[Tag]:
        """Its tags by name."""
        return sorted((row.tag for row in self.tag_rows), key=lambda tag: tag.name.casefold())

    @property
    def tag_ids(self) -> list[int]:
        return [tag.id for tag in self.tags]


@event.listens_for(Tagged, "init", propagate=True)
def _on_init(_record: Tagged, _args: Any, values: dict[str, Any]) -> None:
    """A new record has no tags yet: known without asking the database for them after its INSERT."""
    values.setdefault("tag_rows", [])

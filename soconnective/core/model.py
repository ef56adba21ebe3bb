"""The declarative base, column types and mixins that every table is made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator

from soconnective.core import clock

# AUTOINCREMENT needs exactly INTEGER on SQLite; PostgreSQL gets 64 bits.
BigId = BigInteger().with_variant(Integer, "sqlite")
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: timezone-aware UTC in Python, timestamptz on PostgreSQL, UTC text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table of ours. The naming convention makes constraints addressable in migrations."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Identified:
    """A surrogate key that is never given out twice (AUTOINCREMENT on SQLite)."""

    id: Mapped[int] = mapped_column(BigId, primary_key=True, sort_order=-10)


class TenantOwned(Identified):
    """A row of one tenant. The walls in `core.tenancy` act on every subclass."""

    @declared_attr
    def tenant_id(cls) -> Mapped[int]:  # noqa: N805  SQLAlchemy calls it with the class
        return mapped_column(BigId, ForeignKey("tenants.id"), nullable=False, sort_order=-9)


class Timestamped:
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now, sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=clock.now, onupdate=clock.now, sort_order=91
    )


class Versioned:
    """Optimistic locking: forms post the version they were made from (see `core.forms`)."""

    version: Mapped[int] = mapped_column(Integer, default=1, sort_order=92)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805  SQLAlchemy calls it with the class
        return {"version_id_col": cls.__dict__.get("version", cls.version)}


class CreatedBy:
    """Who made the row, as a plain copy of the `Actor`: it outlives the person and the rule."""

    created_by_kind: Mapped[str] = mapped_column(String(20), default="system", sort_order=93)
    created_by_id: Mapped[int | None] = mapped_column(BigId, sort_order=94)
    created_by_name: Mapped[str] = mapped_column(String(200), default="", sort_order=95)


def tenant_table(*extra: Any) -> tuple[Any, ...]:
    """`__table_args__` of a tenant-owned table: the key that composite references point to, and `extra`."""
    return (UniqueConstraint("tenant_id", "id"), *extra, {"sqlite_autoincrement": True})


def tenant_reference(column: str, table: str, remote: str = "id") -> ForeignKeyConstraint:
    """A reference that cannot leave the tenant: (tenant_id, column) -> table(tenant_id, remote), RESTRICT."""
    return ForeignKeyConstraint(["tenant_id", column], [f"{table}.tenant_id", f"{table}.{remote}"])

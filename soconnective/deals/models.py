"""Pipelines, their stages, and the deals that move through them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Boolean, CheckConstraint, Date, Index, Integer, Numeric, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from soconnective.contacts.models import Company, Contact
from soconnective.core import clock
from soconnective.core.model import (
    Base,
    BigId,
    CreatedBy,
    TenantOwned,
    Timestamped,
    UtcDateTime,
    Versioned,
    tenant_reference,
    tenant_table,
)
from soconnective.core.search import searchable
from soconnective.tags.models import RecordTag, Tagged, record_tag_table

KINDS = {"open": "Open", "won": "Won", "lost": "Lost"}


class Pipeline(TenantOwned, Timestamped, Versioned, Base):
    __tablename__ = "pipelines"
    __table_args__ = tenant_table()

    name: Mapped[str] = mapped_column(String(80))
    position: Mapped[int] = mapped_column(Integer, default=0)

    stages: Mapped[list[Stage]] = relationship(
        primaryjoin="foreign(Stage.pipeline_id) == Pipeline.id",
        order_by="(Stage.position, Stage.id)",
        back_populates="pipeline",
    )


class Stage(TenantOwned, Timestamped, Versioned, Base):
    """A step of a pipeline. `kind` says whether a deal in it is open, won or lost."""

    __tablename__ = "stages"
    __table_args__ = tenant_table(
        tenant_reference("pipeline_id", "pipelines"),
        CheckConstraint("kind IN ('open', 'won', 'lost')", name="kind"),
        CheckConstraint("probability BETWEEN 0 AND 100", name="probability"),
        Index("ix_stages_pipeline", "tenant_id", "pipeline_id", "position"),
    )

    pipeline_id: Mapped[int] = mapped_column(BigId)
    name: Mapped[str] = mapped_column(String(80))
    position: Mapped[int] = mapped_column(Integer, default=0)
    color: Mapped[str] = mapped_column(String(20), default="gray")
    probability: Mapped[int] = mapped_column(Integer, default=0)
    kind: Mapped[str] = mapped_column(String(10), default="open")

    pipeline: Mapped[Pipeline] = relationship(
        primaryjoin="foreign(Stage.pipeline_id) == Pipeline.id", back_populates="stages"
    )


class Deal(TenantOwned, Timestamped, Versioned, CreatedBy, Tagged, Base):
    """A deal. `pipeline_id`, `status`, `stage_entered_at` and `closed_at` follow the stage (`stage_sync`)."""

    __tablename__ = "deals"
    __table_args__ = tenant_table(
        tenant_reference("pipeline_id", "pipelines"),
        tenant_reference("stage_id", "stages"),
        tenant_reference("owner_id", "memberships", "user_id"),
        tenant_reference("company_id", "companies"),
        CheckConstraint("status IN ('open', 'won', 'lost')", name="status"),
        Index("ix_deals_title", "tenant_id", "title", "id"),
        Index("ix_deals_amount", "tenant_id", "amount", "id"),
        Index("ix_deals_close", "tenant_id", "expected_close_on", "id"),
        Index("ix_deals_created", "tenant_id", "created_at", "id"),
        Index("ix_deals_entered", "tenant_id", "stage_entered_at", "id"),
        Index("ix_deals_stage", "tenant_id", "stage_id", "id"),
        Index("ix_deals_status", "tenant_id", "status", "owner_id"),
        Index("ix_deals_company", "tenant_id", "company_id"),
    )

    title: Mapped[str] = mapped_column(String(200))
    amount: Mapped[Decimal | None] = mapped_column(Numeric(14, 2))
    currency: Mapped[str] = mapped_column(String(3))
    pipeline_id: Mapped[int] = mapped_column(BigId)
    stage_id: Mapped[int] = mapped_column(BigId)
    status: Mapped[str] = mapped_column(String(10), default="open")
    owner_id: Mapped[int | None] = mapped_column(BigId)
    company_id: Mapped[int | None] = mapped_column(BigId)
    expected_close_on: Mapped[date | None] = mapped_column(Date)
    source: Mapped[str | None] = mapped_column(String(80))
    lost_reason: Mapped[str | None] = mapped_column(String(200))
    stage_entered_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    stage: Mapped[Stage] = relationship(primaryjoin="foreign(Deal.stage_id) == Stage.id")
    pipeline: Mapped[Pipeline] = relationship(primaryjoin="foreign(Deal.pipeline_id) == Pipeline.id")
    company: Mapped[Company | None] = relationship(primaryjoin="foreign(Deal.company_id) == Company.id")
    people: Mapped[list[DealContact]] = relationship(
        primaryjoin="foreign(DealContact.deal_id) == Deal.id",
        order_by="(DealContact.is_primary.desc(), DealContact.id)",
        cascade="all, delete-orphan",
        back_populates="deal",
    )
    tag_rows: Mapped[list[DealTag]] = relationship(
        primaryjoin="foreign(DealTag.deal_id) == Deal.id",
        order_by="DealTag.id",
        cascade="all, delete-orphan",
        back_populates="deal",
    )


class DealContact(TenantOwned, Base):
    """A person on a deal; one of them is the primary one."""

    __tablename__ = "deal_contacts"
    __table_args__ = tenant_table(
        tenant_reference("deal_id", "deals"),
        tenant_reference("contact_id", "contacts"),
        UniqueConstraint("tenant_id", "deal_id", "contact_id"),
        Index("ix_deal_contacts_contact", "tenant_id", "contact_id"),
    )

    deal_id: Mapped[int] = mapped_column(BigId)
    contact_id: Mapped[int] = mapped_column(BigId)
    is_primary: Mapped[bool] = mapped_column(Boolean, default=False)

    deal: Mapped[Deal] = relationship(
        primaryjoin="foreign(DealContact.deal_id) == Deal.id", back_populates="people"
    )
    contact: Mapped[Contact] = relationship(primaryjoin="foreign(DealContact.contact_id) == Contact.id")


class DealTag(RecordTag, Base):
    """A tag on a deal."""

    __tablename__ = "deal_tags"
    __table_args__ = record_tag_table("deal_tags", "deal_id", "deals")

    deal_id: Mapped[int] = mapped_column(BigId)

    deal: Mapped[Deal] = relationship(
        primaryjoin="foreign(DealTag.deal_id) == Deal.id", back_populates="tag_rows"
    )


searchable(Deal, "deal", lambda row: [row.title, row.source])

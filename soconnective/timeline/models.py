"""Notes: what somebody, or a rule, wrote on a record."""

from __future__ import annotations

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core.model import (
    Base,
    BigId,
    CreatedBy,
    TenantOwned,
    Timestamped,
    Versioned,
    tenant_reference,
    tenant_table,
)


class Note(TenantOwned, Timestamped, Versioned, CreatedBy, Base):
    """A note. One written by a rule (`created_by_kind` automation) is a System Note."""

    __tablename__ = "notes"
    __table_args__ = tenant_table(
        tenant_reference("contact_id", "contacts"),
        tenant_reference("company_id", "companies"),
        tenant_reference("deal_id", "deals"),
        Index("ix_notes_contact", "tenant_id", "contact_id"),
        Index("ix_notes_company", "tenant_id", "company_id"),
        Index("ix_notes_deal", "tenant_id", "deal_id"),
    )

    body: Mapped[str] = mapped_column(Text)
    contact_id: Mapped[int | None] = mapped_column(BigId)
    company_id: Mapped[int | None] = mapped_column(BigId)
    deal_id: Mapped[int | None] = mapped_column(BigId)

    @property
    def is_system(self) -> bool:
        return self.created_by_kind == "automation"

    @property
    def author(self) -> str:
        """Who wrote it; a rule's note is shown as "System · rule name"."""
        return f"System · {self.created_by_name}" if self.is_system else self.created_by_name

"""Rules as data: the rule, its steps, each saved version of it, and every run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Float, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core import clock
from soconnective.core.model import (
    Base,
    BigId,
    CreatedBy,
    Json,
    TenantOwned,
    Timestamped,
    UtcDateTime,
    Versioned,
    tenant_reference,
    tenant_table,
)

# outcome: how people read it
OUTCOMES = {
    "succeeded": "success",
    "partly_succeeded": "partly done",
    "failed": "error",
    "not_matched": "did not match",
    "waiting": "waiting",
    "cancelled": "cancelled",
    "skipped": "skipped",
    "shadowed": "shadow",
}
ON_FAILURE = {"undo": "undo the whole rule", "keep": "keep what succeeded"}


class Automation(TenantOwned, Timestamped, Versioned, CreatedBy, Base):
    """A rule: when `trigger` happens, do the steps. `version` counts its saves, toggles included.

    Off, in the shadow (`is_shadow`: it looks, and says what it would do), or on (`is_active`); never both.

    `definition_number` names the version of what it *does* (see `AutomationVersion`).
    """

    __tablename__ = "automations"
    __table_args__ = tenant_table(
        CheckConstraint("on_failure IN ('undo', 'keep')", name="on_failure"),
        Index("ix_automations_candidates", "tenant_id", "trigger", "is_active", "position", "id"),
        Index("ix_automations_key", "tenant_id", "key", unique=True),
    )

    name: Mapped[str] = mapped_column(String(120))
    trigger: Mapped[str] = mapped_column(String(80))
    trigger_settings: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    conditions: Mapped[dict[str, Any] | None] = mapped_column(Json)
    position: Mapped[int] = mapped_column(Integer, default=0)
    is_active: Mapped[bool] = mapped_column(Boolean, default=False)
    is_shadow: Mapped[bool] = mapped_column(Boolean, default=False)
    activated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    on_failure: Mapped[str] = mapped_column(String(10), default="undo")
    definition_number: Mapped[int] = mapped_column(Integer, default=1)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime
    )  # by the breaker, until somebody resumes it
    paused_why: Mapped[str | None] = mapped_column(Text)
    off_since: Mapped[datetime | None] = mapped_column(UtcDateTime)  # a person said so; None while it looks
    gap: Mapped[dict[str, Any] | None] = mapped_column(Json)  # see `automation.due_missed`
    key: Mapped[str | None] = mapped_column(
        String(140)
    )  # its name in rules as text; stays when it is renamed
    examples: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)  # see `automation.examples`

    @property
    def looks(self) -> bool:
        """Whether it looks at what happens: it is on, or in the shadow."""
        return (self.is_active or self.is_shadow) and self.deleted_at is None

    @property
    def is_published(self) -> bool:
        """Whether it has ever done anything: a rule that is only a draft has no version and no trigger yet."""
        return self.definition_number > 0

    @property
    def holds(self) -> bool:
        """Whether what comes up while it does not look is kept for later: it is paused, and nobody said off."""
        return self.paused_at is not None and not self.looks and self.off_since is None

    @property
    def state(self) -> str:
        if not self.is_published:
            return "draft"
        return "on" if self.is_active else "shadow" if self.is_shadow else "off"


class AutomationStep(TenantOwned, Base):
    """One step of a rule as it is now; `parent_id` and `branch` are there for steps inside steps."""

    __tablename__ = "automation_steps"
    __table_args__ = tenant_table(
        tenant_reference("automation_id", "automations"),
        tenant_reference("parent_id", "automation_steps"),
        Index("ix_automation_steps_automation", "tenant_id", "automation_id", "position"),
    )

    automation_id: Mapped[int] = mapped_column(BigId)
    position: Mapped[int] = mapped_column(Integer)
    parent_id: Mapped[int | None] = mapped_column(BigId)
    branch: Mapped[str | None] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(80))
    settings: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    is_off: Mapped[bool | None] = mapped_column(Boolean)  # kept, and passed by
    note: Mapped[str | None] = mapped_column(String(500))


class AutomationVersion(TenantOwned, Base):
    """What a rule did from one save to the next: its definition as canonical JSON text, never changed."""

    __tablename__ = "automation_versions"
    __table_args__ = tenant_table(
        tenant_reference("automation_id", "automations"),
        UniqueConstraint("tenant_id", "automation_id", "number"),
    )

    automation_id: Mapped[int] = mapped_column(BigId)
    number: Mapped[int] = mapped_column(Integer)
    definition: Mapped[str] = mapped_column(Text)
    sentence: Mapped[str] = mapped_column(Text, default="")
    saved_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    saved_by_kind: Mapped[str] = mapped_column(String(20), default="system")
    saved_by_id: Mapped[int | None] = mapped_column(BigId)
    saved_by_name: Mapped[str] = mapped_column(String(200), default="")


class AutomationDraft(TenantOwned, Base):
    """What a rule will do once somebody publishes it; until then its last version goes on working."""

    __tablename__ = "automation_drafts"
    __table_args__ = tenant_table(
        tenant_reference("automation_id", "automations"),
        UniqueConstraint("tenant_id", "automation_id"),
    )

    automation_id: Mapped[int] = mapped_column(BigId)
    definition: Mapped[str] = mapped_column(Text)
    saved_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    saved_by_kind: Mapped[str] = mapped_column(String(20), default="system")
    saved_by_id: Mapped[int | None] = mapped_column(BigId)
    saved_by_name: Mapped[str] = mapped_column(String(200), default="")


class AutomationReplacement(TenantOwned, Base):
    """What took the place of something that went (a stage, a tag, a person): what began at an older version follows."""

    __tablename__ = "automation_replacements"
    __table_args__ = tenant_table(Index("ix_automation_replacements_at", "tenant_id", "at"))

    kind: Mapped[str] = mapped_column(String(40))
    old_id: Mapped[int] = mapped_column(BigId)
    new_id: Mapped[int] = mapped_column(BigId)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)


class AutomationTurn(TenantOwned, Base):
    """Whose turn it is: a number that a rule counts up, for what goes round."""

    __tablename__ = "automation_turns"
    __table_args__ = tenant_table(
        tenant_reference("automation_id", "automations"),
        UniqueConstraint("tenant_id", "automation_id", "name"),
    )

    automation_id: Mapped[int] = mapped_column(BigId)
    name: Mapped[str] = mapped_column(String(40))
    number: Mapped[int] = mapped_column(Integer, default=0)


class AutomationRun(TenantOwned, Base):
    """One rule looking at one event: what came of it, in words and as a trace.

    Attempt 0 is the live run; unique, so that one fact fires a rule once. Further attempts were asked for
    by a person (`asked_by`). `undone_at`: what it did was taken back. `automation_id` is NULL where the
    engine itself failed before it got to a rule.
    """

    __tablename__ = "automation_runs"
    __table_args__ = tenant_table(
        tenant_reference("automation_id", "automations"),
        tenant_reference("event_id", "events"),
        UniqueConstraint("tenant_id", "event_id", "automation_id", "attempt"),
        Index("ix_automation_runs_automation", "tenant_id", "automation_id", "id"),
        Index("ix_automation_runs_record", "tenant_id", "record_type", "record_id", "id"),
        Index("ix_automation_runs_outcome", "tenant_id", "outcome", "id"),
        Index(  # what the breaker and the statistics read, without a look at the rows
            "ix_automation_runs_outcomes",
            "tenant_id",
            "automation_id",
            "outcome",
            "started_at",
            "milliseconds",
        ),
        Index(
            "ix_automation_runs_waiting",
            "tenant_id",
            "record_type",
            "record_id",
            sqlite_where=text("outcome = 'waiting'"),
            postgresql_where=text("outcome = 'waiting'"),
        ),
    )

    automation_id: Mapped[int | None] = mapped_column(BigId)
    automation_number: Mapped[int | None] = mapped_column(Integer)
    event_id: Mapped[int] = mapped_column(BigId)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    record_type: Mapped[str] = mapped_column(String(40))
    record_id: Mapped[int] = mapped_column(BigId)
    outcome: Mapped[str] = mapped_column(String(20))
    detail: Mapped[str] = mapped_column(Text, default="")
    trace: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    milliseconds: Mapped[float] = mapped_column(Float, default=0.0)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    planned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    waits_for: Mapped[str | None] = mapped_column(String(80))
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    asked_by: Mapped[str | None] = mapped_column(String(200))

    @property
    def undelivered(self) -> list[dict[str, Any]]:
        """What it sent and nobody got (`made` of its steps): the outcome is of the transaction, this came later."""
        made = (one for step in self.trace.get("steps", ()) for one in step["made"])
        return [one for one in made if one.get("undelivered")]

"""Keeps what follows from a deal's stage right, however the stage was set."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import PassiveFlag, UOWTransaction
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm.attributes import get_history

from soconnective.core import clock
from soconnective.core.db import Session
from soconnective.core.errors import CrossTenant
from soconnective.deals.models import Deal, Stage


@event.listens_for(Session, "before_flush")
def _on_before_flush(session: OrmSession, _context: UOWTransaction, _instances: Any) -> None:
    for row in session.new:
        if isinstance(row, Deal):
            _follow(session, row)
    for row in session.dirty:
        if isinstance(row, Deal) and _stage_changed(row):
            _follow(session, row)


def _stage_changed(deal: Deal) -> bool:
    changed = inspect(deal).committed_state
    return "stage_id" in changed or "stage" in changed


def _follow(session: OrmSession, deal: Deal) -> None:
    stage = deal.__dict__.get("stage")
    by_relation = get_history(deal, "stage", PassiveFlag.PASSIVE_NO_INITIALIZE).has_changes()
    if stage is None or (not by_relation and stage.id != deal.stage_id):
        if deal.stage_id is None:
            return  # the NOT NULL constraint says it
        with session.no_autoflush:
            stage = session.get(Stage, deal.stage_id)
    if stage is None:
        raise CrossTenant("the stage of a deal does not exist in this workspace")
    moved = (
        bool(get_history(deal, "stage_id", PassiveFlag.PASSIVE_NO_INITIALIZE).has_changes()) or by_relation
    )
    pipeline_id = stage.pipeline_id if stage.pipeline_id is not None else stage.pipeline.id
    if deal.pipeline_id != pipeline_id:
        deal.pipeline_id = pipeline_id
    if deal.status != stage.kind:
        deal.status = stage.kind
        deal.closed_at = None if stage.kind == "open" else clock.now()
    if stage.kind != "lost" and deal.lost_reason is not None:
        deal.lost_reason = None
    if moved:
        deal.stage_entered_at = clock.now()

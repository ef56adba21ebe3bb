"""Every write to deals."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.registry import registry
from soconnective.core.workspace import current_workspace
from soconnective.deals.models import Deal, DealContact, Stage
from soconnective.tags.operations import set_tags

_COLUMNS = (
    "title",
    "amount",
    "currency",
    "owner_id",
    "company_id",
    "expected_close_on",
    "source",
    "lost_reason",
)
CENT = Decimal("0.01")


def create_deal(
    title: str,
    stage_id: int,
    *,
    contact_ids: Sequence[int] = (),
    currency: str | None = None,
    tag_ids: Sequence[int] | None = None,
    new_tags: str | None = None,
    **values: Any,
) -> Deal:
    """A new deal in `stage_id`; the first of `contact_ids` is its primary contact."""
    actor = current_actor()
    deal = Deal(
        stage=_stage(stage_id),
        currency=currency or current_workspace().currency,
        created_by_kind=actor.kind,
        created_by_id=actor.id,
        created_by_name=actor.name,
    )
    _assign(deal, {"title": title, **values})
    db.session.add(deal)
    db.session.flush()
    if contact_ids:
        set_deal_contacts(deal, contact_ids)
    set_tags(deal, tag_ids, new_tags)
    return deal


def update_deal(
    deal: Deal,
    *,
    contact_ids: Sequence[int] | None = None,
    stage_id: int | None = None,
    tag_ids: Sequence[int] | None = None,
    new_tags: str | None = None,
    **values: Any,
) -> Deal:
    """Change the given columns; a changed stage is a move."""
    if stage_id is not None and stage_id != deal.stage_id:
        move_deal(deal, _stage(stage_id), lost_reason=values.pop("lost_reason", None))
    _assign(deal, values)
    if contact_ids is not None:
        set_deal_contacts(deal, contact_ids)
    set_tags(deal, tag_ids, new_tags)
    return deal


def move_deal(deal: Deal, stage: Stage, lost_reason: str | None = None) -> Deal:
    """Put the deal into `stage`. Moving to a lost stage asks for the reason (`Refused` at "lost_reason")."""
    if stage.kind == "lost" and deal.stage_id != stage.id and not lost_reason:
        raise Refused("Say why the deal was lost.", "lost_reason")
    if stage.id != deal.stage_id:
        deal.stage = stage
    if stage.kind == "lost" and lost_reason:
        deal.lost_reason = lost_reason
    return deal


def set_deal_contacts(deal: Deal, contact_ids: Sequence[int]) -> None:
    """The people on the deal, the primary one first; rows that stay are kept."""
    wanted = list(dict.fromkeys(contact_ids))
    rows = {row.contact_id: row for row in deal.people}
    kept = []
    for index, contact_id in enumerate(wanted):
        row = rows.get(contact_id) or DealContact(contact_id=contact_id)
        if row.is_primary != (index == 0):
            row.is_primary = index == 0
        kept.append(row)
    if [row.contact_id for row in deal.people] != wanted:
        deal.people = kept
    db.session.flush()


def delete_deal(deal: Deal) -> None:
    """Delete a deal; what hangs on it is released first, through the ORM, so that events fire."""
    for dependant in registry.dependants_of("deal"):
        dependant.release(deal)
    db.session.flush()
    db.session.delete(deal)


def _assign(deal: Deal, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name not in _COLUMNS:
            raise TypeError(f"a deal has no {name}")
        is_money = name == "amount" and value is not None
        setattr(deal, name, Decimal(value).quantize(CENT) if is_money else value)


def _stage(stage_id: int) -> Stage:
    stage = db.session.get(Stage, stage_id)
    if stage is None:
        raise Refused("Choose a stage of this workspace.", "stage_id")
    return stage

"""The facts that deals announce, and what fires when.

| what was saved                                   | events |
| --- | --- |
| a new deal in an open stage                      | deal.created |
| a new deal in a won (lost) stage                 | deal.created, deal.won (deal.lost) |
| another stage, still open                        | deal.stage_changed |
| open or lost → won                               | deal.stage_changed, deal.won |
| open or won → lost                               | deal.stage_changed, deal.lost |
| won → won in another pipeline                    | deal.stage_changed |
| won → open (reopened)                            | deal.stage_changed |
| another title, amount, owner, contact, ...       | deal.updated |
| both at once                                     | deal.stage_changed (+ won or lost), deal.updated |
| tags put on or taken off                         | deal.tag_added, deal.tag_removed (see `tags.facts`) |
| A → B → A, or the same values again              | nothing |
| created and deleted in one transaction           | nothing |
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select

from soconnective.contacts.models import Company, Contact, ContactIdentity
from soconnective.core.db import db, plain
from soconnective.core.registry import person
from soconnective.deals.models import Deal, DealContact, DealTag, Pipeline, Stage
from soconnective.events import Change, Part, Watch, declare, watch
from soconnective.tags.facts import FIELD, read_tags, tag_events, tag_part, tags_column
from soconnective.tags.taggable import Taggable, register_taggable

DEALS = register_taggable(Taggable("deal", Deal, DealTag, "deal_id", "deals.index", {"status": "all"}))

DEAL_CREATED = declare(
    "deal.created",
    "deal",
    "Deal created",
    sent_when="A deal is saved for the first time, in whatever stage.",
    not_when="Its first stage is no deal.stage_changed; a first stage that is won adds deal.won.",
)
DEAL_UPDATED = declare(
    "deal.updated",
    "deal",
    "Deal changed",
    sent_when="Any value but the stage changed: title, amount, owner, company, contacts, dates, source.",
    not_when="A pure stage change is deal.stage_changed; a lost reason given with the move belongs to the move.",
)
DEAL_STAGE_CHANGED = declare(
    "deal.stage_changed",
    "deal",
    "Deal moved",
    sent_when="An existing deal stands in another stage than before the save.",
    not_when="Not on creation; not when it was moved away and back within one save.",
)
DEAL_WON = declare(
    "deal.won",
    "deal",
    "Deal won",
    sent_when="A deal became won: moved into a won stage from one that is not, or created in one. Again after a reopening.",
    not_when="Not when it moves from one won stage to another.",
)
DEAL_LOST = declare(
    "deal.lost",
    "deal",
    "Deal lost",
    sent_when="A deal became lost: moved into a lost stage from one that is not, or created in one.",
    not_when="Not when it moves from one lost stage to another.",
)
DEAL_DELETED = declare(
    "deal.deleted",
    "deal",
    "Deal deleted",
    sent_when="A deal was deleted, with the values it had.",
    not_when="Not when it is lost.",
)
DEAL_TAG_ADDED = declare(
    "deal.tag_added",
    "deal",
    "Deal got a tag",
    sent_when="A deal has a tag, or several, that it did not have before the save; a new one with tags too.",
    not_when="Not when a tag is renamed or recoloured; it is no deal.updated.",
)
DEAL_TAG_REMOVED = declare(
    "deal.tag_removed",
    "deal",
    "Deal lost a tag",
    sent_when="A deal lacks a tag, or several, that it had before the save; also when the tag itself was deleted.",
    not_when="Not when the deal is deleted; it is no deal.updated.",
)

_MOVE_FIELDS = {"stage_id", "status", "pipeline_id"}


def classify(change: Change) -> list[str]:
    """The rows of the table above."""
    if change.kind == "deleted":
        return ["deal.deleted"]
    status = change.fields.get("status", (None, None))[1]
    if change.kind == "created":
        ended = [f"deal.{status}"] if status in ("won", "lost") else []
        return ["deal.created", *ended, *tag_events("deal", change)]
    found = []
    if "stage_id" in change.fields:
        found.append("deal.stage_changed")
        if status in ("won", "lost"):
            found.append(f"deal.{status}")
    others = set(change.fields) - _MOVE_FIELDS - {FIELD}
    if "stage_id" in change.fields:
        others.discard("lost_reason")
    if others:
        found.append("deal.updated")
    return [*found, *tag_events("deal", change)]


# Core, with the tenant in every join: this runs for every changed deal.
_d, _s, _p, _co, _dc, _c, _ci = (
    model.__table__.c for model in (Deal, Stage, Pipeline, Company, DealContact, Contact, ContactIdentity)
)
_names = (
    select(
        _s.name.label("stage"),
        _s.kind.label("stage_kind"),
        _p.name.label("pipeline"),
        _co.name.label("company"),
        _c.name.label("contact"),
        _c.id.label("contact_id"),
        tags_column(DEALS).label("tags"),
        _c.job_title.label("contact_job_title"),
        _co.domain.label("company_domain"),
        select(_ci.value)
        .where(_ci.tenant_id == _c.tenant_id, _ci.contact_id == _c.id, _ci.kind == "email")
        .order_by(_ci.id)
        .limit(1)
        .scalar_subquery()
        .label("contact_email"),
    )
    .select_from(Deal.__table__)
    .join(Stage.__table__, (_s.tenant_id == _d.tenant_id) & (_s.id == _d.stage_id))
    .join(Pipeline.__table__, (_p.tenant_id == _d.tenant_id) & (_p.id == _d.pipeline_id))
    .outerjoin(Company.__table__, (_co.tenant_id == _d.tenant_id) & (_co.id == _d.company_id))
    .outerjoin(
        DealContact.__table__, (_dc.tenant_id == _d.tenant_id) & (_dc.deal_id == _d.id) & _dc.is_primary
    )
    .outerjoin(Contact.__table__, (_c.tenant_id == _d.tenant_id) & (_c.id == _dc.contact_id))
    .where(_d.tenant_id == bindparam("tenant_id"), _d.id == bindparam("deal_id"))
)


def snapshot(deal: Deal) -> dict[str, Any]:
    """The deal's values and the names of what it points to, by one statement."""
    which = {"tenant_id": deal.tenant_id, "deal_id": deal.id}
    names = db.session.connection().execute(_names, which).one()
    owner = person(deal.owner_id)
    return {
        "id": deal.id,
        "deal_id": deal.id,
        "title": deal.title,
        "amount": plain(deal.amount),
        "currency": deal.currency,
        "stage": names.stage,
        "stage_id": deal.stage_id,
        "stage_kind": names.stage_kind,
        "stage_entered_at": plain(deal.stage_entered_at),
        "pipeline": names.pipeline,
        "pipeline_id": deal.pipeline_id,
        "status": deal.status,
        "owner": owner.name if owner else None,
        "owner_id": deal.owner_id,
        "company": names.company,
        "company_id": deal.company_id,
        "company_domain": names.company_domain,
        "contact": names.contact,
        "contact_id": names.contact_id,
        "contact_email": names.contact_email,
        "contact_job_title": names.contact_job_title,
        "expected_close_on": plain(deal.expected_close_on),
        "source": deal.source,
        "lost_reason": deal.lost_reason,
        **read_tags(names.tags),
    }


watch(
    Watch(
        Deal,
        "deal",
        (
            "title",
            "amount",
            "currency",
            "stage_id",
            "pipeline_id",
            "status",
            "owner_id",
            "company_id",
            "expected_close_on",
            "source",
            "lost_reason",
        ),
        classify,
        snapshot,
        {"company_id": "company"},
        (
            Part(
                DealContact, "deal_id", "contact_ids", lambda row: row.contact_id, ("contact_id", "contact")
            ),
            tag_part(DEALS),
        ),
    )
)

"""Pipelines, stages and deals.

Owns `pipelines`, `stages`, `deals` and `deal_contacts`. Knows nothing of tasks, appointments or notes:
what comes next on a deal is given by `queries.next_steps`.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, g, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from soconnective.contacts.models import Company, Contact
from soconnective.core.db import db
from soconnective.core.registry import (
    Dependant,
    Holding,
    NavItem,
    NewItem,
    Panel,
    RecordType,
    Search,
    SearchHit,
    SettingsSection,
    registry,
)
from soconnective.core.search import among, matching
from soconnective.core.tenancy import acting_in
from soconnective.deals import (
    actions,
    automation,
    conditions,
    events,
    pipeline_views,
    queries,
    recipes,
    references,
    stage_sync,
    views,
)
from soconnective.deals.models import Deal, DealContact
from soconnective.deals.pipeline_operations import create_pipeline
from soconnective.mail import mail_panel

__all__ = ["actions", "automation", "conditions", "events", "init_app", "recipes", "references", "stage_sync"]


def init_app(app: Flask) -> None:
    app.register_blueprint(views.bp)
    app.register_blueprint(pipeline_views.bp)
    app.extensions.setdefault("soconnective.new_workspace", []).append(_prepare)
    registry.add(
        RecordType(
            "deal",
            "Deal",
            "Deals",
            "briefcase",
            Deal,
            lambda row_id: url_for("deals.show", deal_id=row_id),
            lambda row: row.title,
            (
                ("title", "title"),
                ("amount", "amount"),
                ("currency", "currency"),
                ("stage", "stage"),
                ("pipeline", "pipeline"),
                ("owner", "owner"),
                ("company", "company"),
                ("company_domain", "company's domain"),
                ("contact", "primary contact"),
                ("contact_email", "contact's e-mail"),
                ("contact_job_title", "contact's job title"),
                ("expected_close_on", "expected close"),
                ("source", "source"),
                ("lost_reason", "lost reason"),
                ("tags", "tags"),
            ),
            apart=("company_id", "stage_id", "stage_entered_at"),
        ),
        NavItem("deals", "Deals", "deals.index", "briefcase", 30),
        NewItem("deal", "Deal", "deals.new", "briefcase", 30, _for_record),
        SettingsSection(
            "pipelines",
            "Pipelines",
            "pipelines.index",
            "adjustments",
            40,
            "pipelines.edit",
            "Stages, their order, and which one means won.",
        ),
        mail_panel("deal"),
        Panel("deals", "contact", 20, "deals/_panel.html", _deals_of_contact),
        Panel("deals-of-company", "company", 20, "deals/_panel.html", _deals_of_company),
        Panel("home-deals", "home", 30, "deals/_home.html", _open_deals, side=True),
        Dependant(
            "deals",
            "company",
            "deals",
            "kept, without the company",
            lambda c: _count(Deal.company_id == c.id),
            _release_company,
        ),
        Dependant(
            "deal-contacts",
            "contact",
            "deals",
            "kept, without this contact",
            _count_with,
            _release_contact,
        ),
        Search("deals", "Deals", 30, _find),
        Holding(
            "deals", "open deals", lambda p: _count(Deal.owner_id == p, Deal.status == "open"), _hand_over
        ),
    )


def _prepare(_tenant_id: int) -> None:
    """A new workspace begins with one pipeline. The caller has entered nothing yet."""
    with acting_in(_tenant_id):
        create_pipeline("Sales")
        db.session.flush()


def _for_record(record_type: str, record_id: int) -> dict[str, Any] | None:
    return {f"{record_type}_id": record_id} if record_type in ("contact", "company") else None


def _deals_of_contact(contact: Contact) -> dict[str, Any]:
    ids = select(DealContact.deal_id).where(DealContact.contact_id == contact.id)
    return _panel(Deal.id.in_(ids), {"contact_id": contact.id})


def _deals_of_company(company: Company) -> dict[str, Any]:
    return _panel(Deal.company_id == company.id, {"company_id": company.id})


def _panel(condition: Any, args: dict[str, Any]) -> dict[str, Any]:
    rows = db.session.scalars(
        select(Deal).where(condition).options(joinedload(Deal.stage)).order_by(Deal.id.desc()).limit(20)
    ).all()
    return {
        "deals": rows,
        "new_url": url_for("deals.new", **args),
        "more_url": url_for("deals.index", status="all", **args),
    }


def _open_deals(_record: Any) -> dict[str, Any]:
    return {"sums": queries.sums(select(Deal).where(Deal.status == "open", Deal.owner_id == g.person.id))}


def _count(*conditions: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(Deal).where(*conditions)) or 0


def _count_with(contact: Contact) -> int:
    return (
        db.session.scalar(
            select(func.count()).select_from(DealContact).where(DealContact.contact_id == contact.id)
        )
        or 0
    )


def _release_company(company: Company) -> None:
    for deal in db.session.scalars(select(Deal).where(Deal.company_id == company.id)):
        deal.company_id = None


def _release_contact(contact: Contact) -> None:
    for row in db.session.scalars(select(DealContact).where(DealContact.contact_id == contact.id)):
        others = [other for other in row.deal.people if other is not row]
        if row.is_primary and others:
            others[0].is_primary = True
        row.deal.people.remove(row)


def _hand_over(person_id: int, to_id: int | None) -> None:
    for deal in db.session.scalars(select(Deal).where(Deal.owner_id == person_id, Deal.status == "open")):
        deal.owner_id = to_id


def _find(words: str, limit: int) -> list[SearchHit]:
    found = matching("deal", words)
    if found is None:
        return []
    rows = db.session.scalars(
        select(Deal)
        .where(among(Deal.id, found))
        .options(joinedload(Deal.stage))
        .order_by(Deal.title)
        .limit(limit)
    )
    return [SearchHit(d.title, d.stage.name, url_for("deals.show", deal_id=d.id), "briefcase") for d in rows]

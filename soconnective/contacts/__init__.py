"""People, companies, and the identities that lead to them.

Owns `contacts`, `contact_identities` and `companies`. Knows nothing of deals, tasks or appointments:
those register their panels and what they do when a person or company is deleted.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, url_for
from sqlalchemy import func, select

from soconnective.contacts import actions, automation, company_views, conditions, events, mail, views
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
    registry,
)
from soconnective.core.search import among, matching
from soconnective.mail import mail_panel

__all__ = ["actions", "automation", "conditions", "events", "init_app", "mail"]


def init_app(app: Flask) -> None:
    app.register_blueprint(views.bp)
    app.register_blueprint(company_views.bp)
    registry.add(
        RecordType(
            "contact",
            "Contact",
            "Contacts",
            "users",
            Contact,
            lambda row_id: url_for("contacts.show", contact_id=row_id),
            lambda row: row.name,
            (
                ("name", "name"),
                ("first_name", "first name"),
                ("last_name", "last name"),
                ("email", "e-mail"),
                ("phone", "phone"),
                ("job_title", "job title"),
                ("company", "company"),
                ("company_domain", "company's domain"),
                ("owner", "owner"),
                ("tags", "tags"),
            ),
            apart=("company_id", "email"),
        ),
        RecordType(
            "company",
            "Company",
            "Companies",
            "building",
            Company,
            lambda row_id: url_for("companies.show", company_id=row_id),
            lambda row: row.name,
            (
                ("name", "name"),
                ("domain", "domain"),
                ("phone", "phone"),
                ("owner", "owner"),
                ("tags", "tags"),
            ),
            apart=("domain", "phone"),
        ),
        NavItem("contacts", "Contacts", "contacts.index", "users", 10),
        NavItem("companies", "Companies", "companies.index", "building", 20),
        NewItem("contact", "Contact", "contacts.new", "user-plus", 10, _for_company),
        NewItem("company", "Company", "companies.new", "building", 20, lambda _type, _id: None),
        mail_panel("contact"),
        Panel("contacts", "company", 10, "contacts/_panel.html", _people_of),
        Dependant(
            "contacts", "company", "contacts", "kept, without the company", _count_people, _release_people
        ),
        Search("contacts", "Contacts", 10, _find_contacts),
        Search("companies", "Companies", 20, _find_companies),
        Holding(
            "contacts",
            "contacts",
            lambda p: _count_owned(Contact, p),
            lambda p, to: _hand_over(Contact, p, to),
        ),
        Holding(
            "companies",
            "companies",
            lambda p: _count_owned(Company, p),
            lambda p, to: _hand_over(Company, p, to),
        ),
    )


def _for_company(record_type: str, record_id: int) -> dict[str, Any] | None:
    return {"company_id": record_id} if record_type == "company" else None


def _people_of(company: Company) -> dict[str, Any]:
    rows = db.session.scalars(
        select(Contact).where(Contact.company_id == company.id).order_by(Contact.name).limit(20)
    ).all()
    return {"contacts": rows}


def _count_people(company: Company) -> int:
    return (
        db.session.scalar(select(func.count()).select_from(Contact).where(Contact.company_id == company.id))
        or 0
    )


def _release_people(company: Company) -> None:
    for contact in db.session.scalars(select(Contact).where(Contact.company_id == company.id)):
        contact.company_id = None


def _count_owned(model: Any, person_id: int) -> int:
    return db.session.scalar(select(func.count()).select_from(model).where(model.owner_id == person_id)) or 0


def _hand_over(model: Any, person_id: int, to_id: int | None) -> None:
    for row in db.session.scalars(select(model).where(model.owner_id == person_id)):
        row.owner_id = to_id


def _find_contacts(words: str, limit: int) -> list[SearchHit]:
    found = matching("contact", words)
    if found is None:
        return []
    rows = db.session.scalars(
        select(Contact).where(among(Contact.id, found)).order_by(Contact.name).limit(limit)
    )
    return [
        SearchHit(c.name, c.job_title or "", url_for("contacts.show", contact_id=c.id), "users") for c in rows
    ]


def _find_companies(words: str, limit: int) -> list[SearchHit]:
    found = matching("company", words)
    if found is None:
        return []
    rows = db.session.scalars(
        select(Company).where(among(Company.id, found)).order_by(Company.name).limit(limit)
    )
    return [
        SearchHit(c.name, c.domain or "", url_for("companies.show", company_id=c.id), "building")
        for c in rows
    ]

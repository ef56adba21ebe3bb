"""Reads of people and companies that more than one place needs."""

from __future__ import annotations

from flask import abort
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from soconnective.contacts.models import Company, Contact
from soconnective.core.db import db


def get_contact(contact_id: int) -> Contact:
    """The contact, or 404: the same answer for a missing one and for another tenant's."""
    ways = (selectinload(Contact.identities), joinedload(Contact.tag_rows), joinedload(Contact.company))
    return db.session.get(Contact, contact_id, options=ways) or abort(404)


def get_company(company_id: int) -> Company:
    return db.session.get(Company, company_id, options=(joinedload(Company.tag_rows),)) or abort(404)


def contact_choices(keep: int | None = None, limit: int = 500) -> list[tuple[int, str]]:
    """(id, name) for a select: the first `limit` by name, and always `keep`."""
    return _choices(Contact, keep, limit)


def company_choices(keep: int | None = None, limit: int = 500) -> list[tuple[int, str]]:
    return _choices(Company, keep, limit)


def _choices(model: type[Contact | Company], keep: int | None, limit: int) -> list[tuple[int, str]]:
    rows = [
        (row.id, row.name)
        for row in db.session.execute(select(model.id, model.name).order_by(model.name).limit(limit))
    ]
    if keep is not None and keep < 2**62 and all(row[0] != keep for row in rows):
        extra = db.session.execute(select(model.id, model.name).where(model.id == keep)).first()
        if extra is not None:
            rows.insert(0, (extra.id, extra.name))
    return rows

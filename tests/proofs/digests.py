"""Digests of rows, read by a role that no wall stops, over a connection of its own: equal data, equal digests."""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Flask
from sqlalchemy import Connection, MetaData, Table, select

from soconnective.core.model import Base
from tests.databases import owner_engine

# Counts tries and remembers answers; no customer's data.
NOT_COUNTED = {"rate_windows", "form_posts"}


def tables_of_tenants() -> list[Table]:
    return [t for t in Base.metadata.sorted_tables if "tenant_id" in t.c and t.name not in NOT_COUNTED]


def digest_of(reader: Any, tenant_id: int) -> dict[str, str]:
    """By table: a hash of the tenant's rows in the order of their keys."""
    found = {}
    with reader.connect() as connection:
        for table in tables_of_tenants():
            rows = connection.execute(
                select(table)
                .where(table.c.tenant_id == tenant_id)
                .order_by(*table.primary_key.columns, *table.c)
                if not table.primary_key.columns
                else select(table).where(table.c.tenant_id == tenant_id).order_by(*table.primary_key.columns)
            ).all()
            found[table.name] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The tables whose rows are not what they were."""
    return [name for name in before if before[name] != after[name]]


def table_digest(connection: Connection, table: Table) -> tuple[int, str]:
    """How many rows, and their hash, read through the app's types: the same on both databases."""
    found, number = hashlib.sha256(), 0
    for row in connection.execute(select(table).order_by(*table.primary_key.columns)):
        number += 1
        found.update(repr(tuple(row)).encode())
    return number, found.hexdigest()


def digest_now(app: Flask, metadata: MetaData | None = None) -> dict[str, tuple[int, str]]:
    """Of every table of the app's database (a floor guards against comparing nothing)."""
    tables = (metadata or Base.metadata).sorted_tables
    assert len(tables) > 20
    with owner_engine(app).connect() as connection:
        return {table.name: table_digest(connection, table) for table in tables}

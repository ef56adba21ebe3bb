"""One hash for each table, over its rows in the order of the primary key: equal data, equal digests.

Read through the app's own tables and types, so that the two databases, a backup and what was restored
from it can be compared with each other.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from sqlalchemy import Connection, MetaData, Table

from soconnective.core.db import db


def table_digest(connection: Connection, table: Table) -> tuple[int, str]:
    """How many rows, and their hash."""
    found, number = hashlib.sha256(), 0
    for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns)):
        number += 1
        found.update(repr(tuple(row)).encode())
    return number, found.hexdigest()


def digest(connection: Connection, metadata: MetaData | None = None) -> dict[str, tuple[int, str]]:
    """Of every table (a floor guards against comparing nothing)."""
    tables = (metadata or db.metadata).sorted_tables
    assert len(tables) > 20
    return {table.name: table_digest(connection, table) for table in tables}


def digest_now() -> dict[str, tuple[int, str]]:
    """Of the current app's database, on a connection of its own."""
    with db.engine.connect() as connection:
        return digest(connection)

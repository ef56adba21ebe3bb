"""Alembic's environment: our metadata, the owner's connection, one transaction for each upgrade."""

from __future__ import annotations

from typing import Any

from alembic import context
from flask import current_app
from flask_security import AsaList
from sqlalchemy import NullPool, create_engine, text

from soconnective.core.db import db
from soconnective.core.model import UtcDateTime
from soconnective.core.row_security import grants, role_of
from soconnective.core.sqlite import reads_only


def _render(kind: str, item: Any, _context: Any) -> str | bool:
    """Our column types as plain ones: a revision must not depend on code that changes later."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, AsaList):
        return "sa.UnicodeText()"
    return False


def run() -> None:
    token = reads_only.set(False)
    owner_url = current_app.config["SOCONNECTIVE_OWNER_URL"]
    engine = create_engine(owner_url, poolclass=NullPool) if owner_url else db.engine
    try:
        with engine.connect() as connection:
            context.configure(
                connection=connection,
                target_metadata=db.metadata,
                render_item=_render,
                transaction_per_migration=True,
                **current_app.extensions["migrate"].configure_args,
            )
            with context.begin_transaction():
                context.run_migrations()
        if owner_url:
            _grant(engine)
    finally:
        reads_only.reset(token)


def _grant(engine: Any) -> None:
    """The tables are there: the role that the app works under may use their rows."""
    with engine.begin() as connection:
        there = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar()
        for statement in grants(role_of(current_app.config["DATABASE_URL"])) if there else ():
            connection.execute(text(statement))


if context.is_offline_mode():
    raise SystemExit("migrations run against a database, not offline")
run()

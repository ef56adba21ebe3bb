"""Alembic's environment: our metadata, our engine, one transaction for each upgrade."""

from __future__ import annotations

from typing import Any

from alembic import context
from flask import current_app
from flask_security import AsaList

from soconnective.core.db import db
from soconnective.core.model import UtcDateTime
from soconnective.core.sqlite import reads_only


def _include(_object: Any, name: str | None, kind: str, _reflected: bool, _compared: Any) -> bool:
    return not (kind == "table" and name == "soconnective_write_test")


def _render(kind: str, item: Any, _context: Any) -> str | bool:
    """Our column types as plain ones: a revision must not depend on code that changes later."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, AsaList):
        return "sa.UnicodeText()"
    return False


def run() -> None:
    token = reads_only.set(False)
    try:
        with db.engine.connect() as connection:
            context.configure(
                connection=connection,
                target_metadata=db.metadata,
                include_object=_include,
                render_item=_render,
                transaction_per_migration=True,
                **current_app.extensions["migrate"].configure_args,
            )
            with context.begin_transaction():
                context.run_migrations()
    finally:
        reads_only.reset(token)


if context.is_offline_mode():
    raise SystemExit("migrations run against a database, not offline")
run()

"""Up, down and up again, with a full database in between."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_migrate import downgrade, upgrade

from soconnective import create_app, demo
from soconnective.core.db import db
from tests.databases import OWNER, as_role, settings_for


@pytest.fixture
def empty_app(databases: Any) -> Any:
    url = databases.empty()
    app = create_app(settings_for(url))
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    databases.discard(url)


def counts() -> dict[str, int]:
    """As the owner: the app's own role sees no row without a workspace."""
    owner = as_role(db.engine.url.render_as_string(hide_password=False), OWNER)
    engine = sa.create_engine(owner, poolclass=sa.NullPool) if owner else db.engine
    with engine.connect() as connection:
        return {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in db.metadata.sorted_tables
        }


def test_a_full_database_survives_a_step_down_and_up(empty_app: Flask) -> None:
    with empty_app.app_context():
        upgrade()
        demo.make()
        db.session.remove()
        before = counts()
        assert before["events"] > 500
        downgrade(revision="0001")
        assert "tf_last_counter" not in {c["name"] for c in sa.inspect(db.engine).get_columns("users")}
        kept = set(sa.inspect(db.engine).get_table_names())  # a table that is younger comes back empty
        upgrade()
        after = counts()
        assert {n: after[n] for n in before if n in kept} == {n: before[n] for n in before if n in kept}
        assert len(kept & set(before)) > 20 and set(after) == set(before)


def test_all_the_way_down_leaves_nothing(empty_app: Flask) -> None:
    with empty_app.app_context():
        upgrade()
        downgrade(revision="base")
        assert set(sa.inspect(db.engine).get_table_names()) <= {
            "alembic_version",
            "sqlite_sequence",
            "sqlite_stat1",
        }
        upgrade()

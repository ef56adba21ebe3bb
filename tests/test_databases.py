"""The machinery under every other test: databases are clean, alone, and of the dialect asked for."""

import sqlalchemy as sa

from soconnective.core.db import db
from tests.databases import join


def _engine(app, url=None):
    with app.app_context():
        return sa.create_engine(url or db.engine.url, poolclass=sa.NullPool)


def test_dialect_is_the_one_of_this_run(app, request):
    with app.app_context():
        assert db.engine.dialect.name == request.config.option.database


def test_fresh_is_clean_and_counts_from_the_start(app, databases):
    tenants = db.metadata.tables["tenants"]
    values = {
        column.name: "x" if isinstance(column.type, sa.String) else None
        for column in tenants.columns
        if not (column.nullable or column.primary_key or column.default or column.server_default)
    }
    engine = _engine(app)
    for _ in range(2):
        with engine.begin() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(tenants)).scalar() == 0
            key = connection.execute(sa.insert(tenants).values(**values)).inserted_primary_key
            assert key == (1,)
        url = databases.fresh()
        if databases.dialect == "sqlite":
            engine = _engine(app, url)


def test_fresh_has_every_table_of_the_models(app):
    there = set(sa.inspect(_engine(app)).get_table_names()) - {"alembic_version"}
    assert there >= set(db.metadata.tables)
    assert len(there) > 20


def test_empty_has_no_table(app, databases):
    url = databases.empty().replace("postgresql://", "postgresql+psycopg://")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    assert sa.inspect(engine).get_table_names() == []
    databases.discard(url)


def test_workers_do_not_meet(databases, request):
    place = {"folder": str(databases.folder), "server_url": getattr(databases, "server_url", "")}
    other = join(place, f"{databases.worker}_other")
    url = other.fresh()
    assert url != databases.fresh()
    other.discard(url)
    other.close()

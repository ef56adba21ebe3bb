"""Wall 4, alone: plain SQL that no other wall sees, on PostgreSQL under the app's own role."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import InternalError, ProgrammingError

from soconnective import create_app
from soconnective.core import row_security
from soconnective.core.db import db
from soconnective.core.row_security import UnsafeRole, guarded_tables
from soconnective.core.tenancy import acting_in
from tests.databases import OWNER, as_role, settings_for
from tests.test_routes import fill


@pytest.fixture(autouse=True)
def only_postgresql(request: pytest.FixtureRequest, database_kind: str) -> None:
    """SQLite has no row-level security: there the tests of this file are about nothing, and end at once."""
    if database_kind != "postgresql":
        request.node.obj = lambda *_args, **_kwargs: None


def owners(app: Flask) -> Any:
    """An engine for the tables' owner, who sees every row."""
    return create_engine(app.config["SOCONNECTIVE_OWNER_URL"], poolclass=NullPool)


def count(table: str) -> int:
    return db.session.connection().execute(text(f"SELECT count(*) FROM {table}")).scalar_one()


def test_plain_sql_sees_only_the_current_tenant(app: Flask, team: Any, rivals: Any) -> None:
    fill(app, rivals)
    with owners(app).connect() as connection:
        query = "SELECT count(*) FROM {} WHERE tenant_id = :id"
        filled = {
            table.name: connection.execute(text(query.format(table.name)), {"id": rivals.id}).scalar_one()
            for table in guarded_tables()
        }
    assert len(filled) >= 18
    assert sum(1 for rows in filled.values() if rows) >= 15, filled
    with app.app_context():
        for name in filled:
            assert count(name) == 0, f"{name} without a tenant"
        with acting_in(rivals.id):
            assert {name: count(name) for name in filled} == filled
        with acting_in(team.id):
            for name in filled.keys() - {"pipelines", "stages"}:
                assert count(name) == 0, name


def test_plain_sql_changes_only_the_current_tenant(app: Flask, team: Any, rivals: Any) -> None:
    fill(app, rivals)
    with app.app_context(), acting_in(team.id):
        connection = db.session.connection()
        stages = len(team.stages)
        assert connection.execute(text("UPDATE stages SET name = 'stolen'")).rowcount == stages
        assert connection.execute(text("UPDATE deals SET title = 'stolen'")).rowcount == 0
        assert connection.execute(text("DELETE FROM notes")).rowcount == 0
        row = "INSERT INTO companies (tenant_id, name, created_at, updated_at, version, created_by_kind, created_by_name) VALUES (:t, 'x', now(), now(), 1, 'x', 'x')"
        with pytest.raises(ProgrammingError, match="row-level security"), connection.begin_nested():
            connection.execute(text(row), {"t": rivals.id})
        with pytest.raises(ProgrammingError, match="row-level security"), connection.begin_nested():
            connection.execute(text("UPDATE stages SET tenant_id = :t"), {"t": rivals.id})
        db.session.rollback()


def test_the_setting_follows_the_tenant_and_ends_with_the_transaction(
    app: Flask, team: Any, rivals: Any
) -> None:
    def said() -> str:
        found = db.session.connection().execute(
            text(f"SELECT current_setting('{row_security.SETTING}', true)")
        )
        return found.scalar() or ""

    with app.app_context():
        with acting_in(team.id):
            savepoint = db.session.begin_nested()
            assert said() == str(team.id)  # set inside the savepoint
            savepoint.rollback()
            assert said() == str(team.id)  # and again after it took the setting along
            with acting_in(rivals.id):
                assert said() == str(rivals.id)
            assert said() == str(team.id)
            with pytest.raises(ProgrammingError), db.session.begin_nested():
                db.session.execute(text("SELECT nonsense FROM nowhere"))
            assert said() == str(team.id)
            db.session.rollback()
        assert said() == ""


def unguarded(app: Flask) -> list[str]:
    """Tables of a tenant's rows that lack the policy, or on which it is not forced."""
    query = """SELECT c.relname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid
               WHERE c.relrowsecurity AND c.relforcerowsecurity
               AND pg_get_expr(p.polqual, c.oid) LIKE '%tenant_id = %soconnective.tenant_id%'
               AND pg_get_expr(p.polwithcheck, c.oid) = pg_get_expr(p.polqual, c.oid)"""
    with owners(app).connect() as connection:
        guarded = {row[0] for row in connection.execute(text(query))}
    return [table.name for table in guarded_tables() if table.name not in guarded]


def test_every_table_with_a_tenant_is_guarded(app: Flask) -> None:
    assert unguarded(app) == []


@pytest.mark.parametrize("planted", ["NO FORCE", "DISABLE"])
def test_a_table_without_its_guard_is_found(app: Flask, planted: str) -> None:
    undo = {"NO FORCE": "FORCE", "DISABLE": "ENABLE"}[planted]
    with owners(app).begin() as connection:
        connection.execute(text(f"ALTER TABLE deals {planted} ROW LEVEL SECURITY"))
    try:
        assert unguarded(app) == ["deals"]
    finally:
        with owners(app).begin() as connection:
            connection.execute(text(f"ALTER TABLE deals {undo} ROW LEVEL SECURITY"))


@pytest.mark.parametrize(("role", "why"), [(OWNER, "owns the tables"), ("postgres", "is a superuser")])
def test_a_role_that_the_wall_does_not_bind_is_refused(database_url: str, role: str, why: str) -> None:
    settings = settings_for(database_url) | {"DATABASE_URL": as_role(database_url, role)}
    app = create_app(settings | {"PROPAGATE_EXCEPTIONS": True})
    with app.app_context(), pytest.raises(UnsafeRole, match=why):
        db.session.execute(text("SELECT 1"))
    assert "row-level security" in app.test_cli_runner().invoke(args=["doctor"]).exception.args[0]


def test_setup_makes_roles_that_work(app: Flask, databases: Any, tmp_path: Any) -> None:
    admin = databases._url("postgres", "postgres")
    runner = app.test_cli_runner()
    for _ in range(2):  # again: new passwords, nothing lost
        said = runner.invoke(args=["setup-postgresql", admin, "--name", "proof_of_setup"])
        assert said.exit_code == 0, said.output
        found = dict(re.findall(r"^(\w+)=(postgresql:\S+)$", said.output, re.MULTILINE))
        assert found["DATABASE_URL"] != found["SOCONNECTIVE_OWNER_URL"]
        made = create_app({**found, "SECRET_KEY": "x", "TESTING": True})
        with made.app_context():
            result = made.test_cli_runner().invoke(args=["doctor"])
            from flask_migrate import upgrade

            upgrade()
            db.session.remove()
            result = made.test_cli_runner().invoke(args=["doctor"])
            assert "BAD" not in result.output and "row-level security is on" in result.output
            db.session.remove()
            db.engine.dispose()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE proof_of_setup WITH (FORCE)")
        connection.execute("DROP ROLE proof_of_setup_app")
        connection.execute("DROP ROLE proof_of_setup_owner")
    for wrong in (("setup-postgresql", admin, "--name", "a b"), ("setup-postgresql", "nonsense")):
        assert runner.invoke(args=wrong).exit_code != 0


def test_an_empty_database_without_its_owner_is_told_of(databases: Any) -> None:
    url = databases.empty()
    app = create_app(settings_for(url) | {"SOCONNECTIVE_OWNER_URL": ""})
    said = app.test_cli_runner().invoke(args=["serve"])
    assert said.exit_code == 1 and "SOCONNECTIVE_OWNER_URL" in said.output and "Traceback" not in said.output
    with app.app_context():
        db.engine.dispose()
    databases.discard(url)


def test_after_an_error_the_next_statement_fails_as_the_driver_says(app: Flask, team: Any) -> None:
    """The setting cannot be made in a transaction that is in error; what is told is the error, not the setting."""
    with app.app_context():
        db.session.remove()
        with db.engine.connect() as connection:
            with pytest.raises(ProgrammingError):
                connection.execute(text("SELECT nonsense"))
            with acting_in(team.id), pytest.raises(InternalError, match="current transaction is aborted"):
                connection.execute(text("SELECT 1"))
            connection.rollback()

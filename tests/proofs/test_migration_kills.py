"""A migration that is killed at any statement leaves a database that the next upgrade brings up to date.

Each migration is one transaction on both databases (SQLite's DDL is transactional too, once the driver
begins nothing by itself), so what a kill leaves is a schema of some revision, never half of one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_migrate import upgrade

from soconnective import create_app, demo
from soconnective.core.db import db
from tests.databases import ROOT, owner_engine, settings_for
from tests.proofs.digests import digest_now

NAME = "9 Migrations"
OLDER = "0001"  # the revision to go down to, with data


def migrate(url: str, die_at: int = 0, **more: str) -> int:
    """Run the child; it must die by its own hand at `die_at`, or end well and say how many points there are."""
    settings = {name: str(value) for name, value in settings_for(url).items() if name != "TESTING"}
    given = settings | {"DIE_AT": str(die_at), **more}
    child = subprocess.run(
        [sys.executable, "-m", "tests.proofs.dying_upgrade"],
        cwd=ROOT, env=os.environ | given, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if die_at:
        assert child.returncode == -signal.SIGKILL, child.stderr
        return die_at
    assert child.returncode == 0, child.stderr
    return int(re.findall(r"points (\d+)", child.stdout)[0])


def spread(number: int, wanted: int) -> list[int]:
    """`wanted` of the points 1 to `number`, the first and the last among them."""
    if wanted >= number:
        return list(range(1, number + 1))
    return sorted({1 + round(step * (number - 1) / (wanted - 1)) for step in range(wanted)})


@contextmanager
def opened(url: str) -> Iterator[Flask]:
    app = create_app(settings_for(url))
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def url(databases: Any) -> Iterator[str]:
    url = databases.empty()
    yield url
    databases.discard(url)


def wrong(url: str, rows: Any = None) -> list[str]:
    """What another upgrade leaves wrong: it fails, the schema is not the models', rows are not the old ones."""
    with opened(url) as app:
        try:
            upgrade()
        except (Exception, SystemExit) as error:
            return [f"upgrade: {error}"]
        with db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            found = [str(one) for one in compare_metadata(context, db.metadata)]
        if rows is not None and not found:
            now = digest_now(app)
            found += ["rows differ"] if any(now[name] != digest for name, digest in rows.items()) else []
        return found


def of_old(rows: dict[str, Any]) -> dict[str, Any]:
    """The tables that are there at the older revision; later ones go with their rows when it is gone back to."""
    first = next((ROOT / "migrations" / "versions").glob(f"{OLDER}_*.py")).read_text()
    names = set(re.findall(r'op\.create_table\(\s*"(\w+)"', first))
    assert len(names) >= 20
    return {name: digest for name, digest in rows.items() if name in names}


@pytest.mark.proof(NAME)
def test_a_killed_first_upgrade_is_made_good(url: str, databases: Any, proof: Any) -> None:
    points = migrate(url)
    assert points > 100 and wrong(url) == []
    for point in spread(points, proof.scale(6, 50)):
        killed = databases.empty()
        migrate(killed, point)
        found = wrong(killed)
        databases.discard(killed)
        assert found == [], f"killed at point {point} of {points}"
        proof.cases += 1
        proof.faults += 1


@pytest.mark.proof(NAME)
def test_a_killed_step_down_and_up_keeps_every_row(url: str, proof: Any) -> None:
    with opened(url) as app:
        upgrade()
        demo.make()
        rows = of_old(digest_now(app))
    assert rows["events"][0] > 500
    points = migrate(url, DIE_DOWN_TO=OLDER)
    assert points >= 10 and wrong(url, rows) == []
    for point in spread(points, proof.scale(6, 50)):
        migrate(url, point, DIE_DOWN_TO=OLDER)
        assert wrong(url, rows) == [], f"killed at point {point} of {points}"
        proof.cases += 1
        proof.faults += 1


@pytest.mark.control(NAME)
def test_migrations_that_commit_each_statement_are_found(url: str, databases: Any) -> None:
    points, found = migrate(url, DIE_AUTOCOMMIT="1"), []
    for point in spread(points, 4)[
        1:-1
    ]:  # one alone may be the end of a migration, where nothing is half done
        migrate(killed := databases.empty(), point, DIE_AUTOCOMMIT="1")
        found += wrong(killed)
        databases.discard(killed)
    assert found and "exists" in found[0]


@pytest.mark.control(NAME)
def test_a_lost_column_and_a_lost_row_are_found(url: str) -> None:
    with opened(url) as app:
        upgrade()
        demo.make()
        rows = digest_now(app)
        with owner_engine(app).begin() as connection:
            connection.exec_driver_sql("DELETE FROM notes WHERE id = (SELECT min(id) FROM notes)")
    assert wrong(url, rows) == ["rows differ"]
    with opened(url) as app, owner_engine(app).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE users DROP COLUMN tf_last_counter")
    assert "tf_last_counter" in wrong(url)[0]

"""Backup and restore: the same rows come back, also when others write meanwhile; what is damaged is refused."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from soconnective import create_app, demo
from soconnective.automation.models import AutomationRun
from soconnective.core.access import acting_as
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from soconnective.events import EventRow
from soconnective.tasks.models import Task
from tests.databases import owner_engine, settings_for
from tests.factories.records import make_contact, make_deal, make_rule, move
from tests.proofs.digests import digest_now
from tests.workspaces import Team

NAME = "6b Backup and restore"


def command(app: Flask, *words: object, fails: bool = False) -> str:
    result = app.test_cli_runner().invoke(args=[str(word) for word in words])
    assert (result.exit_code != 0) is fails, result.output
    assert "Traceback" not in result.output
    return str(result.output)


@pytest.fixture(autouse=True)
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Default backups and kept databases go here, not into the checkout."""
    monkeypatch.setenv("SOCONNECTIVE_INSTANCE", str(tmp_path / "instance"))
    return tmp_path / "instance"


@pytest.fixture
def other(databases: Any) -> Iterator[Callable[[], Flask]]:
    """Apps on empty databases without any table."""
    made = []

    def make() -> Flask:
        url = databases.empty()
        app = create_app(settings_for(url))
        made.append((app, url))
        return app

    yield make
    for app, url in made:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
        databases.discard(url)


def held(app: Flask) -> dict[str, tuple[int, str]]:
    return digest_now(app)


@pytest.fixture
def full(app: Flask, team: Team) -> Flask:
    """A few rows of many kinds, a won deal with its run and task among them."""
    with app.app_context(), acting_in(team.id), acting_as(team.owner.actor):
        make_rule()
        make_contact("Zoë", "Ruiz “O'Neill”", "zoe@x.example")
        move(make_deal(team.stages["Lead"]), team.stages["Won"])
        db.session.remove()
    return app


@pytest.fixture
def saved(full: Flask, tmp_path: Path) -> Path:
    command(full, "backup", tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.proof(NAME)
def test_what_was_saved_comes_back(app: Flask, other: Any, tmp_path: Path, proof: Any) -> None:
    with app.app_context():
        demo.make()
        db.session.remove()
    before = held(app)
    said = command(app, "backup", tmp_path / "saved")
    assert "row by row" in said or "digest of all rows" in said
    assert before == held(app)
    new = other()
    assert "is restored" in command(new, "restore", tmp_path / "saved")
    after = held(new)
    proof.cases += sum(number for number, _ in before.values())
    proof.found += sum(after[name] != before[name] for name in before)
    assert after == before
    assert before["events"][0] > 500
    with new.app_context():
        assert new.test_client().get("/readyz").get_json()["status"] == "jobs"  # all is there but a worker


@pytest.mark.proof(NAME)
def test_a_backup_under_load_is_of_one_moment(
    app: Flask, team: Team, other: Any, tmp_path: Path, proof: Any
) -> None:
    """Writers win deals, whose rule makes a run and a task in the same commit: a copy has all of it or none."""
    writes, failures, started = proof.scale(200, 2000), [], threading.Event()

    def write() -> None:
        try:
            with app.app_context(), acting_in(team.id), acting_as(team.owner.actor):
                for number in range(writes // 2):  # a deal made, a deal won
                    move(make_deal(team.stages["Lead"], title=f"Deal {number}"), team.stages["Won"])
                    started.set()
                db.session.remove()
        except Exception as error:
            failures.append(error)
        finally:
            started.set()

    with app.app_context(), acting_in(team.id), acting_as(team.owner.actor):
        make_rule()
        db.session.remove()
    writer = threading.Thread(target=write)
    writer.start()
    started.wait(30)
    files = []
    while writer.is_alive() and len(files) < 4:
        files.append(tmp_path / f"saved-{len(files)}")
        command(app, "backup", files[-1])
    writer.join(600)
    assert not failures and files and not writer.is_alive()
    won = []
    for file in files:
        new = other()
        command(new, "restore", file)
        won.append(unequal(new)[0])
        proof.found += unequal(new)[1]
    proof.cases += len(files)
    proof.faults += writes
    assert proof.found == 0
    assert won == sorted(won) and won[0] < writes // 2  # a copy of a moment in the middle


def unequal(app: Flask) -> tuple[int, int]:
    """How many deals are won, and what is wrong: wins without their run and task, pointers to nothing."""
    with owner_engine(app).connect() as connection:

        def count(model: Any, *conditions: Any) -> int:
            return connection.execute(
                sa.select(sa.func.count()).select_from(model.__table__).where(*conditions)
            ).scalar_one()

        wins = count(EventRow, EventRow.name == "deal.won")
        wrong = abs(wins - count(AutomationRun, AutomationRun.outcome == "succeeded"))
        wrong += abs(wins - count(Task))
        if connection.dialect.name == "sqlite":
            wrong += len(connection.execute(sa.text("PRAGMA foreign_key_check")).all())
            wrong += connection.execute(sa.text("PRAGMA integrity_check")).scalar_one() != "ok"
    return wins, wrong


def flip(file: Path, place: int) -> None:
    held = bytearray(file.read_bytes())
    held[place] ^= 1
    file.write_bytes(held)


@pytest.mark.control(NAME)
def test_one_flipped_byte_is_found(saved: Path, other: Any, database_kind: str) -> None:
    """In the midst of a name: the file stays a sound database, only its rows are others."""
    if database_kind == "sqlite":
        flip(saved, saved.read_bytes().index(b"zoe@x.example"))
        with closing(sqlite3.connect(saved)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone()
    else:
        flip(saved, saved.stat().st_size * 2 // 3)
    new = other()
    assert "damaged" in command(new, "restore", saved, fails=True)
    assert not tables(new)


@pytest.mark.control(NAME)
def test_one_changed_row_is_found(full: Flask, saved: Path, other: Any) -> None:
    new = other()
    command(new, "restore", saved)
    assert held(new) == held(full)
    with owner_engine(new).begin() as connection:
        connection.execute(
            sa.text("UPDATE tasks SET title = 'another' WHERE id = (SELECT min(id) FROM tasks)")
        )
    assert {name for name, found in held(new).items() if found != held(full)[name]} == {"tasks"}
    with owner_engine(new).begin() as connection:
        connection.execute(sa.text("DELETE FROM tasks"))
    assert unequal(new)[1] == 1


def tables(app: Flask) -> list[str]:
    return sa.inspect(owner_engine(app)).get_table_names()


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def words(file: Path) -> None:
    file.write_text("Dear all, this is the backup.\n" * 500)


def zeroed(file: Path) -> None:
    held = bytearray(file.read_bytes())
    held[len(held) // 2 : len(held) // 2 + 4096] = bytes(4096)
    file.write_bytes(held)


@pytest.mark.parametrize("damage", [truncated, empty, words, zeroed])
def test_what_is_damaged_is_refused_and_nothing_changes(full: Flask, saved: Path, damage: Any) -> None:
    before = held(full)
    damage(saved)
    said = command(full, "restore", saved, "--replace", fails=True)
    assert "Error: The file is" in said
    assert held(full) == before


def test_people_are_not_replaced_unless_told(
    full: Flask, saved: Path, instance: Path, database_url: str, database_kind: str, other: Any
) -> None:
    with owner_engine(full).begin() as connection:
        connection.execute(sa.text("UPDATE users SET name = 'Changed since'"))
    before = held(full)
    assert "--replace" in command(full, "restore", saved, fails=True)
    assert held(full) == before
    said = command(full, "restore", saved, "--replace")
    assert held(full) != before
    kept = Path(said.rsplit("before: ", 1)[1].strip())
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "before-restore" in kept.name
    beside = Path(database_url.removeprefix("sqlite:///")).parent
    assert kept.parent == (beside if database_kind == "sqlite" else instance / "backups")
    new = other()
    command(new, "restore", kept)  # what was replaced is itself a backup
    assert held(new) == before
    kept.unlink()


def test_a_newer_schema_is_refused(full: Flask, tmp_path: Path) -> None:
    with owner_engine(full).begin() as connection:
        newest = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    command(full, "backup", tmp_path / "newer")
    with owner_engine(full).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :newest"), {"newest": newest})
    before = held(full)
    assert "newer SoConnective (schema 9999)" in command(
        full, "restore", tmp_path / "newer", "--replace", fails=True
    )
    assert held(full) == before


def test_an_older_schema_is_brought_up_to_date(full: Flask, tmp_path: Path) -> None:
    from flask_migrate import downgrade, upgrade

    before = held(full)
    with full.app_context():
        downgrade(revision="0001")
        db.session.remove()
    command(full, "backup", tmp_path / "older")
    with full.app_context():
        upgrade()
        db.session.remove()
    command(full, "restore", tmp_path / "older", "--replace")
    assert held(full) == before


def test_a_file_is_not_overwritten_and_only_its_owner_reads_it(
    full: Flask, saved: Path, instance: Path
) -> None:
    held = saved.read_bytes()
    assert "exists already" in command(full, "backup", saved, fails=True)
    assert saved.read_bytes() == held
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert [found.name for found in saved.parent.iterdir() if found.name.startswith(".")] == []
    said = command(full, "backup")
    (made,) = (instance / "backups").iterdir()
    assert str(made) in said and "secret_key" in said
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_an_instance_without_data_makes_no_backup(other: Any, tmp_path: Path) -> None:
    assert "Error" in command(other(), "backup", tmp_path / "saved", fails=True)
    assert list(tmp_path.glob("*saved*")) == []

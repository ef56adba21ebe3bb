"""SQLite's planner learns what the data is like while the app runs."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, insert, select, text
from sqlalchemy.exc import OperationalError

from soconnective.contacts.models import Contact
from soconnective.core import clock, sqlite
from soconnective.core.db import db, write_transaction
from soconnective.core.sqlite import ANALYZE_AFTER
from soconnective.core.tenancy import acting_in, current_tenant_id
from soconnective.timeline.models import Note


def plan_of_a_search() -> str:
    statement = select(Contact).where(Contact.id.in_([1, 2, 3])).order_by(Contact.name).limit(51)
    words = str(statement.compile(db.engine, compile_kwargs={"literal_binds": True}))
    words = words.replace("WHERE", f"WHERE contacts.tenant_id = {current_tenant_id()} AND", 1)
    return "\n".join(
        row[-1] for row in db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {words}")
    )


@pytest.mark.parametrize("number", [100, 3000])
def test_many_changed_rows_refresh_the_statistics(
    app: Flask, team: Any, database_kind: str, number: int
) -> None:
    if database_kind != "sqlite":
        return
    with app.app_context(), acting_in(team.id):
        raw: Any = db.session.connection().connection.dbapi_connection  # a connection from before
        raw.statistics.changes, raw.statistics.limit = (
            0,
            ANALYZE_AFTER // 10,
        )  # young, whoever had the app before
        with write_transaction():
            rows = [
                {"tenant_id": team.id, "name": f"P{n}", "last_name": f"P{n}", "version": 1, "created_by_kind": "person",
                 "created_by_name": "x", "created_at": clock.now(), "updated_at": clock.now()}
                for n in range(number)
            ]  # fmt: skip
            db.session.connection().execute(insert(Contact.__table__), rows)  # type: ignore[arg-type]
        db.session.remove()
        counted = db.session.connection().execute(
            text("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat1'")
        )
        assert bool(counted.scalar()) is (number == 3000)
        walks = "USING INDEX ix_contacts_name (tenant_id=?)" in plan_of_a_search()
        assert walks is (number == 100)  # the control: without counts it walks the whole tenant


def test_many_new_records_are_one_statement_and_each_has_its_own_id(inside: Any) -> None:
    """On both databases: what came back is matched to the right object."""
    found = []

    def _note(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("INSERT INTO notes"):
            found.append(statement)

    event.listen(db.engine, "before_cursor_execute", _note)
    with write_transaction():
        notes = [Note(body=f"note {n}") for n in range(300)]
        db.session.add_all(notes)
        db.session.flush()
        ids = [note.id for note in notes]
    event.remove(db.engine, "before_cursor_execute", _note)
    assert len(found) < 5 and ids == sorted(set(ids))
    stored = dict(db.session.execute(select(Note.id, Note.body)).all())  # type: ignore[arg-type]
    assert [stored[row_id] for row_id in ids] == [f"note {n}" for n in range(300)]


def test_a_second_writer_of_one_request_is_told_at_once_and_others_wait(
    app: Flask, database_kind: str
) -> None:
    if database_kind != "sqlite":
        return
    others: list[str] = []

    sqlite.reads_only.set(False)  # as it is in a request that may write; an earlier test may have left it

    def other() -> None:
        try:
            with app.app_context(), db.engine.begin() as connection:
                connection.execute(text("DELETE FROM rate_windows"))
        except OperationalError as error:
            others.append(str(error))

    with app.app_context():
        with db.engine.begin():
            with pytest.raises(OperationalError, match="of this very request"):
                db.engine.connect().begin()
            waiting = threading.Thread(target=other)
            waiting.start()
            waiting.join(0.1)
            assert waiting.is_alive()  # the control: it waits for its turn
        waiting.join(10)
        assert others == []
        with db.engine.begin():  # and the lock is free again
            pass


def test_whoever_holds_the_write_lock_and_only_asks_is_not_kept_waiting() -> None:
    """A connection that comes back while this request writes on another: the statistics wait, the request does not."""
    connection = sqlite3.connect(":memory:", isolation_level=None, factory=sqlite.QueuedConnection)
    connection.write_lock = lock = sqlite.WriteLock()
    connection.statistics = sqlite.Statistics(changes=10_000)
    assert lock.acquire(0)
    connection.count_again()
    assert lock.locked() and connection.statistics.generation == 0
    with pytest.raises(sqlite3.OperationalError, match="of this very request"):
        lock.acquire(1)
    lock.release()
    connection.count_again()
    assert not lock.locked() and connection.statistics.generation == 1
    connection.close()

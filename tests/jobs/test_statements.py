"""What a job costs: a bounded number of statements, and on PostgreSQL prepared ones."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import event, text
from sqlalchemy.exc import InternalError

from soconnective.core.db import db, read_transaction, write_transaction
from soconnective.core.registry import person_by
from soconnective.jobs import Worker, enqueue, queue
from tests.jobs.test_queue import companies, elsewhere, turn
from tests.test_statements import statements

# The row held, company, search words, the job finished, the event's id, its rules, waiting runs, what it plans, event, link.
MOST = 10
FOR_ALL = 4  # the look at what is due, and the claim; each is told on PostgreSQL that it sees every workspace


def test_a_job_asks_the_database_a_bounded_number_of_times(app: Flask, inside: Any, worker: Worker) -> None:
    with write_transaction():
        for number in range(6):
            enqueue("make_company", {"name": f"C{number}"})
    with statements(app) as found:
        assert turn(worker) == 6
    assert len(found) <= FOR_ALL + 6 * MOST, "\n".join(" ".join(said.split())[:90] for said in found)
    assert len(companies()) == 6


def test_nobody_is_looked_up_for_nobody(app: Flask, inside: Any) -> None:
    with statements(app) as found:
        assert person_by(None) is None
        assert found == []
        assert person_by(inside.owner.id) is not None
        assert len(found) == 1


def prepared() -> int:
    raw: Any = db.session.connection().connection.dbapi_connection
    return len(raw._prepared._names)


def test_a_look_at_what_is_due_forgets_no_prepared_statement(inside: Any, database_kind: str) -> None:
    if database_kind != "postgresql":
        return

    def ask() -> tuple[int, int]:
        for _ in range(8):
            queue.due_in()
        with read_transaction():
            before = prepared()
        queue.due_in()
        with read_transaction():
            return before, prepared()

    before, after = elsewhere(ask)
    assert after >= before > 0
    db.session.execute(text("SELECT 1"))
    db.session.rollback()  # the control: what may write is rolled back, and they are gone
    assert prepared() == 0
    db.session.rollback()


def test_the_server_refuses_to_write_in_what_only_reads(inside: Any, database_kind: str) -> None:
    if database_kind != "postgresql":
        return
    change = text("UPDATE tenants SET name = 'Planted'")

    def plant() -> None:
        with read_transaction():
            db.session.execute(change)

    db.session.rollback()
    with pytest.raises(InternalError) as refused:
        plant()
    assert isinstance(refused.value.orig, ReadOnlySqlTransaction)
    with write_transaction():  # the next transaction of the same connection may write
        enqueue("make_company", {"name": "Acme"})


def test_what_only_reads_inside_what_writes_keeps_nothing(inside: Any) -> None:
    """It ends the transaction around it as before: by a rollback, since that one could write."""
    ended: list[str] = []
    listen = ("commit", lambda _connection: ended.append("commit"))
    event.listen(db.engine, *listen)
    try:
        enqueue("make_company", {"name": "Never"})
        db.session.flush()
        with read_transaction():
            assert db.session.execute(text("SELECT count(*) FROM jobs")).scalar() == 1
        assert db.session.execute(text("SELECT count(*) FROM jobs")).scalar() == 0
    finally:
        event.remove(db.engine, *listen)
        db.session.rollback()
    assert ended == []

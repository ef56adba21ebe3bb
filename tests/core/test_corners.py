"""What seldom happens in the core: transactions that fail at the edge, a lock that is not given back, pages for errors."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask, Response, abort
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, InvalidRequestError, OperationalError, StatementError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from soconnective.accounts.models import Tenant
from soconnective.contacts.models import Company, Contact
from soconnective.contacts.operations import create_company
from soconnective.core import db as database
from soconnective.core import sqlite, web
from soconnective.core.db import db, savepoint, write_transaction
from soconnective.core.errors import CrossTenant, TransactionLost
from soconnective.core.tenancy import acting_in
from soconnective.tasks.models import Task
from tests.factories.records import make_contact


def test_an_explicit_bind_is_honoured(inside: Any) -> None:
    other = object()
    assert db.session().get_bind(bind=other) is other
    with db.engine.connect() as connection:
        session = database.Session(db, bind=connection)
        assert session.get_bind() is connection
        session.close()


def test_a_commit_that_fails_leaves_nothing_and_reads_from_then_on(inside: Any) -> None:
    create_company("Never")
    db.session.add(Task(title="x", status="nonsense", priority="normal"))
    token = sqlite.reads_only.set(False)
    try:
        with pytest.raises(IntegrityError):
            database.commit()
        assert sqlite.reads_only.get()
    finally:
        sqlite.reads_only.reset(token)
    assert db.session.query(Company).count() == 0


def test_a_savepoint_forgets_what_came_after_a_hidden_failure(inside: Any) -> None:
    with write_transaction():
        kept, doomed = create_company("Kept"), create_company("Doomed")
    with write_transaction():
        names = (kept.name, doomed.name)  # loaded: they can be changed without a statement
        with suppress(RuntimeError), savepoint(db.session()):
            with suppress(IntegrityError):
                db.session.add(Task(title="x", status="nonsense", priority="normal"))
                db.session.flush()
            with db.session.no_autoflush:
                kept.__dict__.setdefault("name", names[0])
                db.session.add(Company(name="left over"))
            raise RuntimeError("planted")
    assert sorted(db.session.scalars(db.select(Company.name))) == ["Doomed", "Kept"]


def test_a_savepoint_in_which_an_error_was_hidden_is_never_taken_for_kept(inside: Any) -> None:
    def hide_an_error() -> None:
        with savepoint(db.session()):
            create_company("Lost")
            with suppress(IntegrityError):
                db.session.add(Task(title="x", status="nonsense", priority="normal"))
                db.session.flush()

    with write_transaction():
        with pytest.raises(InvalidRequestError, match="was hidden, and what was done is lost"):
            hide_an_error()
        create_company("Kept")
    assert list(db.session.scalars(db.select(Company.name))) == ["Kept"]


def test_leaving_a_tenant_after_an_error_drops_what_was_not_saved(app: Flask, team: Any) -> None:
    with app.app_context():
        with suppress(RuntimeError), acting_in(team.id):
            db.session.add(Company(name="unsaved"))
            raise RuntimeError("planted")
        with acting_in(team.id):
            assert db.session.query(Company).count() == 0


def test_a_row_does_not_point_to_a_held_foreign_one(inside: Any, rivals: Any) -> None:
    with acting_in(rivals.id):
        with write_transaction():
            theirs = create_company("Theirs")
        db.session.refresh(theirs)  # held, with its tenant
    contact = make_contact()
    contact.job_title = "x"
    contact.__dict__["company"] = theirs
    with pytest.raises(CrossTenant, match="point to"):
        db.session.flush()
    db.session.rollback()
    assert db.session.get_one(Contact, contact.id).company_id is None


def test_a_writer_that_waits_too_long_is_told(
    app: Flask, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database_kind != "sqlite":
        return
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    holds, done = threading.Event(), threading.Event()

    def hold() -> None:
        with app.app_context(), write_transaction():
            db.session.execute(text("DELETE FROM rate_windows"))
            holds.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(10)
    try:
        with app.app_context(), pytest.raises(OperationalError, match="locked"), write_transaction():
            db.session.execute(text("DELETE FROM rate_windows"))
    finally:
        done.set()
        thread.join()


def test_a_begin_that_fails_gives_the_lock_back() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None, factory=sqlite.QueuedConnection)
    connection.write_lock = sqlite.WriteLock()
    connection.execute("CREATE TABLE x (y)")
    connection.execute("PRAGMA query_only = 1")
    connection.execute("BEGIN")
    with pytest.raises(sqlite3.OperationalError):
        connection.begin(immediate=True)  # within a transaction
    connection.rollback()
    assert not connection.write_lock.locked()
    connection.statistics = sqlite.Statistics(changes=10_000)
    connection.set_authorizer(lambda *_args: sqlite3.SQLITE_DENY)
    connection.count_again()  # ANALYZE is refused: the next time, then
    assert not connection.write_lock.locked()
    connection.set_authorizer(None)
    connection.close()


ERRORS: dict[str, tuple[Exception, int]] = {
    "lost": (TransactionLost("gone"), 503),
    "full": (OperationalError("x", None, sqlite3.OperationalError("database or disk is full")), 503),
    "stale": (StaleDataError("newer"), 409),
    "large": (StatementError("x", "x", None, OverflowError("too large")), 400),
    "ours": (OperationalError("x", None, sqlite3.OperationalError("no such table: x")), 500),
    "bug": (ValueError("a secret <b>detail</b>"), 500),
}


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_has_its_page_and_shows_no_detail(app: Flask, team: Any, name: str, caplog: Any) -> None:
    error, code = ERRORS[name]
    app.config["PROPAGATE_EXCEPTIONS"] = False

    def broken() -> None:
        raise error

    broken.permission = None  # type: ignore[attr-defined]
    app.add_url_rule("/healthz/broken", "dashboard.broken", broken)
    answer = app.test_client().get("/healthz/broken")
    assert answer.status_code == code and "secret" not in answer.text and "Traceback" not in answer.text
    assert bool(caplog.records) == (code >= 500)


def test_an_error_page_that_cannot_be_drawn_is_still_a_page(
    app: Flask, team: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "render_template", lambda *_a, **_k: 1 / 0)
    answer = app.test_client().get("/nowhere-at-all")
    assert answer.status_code == 404 and "<h1>" in answer.text


@pytest.mark.parametrize(
    ("place", "own"),
    [
        ("/x", True),
        ("//x", False),
        ("/\\x", False),
        ("/\tx", False),
        ("http://localhost/x", True),
        ("http://evil/x", False),
        ("javascript:1", False),
    ],
)
def test_a_redirect_is_judged_by_its_result(app: Flask, place: str, own: bool) -> None:
    with app.test_request_context():
        assert web.is_own(place) is own


def test_an_error_that_brings_its_own_answer_keeps_it(app: Flask) -> None:
    own = Response("their own", 418)
    with app.test_request_context("/"), pytest.raises(HTTPException) as caught:
        abort(own)
    assert web._on_http_error(caught.value) is own


def test_a_connection_that_was_thrown_away_is_checked_in(app: Flask) -> None:
    with app.app_context():
        with db.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            connection.invalidate()
        with db.engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1


def test_rows_of_no_tenant_are_written_beside_those_of_one(inside: Any) -> None:
    with write_transaction():
        tenant = db.session.get_one(Tenant, inside.id)
        tenant.name = "Acme Ltd"
        company = create_company("Beside")
    db.session.expire_all()
    assert (tenant.name, company.name) == ("Acme Ltd", "Beside")


def test_a_company_renamed_and_deleted_in_one_flush_leaves_no_words(inside: Any) -> None:
    with write_transaction():
        company = create_company("Before")
    with write_transaction():
        db.session.add(gone := Company(name="Fresh"))
        company.name = "After"
        db.session.delete(company)
        db.session.flush()
        db.session.delete(gone)
    words = db.session.execute(text("SELECT count(*) FROM search_words")).scalar_one()
    assert words == 0

"""More edges of the core: what a failed savepoint leaves in the session, rows of no tenant, damaged backups, declared wrongly."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, StatementError
from werkzeug.datastructures import MultiDict
from wtforms import Form

from soconnective.accounts.models import Membership, RateWindow
from soconnective.contacts.models import Company
from soconnective.contacts.operations import create_company
from soconnective.core import backup_sqlite, restore_sqlite
from soconnective.core import db as database
from soconnective.core.backup import BackupFailed, Copy
from soconnective.core.backup_sqlite import MARK, connect
from soconnective.core.conditions import (
    Field,
    Group,
    Now,
    Test,
    evaluate,
    fields_of,
    never_holds,
    normal,
    register_more_fields,
    where,
)
from soconnective.core.conditions import fields as conditions_fields
from soconnective.core.conditions.evaluate import Facts
from soconnective.core.db import db, savepoint, write_transaction
from soconnective.core.errors import TransactionLost
from soconnective.core.fields import AmountField, ClockField, DayField, IdField
from soconnective.core.forms import workspace_of_token, workspace_token
from soconnective.core.sqlite import require_transaction
from soconnective.core.tenancy import acting_in
from soconnective.tasks.models import Task
from soconnective.tasks.operations import create_task
from tests.core.test_backup_files import KNOWN, make_database, put
from tests.factories.records import make_deal

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


# --- the session ----------------------------------------------------------------------------------------


def _fail_unseen() -> None:
    """A flush that fails, and nobody looks: the savepoint is over."""
    with suppress(IntegrityError):
        db.session.add(Task(title="x", status="nonsense", priority="normal"))
        db.session.flush()


def test_what_is_done_behind_a_hidden_failure_is_forgotten_of_each_kind(inside: Any) -> None:
    with write_transaction():
        changed, deleted = create_company("Kept"), create_task("Stays")
    with write_transaction():
        assert (changed.name, deleted.title) == ("Kept", "Stays")  # loaded
        with suppress(RuntimeError), savepoint(db.session()):
            _fail_unseen()
            with db.session.no_autoflush:
                changed.__dict__.setdefault("name", "Kept")
                changed.name = "left over"
                db.session.delete(deleted)
                db.session.add(Company(name="left over, too"))
                assert db.session.dirty and db.session.deleted and db.session.new
            raise RuntimeError("planted")
        assert not (db.session.dirty or db.session.deleted or db.session.new)
    db.session.expire_all()
    assert list(db.session.scalars(select(Company.name))) == ["Kept"]
    assert list(db.session.scalars(select(Task.title))) == ["Stays"]


def test_control_without_forgetting_it_would_go_out_with_the_next_work(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_forget_unsaved", lambda _session: None)
    with write_transaction():
        with suppress(RuntimeError), savepoint(db.session()):
            _fail_unseen()
            db.session.add(Company(name="left over"))
            raise RuntimeError("planted")
    assert list(db.session.scalars(select(Company.name))) == ["left over"]


def test_a_savepoint_that_fails_with_nothing_hidden_is_rolled_back_as_ever(inside: Any) -> None:
    with write_transaction():
        create_company("Kept")
        with suppress(RuntimeError), savepoint(db.session()):
            create_company("Never")
            db.session.flush()
            raise RuntimeError("planted")
    assert list(db.session.scalars(select(Company.name))) == ["Kept"]


def test_what_is_registered_twice_runs_once(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_before_outermost_commit", [])
    seen: list[Any] = []
    for _ in range(2):
        database.before_outermost_commit(seen.append)
    with write_transaction():
        with db.session.begin_nested():
            create_company("One")
        assert seen == []  # a savepoint is no commit
    assert seen == [db.session()]


def test_rows_of_the_instance_are_deleted_beside_those_of_a_tenant(inside: Any) -> None:
    """The guard looks at tenants' rows, and lets the others go."""
    with write_transaction():
        company = create_company("Gone")
        db.session.add(RateWindow(key="x", expires_at=1.0, count=1))
    with write_transaction():
        for row in (company, db.session.scalars(select(RateWindow)).one()):
            db.session.delete(row)
        member = select(Membership).where(Membership.user_id == inside.viewer.id)
        db.session.delete(db.session.scalars(member).one())
    assert db.session.scalars(select(RateWindow)).all() == [] and db.session.query(Company).count() == 0


def test_a_moment_without_a_zone_is_refused(inside: Any) -> None:
    with pytest.raises(StatementError, match="needs a time zone"), write_transaction():
        create_task("Call").completed_at = datetime(2026, 1, 1)  # noqa: DTZ001  that is the point


def test_a_statement_outside_of_a_transaction_is_refused() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        with pytest.raises(TransactionLost):
            require_transaction(connection)
        connection.execute("BEGIN")
        require_transaction(connection)


def test_a_connection_comes_back_without_its_transaction(app: Flask, database_kind: str) -> None:
    """So what is counted after many changes is counted in nobody's transaction, and the next one may write."""
    if database_kind != "sqlite":
        return
    with app.app_context():
        for _ in range(2):
            with db.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
                raw: Any = connection.connection.dbapi_connection
                raw.statistics.changes = 10_000
                assert raw.in_transaction
            assert not raw.in_transaction and raw.statistics.changes == 0
        with write_transaction():
            db.session.execute(text("DELETE FROM rate_windows"))


# --- who and where --------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "1", "x.y", "1.forged", "\x00", "é.ü"])
def test_a_token_that_is_not_ours_names_no_workspace(app: Flask, team: Any, token: str) -> None:
    with app.app_context():
        assert workspace_of_token(token) is None and workspace_token() == ""
        with acting_in(team.id):
            assert workspace_of_token(workspace_token()) == team.id


# --- conditions -----------------------------------------------------------------------------------------


def test_a_list_that_cannot_be_asked_in_sql_says_so(inside: Any) -> None:
    """Declared wrongly by an area: found when it is asked, never answered wrongly."""
    broken = Field(
        "labels", "labels", "tags", column=lambda: Task.id, choices=lambda: [("1", "One")]
    )
    tree = Group(items=[Test(field="labels", operator="include", value="1")])
    with pytest.raises(TypeError, match="labels is no list"):
        where(tree, {"labels": broken}, Now(AT, "UTC"))
    assert evaluate(tree, {"labels": broken}, Facts({"labels": [1]}, Now(AT, "UTC")))[0]


LABELS = Field("labels", "labels", "tags", choices=lambda: [("1", "One"), ("2", "Two")])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([], [1], "gained One"), ([1], [], "lost One"), ([2], [1], "gained One, lost Two"), ([], [], "not changed"),
        (None, [1, 2], "gained One, Two"), ([7], None, "lost one that is gone"),
    ],
)  # fmt: skip
def test_a_changed_list_is_told_by_what_came_and_left(old: Any, new: Any, said: str) -> None:
    assert LABELS.changed(old, new) == said


@pytest.mark.parametrize("value", [None, "", [], "9"])
def test_what_has_no_label_has_none(value: Any) -> None:
    assert LABELS.label_of(value) is None


def both(*tests: tuple[str, str, Any], match: str = "all") -> list[tuple[Group, bool]]:
    items = [Test(field=f, operator=o, value=v) for f, o, v in tests]
    return [(Group(match=match, items=items), True)]  # type: ignore[arg-type]


IMPOSSIBLE = [
    (both(("amount", "greater", "5"), ("amount", "less", "5")), True),
    (both(("amount", "greater", "5"), ("amount", "less", "5.01")), False),  # 5.005 lies between: sound, not complete
    (both(("amount", "empty", None), ("amount", "at_least", "0")), True),
    (both(("amount", "empty", None)), False),
    (both(("source", "is", "web"), ("source", "is", "fair")), True),
    (both(("source", "one_of", ["web", "fair"]), ("source", "is_not", "web")), False),
    (both(("source", "contains", "ab"), ("source", "not_contains", "a")), True),
    (both(("source", "starts_with", "ab"), ("source", "starts_with", "ac")), True),
    (both(("source", "starts_with", "ab"), ("source", "starts_with", "a")), False),
    (both(("source", "ends_with", "ba"), ("source", "ends_with", "ca")), True),
    (both(("source", "changed", None), ("source", "contains", "a")), False),
    (both(("source", "empty", None), ("source", "contains", "a")), True),
    (both(("expected_close_on", "before", "2026-01-02"), ("expected_close_on", "after", "2026-01-01")), True),
    (both(("expected_close_on", "next_days", "3"), ("expected_close_on", "last_days", "3")), False),  # today
    (both(("expected_close_on", "empty", None), ("expected_close_on", "next_days", "3")), True),
    (both(("stage_entered_at", "on", "2026-01-01"), ("stage_entered_at", "on", "2026-01-02")), True),  # a moment
    (both(("stage_entered_at", "before", "2026-01-02"), ("stage_entered_at", "after", "2026-01-01")), True),
    (both(("stage_entered_at", "last_days", "3"), ("stage_entered_at", "not_empty", None)), False),
    (both(("source", "starts_with", "a"), match="none"), False),  # what has no opposite is left out
    (both(("owner_id", "is", "1"), ("owner_id", "is", "2")), True),
    (both(("stage_id", "changed_to", "1"), ("stage_id", "changed_to", "2")), True),
    (both(("stage_id", "changed_to", "1"), ("stage_id", "changed_from", "2")), False),
    (both(("tag_ids", "include", "1"), ("tag_ids", "include_not", "1")), False),  # nobody looks at lists
    (both(("amount", "contains", "1")), False),  # makes no sense, which another check tells
    (both(("gone", "is", "1")), False),
    (both(("amount", "is", "nonsense")), False),
    ([(Group(match="any"), True)], False),
    ([(Group(), False)], True),  # an empty group holds
    ([*both(("amount", "greater", "5")), (Group(match="none", items=both(("amount", "greater", "1"))[0][0].items), True)], True),
    ([(both(("amount", "greater", "5"))[0][0], False), *both(("amount", "at_least", "5.01"))], True),
    (both(*[("amount", "is", str(n)) for n in range(15)], match="any") * 2 + both(*[("amount", "is", "x")], match="any"), False),
    (both(*[("amount", "is", str(n)) for n in range(15)], match="any") * 3, False),  # too many ways to look at
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(IMPOSSIBLE)))
def test_what_can_never_hold(inside: Any, number: int) -> None:
    asked, never = IMPOSSIBLE[number]
    assert never_holds(asked, fields_of("deal")) is never


EMPTY = Group()
LEAF = Test(field="amount", operator="empty")
NORMAL = [
    (Group(items=[EMPTY, LEAF]), Group(items=[LEAF])),
    (Group(match="any", items=[LEAF]), Group(items=[LEAF])),
    (Group(items=[Group(match="none", items=[LEAF])]), Group(match="none", items=[LEAF])),
    (Group(match="any", items=[Group(items=[EMPTY]), LEAF, Group(items=[LEAF])]), Group(match="any", items=[LEAF, LEAF])),
    (Group(match="any"), Group()),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NORMAL)))
def test_groups_that_say_nothing_go_and_one_item_needs_no_joining(number: int) -> None:
    written, meant = NORMAL[number]
    assert normal(written) == meant == normal(meant)


def test_fields_of_a_workspace_are_asked_only_inside_one(app: Flask, team: Any) -> None:
    assert fields_of(None) == {} and fields_of("boat") == {}
    register_more_fields("boat", lambda: [LABELS])
    try:
        assert fields_of("boat") == {}
        with app.app_context(), acting_in(team.id):
            assert fields_of("boat") == {"labels": LABELS}
    finally:
        conditions_fields._more.pop("boat")


@pytest.mark.parametrize(
    ("kind", "typed", "stored"),
    [
        ("date", " 2026-12-31 ", "2026-12-31"), ("moment", "2026-01-01", "2026-01-01"), ("number", "1,250.50", "1250.5"),
        ("text", " Web ", "Web"), ("tags", "1", "1"),
    ],
)  # fmt: skip
def test_what_is_typed_is_stored_in_one_way(kind: Any, typed: str, stored: str) -> None:
    assert Field("x", "x", kind, choices=LABELS.choices).clean(typed) == stored


@pytest.mark.parametrize(
    ("kind", "typed", "said"),
    [("tags", "9", "Choose a tag"), ("date", "1899-12-31", "between 1900"), ("number", "Infinity", "two decimals"), ("number", "1e", "Write a number")],
)  # fmt: skip
def test_what_cannot_be_stored_is_told(kind: Any, typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Field("x", "x", kind, choices=LABELS.choices).clean(typed)


# --- fields of forms ------------------------------------------------------------------------------------


class Some(Form):  # type: ignore[misc]
    deal = IdField("Deal", record_type="deal")
    day = DayField("Day")
    at = ClockField("At")
    amount = AmountField("Amount")


def said_of(inside: Any, **typed: str) -> tuple[Some, dict[str, Any]]:
    form = Some(MultiDict(typed))
    form.deal.offer([])
    form.validate()
    return form, {name: list(found) for name, found in form.errors.items()}


def test_a_record_that_was_found_by_its_words_is_put_on_the_list(inside: Any, rivals: Any) -> None:
    mine = make_deal(inside.stages["Lead"], "Found").id
    with acting_in(rivals.id):
        theirs = [make_deal(rivals.stages["Lead"], "Theirs").id for _ in range(2)][-1]
        db.session.rollback()
    form, errors = said_of(inside, deal=str(mine))
    assert errors == {} and (str(mine), "Found") in [(one.value, one.label) for one in form.deal.choices]
    assert said_of(inside, deal=str(theirs))[1] == {"deal": ["Choose one of the list."]}
    assert said_of(inside)[1] == {}


FORM_CASES = [
    ({"day": "2199-12-31"}, {}), ({"day": "2200-01-01"}, {"day": ["Choose a date between 1900 and 2199."]}),
    ({"day": "1066-10-14"}, {"day": ["Choose a date between 1900 and 2199."]}),
    ({"amount": "Infinity"}, {"amount": ["Write an amount like 1250.00."]}), ({"amount": "NaN"}, {"amount": ["Write an amount like 1250.00."]}),
    ({"amount": "1 250,50"}, {}), ({"amount": "1,250.50"}, {}), ({"at": "09:30"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "errors"), FORM_CASES)
def test_what_days_and_amounts_take(inside: Any, typed: Any, errors: Any) -> None:
    assert said_of(inside, **typed)[1] == errors


def test_a_clock_reads_what_settings_store() -> None:
    assert Some(None, at="09:30").at.data == time(9, 30) == Some(None, at=time(9, 30)).at.data


# --- backups --------------------------------------------------------------------------------------------


def marked(path: Path, digest: str | None = None) -> Path:
    """A backup with its mark: the right digest, unless another is given."""
    make_database(path, "INSERT INTO tenants VALUES (1, 'Acme');")
    with closing(connect(path)) as live:
        found = backup_sqlite.digest_of(live)[0] if digest is None else digest
        live.execute(f"CREATE TABLE {MARK} (digest TEXT NOT NULL)")
        live.execute(f"INSERT INTO {MARK} VALUES (?)", (found,))
    return path


def test_a_backup_that_carries_its_digest_is_compared_with_it(tmp_path: Path) -> None:
    said = restore_sqlite.take_apart(marked(tmp_path / "good"), tmp_path / "scratch", KNOWN)
    assert "the digest of all rows" in said
    with closing(connect(tmp_path / "scratch")) as plain:
        assert not backup_sqlite.has_table(plain, MARK)
    with pytest.raises(BackupFailed, match="its rows are not those that were saved"):
        restore_sqlite.take_apart(marked(tmp_path / "bad", "0" * 64), tmp_path / "scratch2", KNOWN)


def test_a_file_of_another_kind_and_one_that_is_cut_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("PGDMP or so")
    with pytest.raises(BackupFailed, match="no backup of the embedded database"):
        restore_sqlite.take_apart(tmp_path / "text", tmp_path / "scratch", KNOWN)
    whole = marked(tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackupFailed, match="damaged"):
        restore_sqlite.take_apart(tmp_path / "cut", tmp_path / "scratch", KNOWN)


def test_people_are_replaced_only_when_told_and_kept_beside(tmp_path: Path) -> None:
    scratch = make_database(tmp_path / "scratch.db", "INSERT INTO tenants VALUES (1, 'New');")
    make_database(tmp_path / "live.db", "INSERT INTO tenants VALUES (1, 'Old'); INSERT INTO users VALUES (1);")
    with pytest.raises(BackupFailed, match="There are people in the database already"):
        put(scratch)
    rows, kept = put(scratch, replace=True)
    assert rows["users"] == 0 and kept == tmp_path / "kept.db"
    for path, name in ((kept, "Old"), (tmp_path / "live.db", "New")):
        with closing(sqlite3.connect(path)) as found:
            assert found.execute("SELECT name FROM tenants").fetchall() == [(name,)]


def test_a_made_backup_is_counted_and_checked(tmp_path: Path) -> None:
    live = make_database(
        tmp_path / "live.db",
        "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO counted VALUES (5);",
    )
    made = backup_sqlite.make(live, tmp_path / "saved")
    assert made.rows["counted"] == 1 and made.total == sum(made.rows.values()) and "digest" in made.verified
    assert isinstance(made, Copy)
    with closing(connect(tmp_path / "other.db", create=True)) as other:
        other.execute("CREATE TABLE x (y)")
    with pytest.raises(BackupFailed, match="holds no SoConnective data yet"):
        backup_sqlite.make(tmp_path / "other.db", tmp_path / "saved2")
    assert not (tmp_path / "saved2").exists()


def test_who_is_asked_for_long_texts_is_told_their_beginning_and_a_mark() -> None:
    from soconnective.core.words import told

    long, other = "a" * 400, "a" * 399 + "b"
    assert told("short ”x”") == "“short ””x”””"
    assert told(long) != told(other) and "(400 letters, " in told(long)


def test_time_spans_of_the_calendar(app: Flask) -> None:
    from soconnective.core import clock

    assert clock.is_zone("Europe/Madrid") and not clock.is_zone("Mars/Olympus") and "UTC" in clock.zone_names()
    day = AT.date()
    first, last = clock.day_bounds(day, "Europe/Madrid")
    assert last - first == timedelta(days=1)

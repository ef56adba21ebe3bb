"""Control of the tap: it finds what it is there for, planted as if it stood in our code."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from soconnective.core.db import db, write_transaction
from soconnective.deals.models import Deal
from tests.factories.records import make_deal
from tests.tap import OURS, Tap, tenant_tables, watched_tables

HEAD = "from sqlalchemy import delete, insert, select, text, update\nfrom soconnective.core.db import db\nfrom soconnective.deals.models import Deal\n"


def planted(line: str) -> None:
    """Run `line` as our code would."""
    exec(compile(HEAD + line, f"{OURS}deals/planted.py", "exec"), {})


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("db.session.connection().execute(update(Deal.__table__).values(title='x'))", "writes deals past the session"),
        ("db.session.execute(update(Deal).values(title='x'))", "writes deals past the session"),
        ("db.session.execute(text('DELETE FROM notes'))", "writes notes past the session"),
        ("db.session.bulk_update_mappings(Deal, [{'id': 1, 'version': 1, 'title': 'x'}])", "writes deals past the session"),
        ("db.session.connection().execute(select(Deal.__table__)).all()", "reads deals without naming the tenant"),
        ("db.session.execute(text('SELECT count(*) FROM deals d JOIN stages s ON s.id = d.stage_id')).all()", "reads deals without naming the tenant"),
        ("db.session.execute(text('SELECT 1 FROM (SELECT id FROM events) e')).all()", "reads events without naming the tenant"),
        ("db.session.scalars(select(Deal)).all()", None),
        ("db.session.get(Deal, 1)", None),
        ("db.session.get(Deal, 1).title = 'Other'; db.session.flush()", None),
        ("db.session.execute(text('SELECT 1'))", None),
    ],
)  # fmt: skip
def test_the_tap_finds_what_passes_the_walls_by(inside: Any, tap: Tap, line: str, found: str | None) -> None:
    make_deal(inside.stages["Lead"])
    assert tap.found == []
    with write_transaction():
        planted(line)
    seen, tap.found = tap.found, []
    assert [found in one for one in seen] == ([True] if found else []), seen


def test_the_tap_knows_the_tables() -> None:
    assert {"deals", "contacts", "contact_identities", "notes", "tasks", "appointments"} <= watched_tables()
    assert len(tenant_tables()) >= 18


def test_what_a_test_sends_is_its_own_business(inside: Any, tap: Tap) -> None:
    db.session.connection().exec_driver_sql("SELECT * FROM deals")
    assert tap.found == []


@pytest.mark.parametrize("is_fresh", [True, False])
def test_lists_of_a_record_are_read_once_within_the_workspace(
    app: Flask, inside: Any, is_fresh: bool
) -> None:
    """Also of a record that was made here: then its parent's options do not carry the criteria along."""
    deal = make_deal(inside.stages["Lead"])
    deal_id = deal.id
    if not is_fresh:
        db.session.expunge_all()
        deal = db.session.get_one(Deal, deal_id)
    db.session.refresh(deal)
    said: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda _c, _k, statement, *_m: said.append(statement))
    assert list(deal.people) == []
    (statement,) = [one for one in said if "deal_contacts" in one]
    assert statement.count("deal_contacts.tenant_id =") == 1

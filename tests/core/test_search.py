"""Words find records: names, accents, prefixes, and for people each address, number and handle."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select

from soconnective.contacts.models import Contact
from soconnective.contacts.operations import Identity, create_contact, update_contact
from soconnective.core import search
from soconnective.core.db import db, write_transaction
from soconnective.core.search import matching, normalise, words_table
from soconnective.core.tenancy import acting_in
from tests.factories.records import make_contact


def names(query: str) -> list[str]:
    found = matching("contact", query)
    assert found is not None
    return sorted(db.session.scalars(select(Contact.name).where(Contact.id.in_(found))))


def test_words_lose_case_and_accents() -> None:
    assert normalise("Núñez-O'Brien  NÚÑEZ") == ["nunez", "o", "brien"]


@pytest.mark.parametrize(
    "query", ["ana", "RUIZ", "an ru", "ruiz ana", "ana.r@firm", "firm.example", "@anar", "+34 600 112 233",
              "600 112 233", "600112", "(0034) 600", "accountant"],
)  # fmt: skip
def test_a_person_is_found_by_anything_they_are_known_by(inside: Any, query: str) -> None:
    ways = [
        Identity("email", "ana.r@firm.example"),
        Identity("phone", "+34 600 112 233"),
        Identity("handle", "@anaruiz", "x"),
    ]
    make_contact("Bea", "Other")
    contact = make_contact("Ana", "Ruiz", job_title="Accountant")
    with write_transaction():
        update_contact(contact, identities=ways)
    expected = [] if query.startswith("(0034)") else ["Ana Ruiz"]
    assert names(query) == expected


def test_the_words_follow_every_change(inside: Any) -> None:
    contact = make_contact("Ana", "Ruiz", "ana@old.example")
    assert names("old.example") == ["Ana Ruiz"]
    with write_transaction():
        update_contact(contact, identities=[Identity("email", "ana@new.example")])
    assert names("old.example") == [] and names("new.example") == ["Ana Ruiz"]
    with write_transaction():
        update_contact(contact, first_name="Anna")  # the addresses are not loaded then
    assert names("new.example") == ["Anna Ruiz"] and names("anna") == ["Anna Ruiz"]
    with write_transaction():
        db.session.delete(contact)
    assert names("ana") == [] and db.session.execute(select(words_table)).all() == []


def test_a_rolled_back_savepoint_leaves_no_words(inside: Any) -> None:
    with write_transaction():
        savepoint = db.session.begin_nested()
        db.session.add(Contact(name="Gone", last_name="Gone"))
        db.session.flush()
        savepoint.rollback()
    assert names("gone") == []


def test_reindex_writes_what_was_lost(app: Flask, team: Any, rivals: Any) -> None:
    for workspace in (team, rivals):
        with app.app_context(), acting_in(workspace.id):
            make_contact("Ana", "Ruiz", "ana@firm.example")
    with app.app_context(), write_transaction():
        db.session.connection().execute(delete(words_table))
    result = app.test_cli_runner().invoke(args=["reindex"])
    assert result.exit_code == 0, result.output
    for workspace in (team, rivals):
        with app.app_context(), acting_in(workspace.id):
            assert names("firm") == ["Ana Ruiz"]


@pytest.mark.parametrize("cap", [1000, 30])
def test_several_words_find_what_has_them_all(inside: Any, monkeypatch: pytest.MonkeyPatch, cap: int) -> None:
    """Also where each word is too common to be read whole, and on a database without statistics."""
    monkeypatch.setattr(search, "CAP", cap)
    with write_transaction():
        for number in range(100):
            create_contact("Ana" if number % 2 else "Bea", f"Aaa {number:03}", job_title="Buyer")
    assert names("aaa 099") == ["Ana Aaa 099"]
    assert names("ana aaa 09") == [f"Ana Aaa {n:03}" for n in (91, 93, 95, 97, 99)]
    assert len(names("buyer aaa")) == min(100, cap)
    assert len(names("bea buyer aaa")) == min(50, cap)
    assert names("ana bea") == [] and names("aaa zzz") == []

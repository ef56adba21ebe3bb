"""Search by word prefixes, the same on both databases: one indexed table of normalised words.

An area calls ``searchable(Task, "task", lambda row: [row.title])``; its words are kept by the flush
that changes the row. `matching()` gives ids, at most `CAP` of them, so that a common
prefix costs no more than a rare one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    Index,
    String,
    Table,
    UniqueConstraint,
    and_,
    any_,
    bindparam,
    delete,
    event,
    func,
    insert,
    intersect,
    select,
)
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import UOWTransaction

from soconnective.core.db import Session, db
from soconnective.core.history import Before
from soconnective.core.model import Base, BigId, TenantOwned
from soconnective.core.tenancy import current_tenant_id

CAP = 1000
MAX_WORDS = 40
WORD_LENGTH = 40

# Byte order on both databases, so that a prefix is a range of the index.
_word_type = String(WORD_LENGTH, collation="C").with_variant(String(WORD_LENGTH), "sqlite")

words_table = Table(
    "search_words",
    Base.metadata,
    Column("tenant_id", BigId, ForeignKey("tenants.id"), nullable=False),
    Column("record_type", String(40), nullable=False),
    Column("word", _word_type, nullable=False),
    Column("record_id", BigId, nullable=False),
    UniqueConstraint("tenant_id", "record_type", "word", "record_id"),
    Index("ix_search_words_record", "tenant_id", "record_type", "record_id"),
)
_insert_words = insert(words_table)
_number = re.compile(r"\+?\(?\d[\d\s()./-]{4,}")

Texts = Iterable[str | None]


@dataclass(frozen=True, eq=False)
class Source:
    """Where the words of one record type come from."""

    model: type
    record_type: str
    texts: Callable[[Any], Texts]
    parts: Mapping[type, str]
    read: Callable[[Connection, int, Sequence[int]], dict[int, list[str | None]]] | None


_sources: dict[type, Source] = {}
_parts: dict[type, Source] = {}


def normalise(text: str) -> list[str]:
    """The distinct words of `text`: case folded, accents removed, split at anything but letters and digits."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(char for char in folded if not unicodedata.combining(char))
    return list(dict.fromkeys(word[:WORD_LENGTH] for word in re.findall(r"\w+", bare)))


def searchable(
    model: type[TenantOwned],
    record_type: str,
    texts: Callable[[Any], Texts],
    parts: Mapping[type, str] | None = None,
    read: Callable[[Connection, int, Sequence[int]], dict[int, list[str | None]]] | None = None,
) -> None:
    """Keep the words of every `model` row; `texts` reads column attributes only (it runs inside the flush).

    `parts` (model -> column that names the record) are rows whose texts count too; `read` then gets all
    texts of records by their ids, by a statement of its own on the flush's connection.
    """
    source = _sources[model] = Source(model, record_type, texts, parts or {}, read)
    for part in source.parts:
        _parts[part] = source


def reindex(session: OrmSession, model: type[TenantOwned], batch: int = 1000) -> int:
    """Write the words of all `model` rows of the current tenant anew; returns how many rows."""
    source, tenant_id, last, number = _sources[model], current_tenant_id(), 0, 0
    while rows := list(session.scalars(select(model).where(model.id > last).order_by(model.id).limit(batch))):
        last, number = rows[-1].id, number + len(rows)
        for row in rows:
            _forget(session, tenant_id, source.record_type, row.id)
        _write(session, source, tenant_id, {row.id: source.texts(row) for row in rows}, read=True)
        session.expunge_all()
    return number


def searchable_models() -> list[type]:
    return list(_sources)


_Records = dict[tuple[Source, int], dict[int, Texts]]  # by source and tenant: record id -> its own texts


@event.listens_for(Session, "after_flush")
def _on_after_flush(session: OrmSession, _context: UOWTransaction) -> None:
    fresh, again = _own_words_changed(session)
    _parts_changed(session, again)
    gone = set()
    for row in session.deleted:
        if (source := _sources.get(type(row))) is not None:
            gone.add((source, row.id))
            _forget(session, row.tenant_id, source.record_type, row.id)
    for (source, tenant_id), records in again.items():
        unwritten = fresh.get((source, tenant_id), {})
        for record_id in records:
            if unwritten.pop(record_id, None) is None:
                _forget(session, tenant_id, source.record_type, record_id)
        left = {key: texts for key, texts in records.items() if (source, key) not in gone}
        _write(session, source, tenant_id, left, read=True)
    for (source, tenant_id), records in fresh.items():
        _write(session, source, tenant_id, records)


def _own_words_changed(session: OrmSession) -> tuple[_Records, _Records]:
    """New records, and those whose own columns say something else now: their parts must be read too."""
    fresh: _Records = {}
    again: _Records = {}
    for row in session.new:
        if (source := _sources.get(type(row))) is not None:
            fresh.setdefault((source, row.tenant_id), {})[row.id] = source.texts(row)
    for row in session.dirty:
        if (source := _sources.get(type(row))) is not None and session.is_modified(row):
            texts = source.texts(row)
            if _words(source.texts(Before(row))) != _words(texts):
                again.setdefault((source, row.tenant_id), {})[row.id] = texts
    return fresh, again


def _parts_changed(session: OrmSession, again: _Records) -> None:
    """Add the records whose parts came, went or changed; a part that moved counts for both."""
    for rows in (session.new, session.dirty, session.deleted):
        for row in rows:
            if (source := _parts.get(type(row))) is not None:
                column = source.parts[type(row)]
                for owner in {getattr(row, column), getattr(Before(row), column)} - {None}:
                    again.setdefault((source, row.tenant_id), {}).setdefault(owner, ())


def _write(
    session: OrmSession, source: Source, tenant_id: int, records: dict[int, Texts], read: bool = False
) -> None:
    """Insert the words of `records`, of which there are none now; `read`: with the texts of their parts."""
    found: Mapping[int, Texts] = records
    if read and source.read is not None and records:
        found = source.read(session.connection(), tenant_id, list(records))
    rows = [
        {"tenant_id": tenant_id, "record_type": source.record_type, "record_id": record_id, "word": word}
        for record_id, texts in found.items()
        for word in _words(texts)
    ]
    if rows:
        session.connection().execute(_insert_words, rows)


def _words(texts: Texts) -> list[str]:
    return normalise(" ".join(text for text in texts if text))[:MAX_WORDS]


def _forget(session: OrmSession, tenant_id: int, record_type: str, record_id: int) -> None:
    table = words_table.c
    session.connection().execute(
        delete(words_table).where(
            table.tenant_id == tenant_id, table.record_type == record_type, table.record_id == record_id
        )
    )


def matching(record_type: str, query: str) -> list[int] | None:
    """The ids (at most `CAP`) whose words start with every word of `query`; None if it has no word.

    The rarest word leads and the others only look at what it found: statements that no planner can
    turn into a walk through everything, statistics or not (a join of the words took PostgreSQL a
    minute for 600 people who had just been imported).
    """
    if _number.fullmatch(query.strip()):  # a phone number, however it is grouped
        query = re.sub(r"\D", "", query)
    words = sorted(normalise(query), key=len, reverse=True)[:6]
    if not words:
        return None
    found = [_ids(_starts_with(record_type, word)) for word in words]
    if any(not ids for ids in found):
        return []
    rarest = min(range(len(found)), key=lambda index: len(found[index]))
    left = found[rarest]
    if len(left) > CAP and len(words) > 1:  # all are common
        return _common_to(record_type, words)
    for index, word in enumerate(words):
        if index == rarest or not left:
            continue
        if len(found[index]) <= CAP:
            known = set(found[index])
            left = [record_id for record_id in left if record_id in known]
        else:
            left = _ids(and_(_starts_with(record_type, word), among(words_table.c.record_id, left)))
    return left[:CAP]


def among(column: Any, ids: Sequence[int]) -> ColumnElement[bool]:
    """``column IN ids`` with one parameter, however many ids: thousands of them cost nothing to write."""
    if db.engine.dialect.name == "postgresql":
        array = bindparam(None, list(ids), type_=ARRAY(BigInteger))
        return column == any_(array)  # type: ignore[no-any-return]
    listed = func.json_each(json.dumps(list(ids))).table_valued("value")
    return column.in_(select(listed.c.value))  # type: ignore[no-any-return]


def _ids(condition: ColumnElement[bool]) -> list[int]:
    statement = select(words_table.c.record_id).where(condition).distinct().limit(CAP + 1)
    return [int(record_id) for record_id in db.session.connection().scalars(statement)]


def _common_to(record_type: str, words: Sequence[str]) -> list[int]:
    sides = (select(words_table.c.record_id).where(_starts_with(record_type, word)) for word in words)
    return [int(record_id) for record_id in db.session.connection().scalars(intersect(*sides).limit(CAP))]


def _starts_with(record_type: str, word: str) -> ColumnElement[bool]:
    columns = words_table.c
    return and_(
        columns.tenant_id == current_tenant_id(),
        columns.record_type == record_type,
        columns.word >= word,
        columns.word < word + "\U0010ffff",
    )

"""Search by word prefixes, the same on both databases: one indexed table of normalised words.

An area calls ``searchable(Contact, "contact", lambda c: [c.name, c.job_title])``; its words are kept
by the flush that changes the row. `matching()` is a sub-select of ids, at most `CAP` of them, so that
a common prefix costs no more than a rare one; pages say "2,000+" when the cap was met.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Select,
    String,
    Table,
    UniqueConstraint,
    and_,
    delete,
    event,
    insert,
    select,
)
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import UOWTransaction

from soconnective.core.db import Session
from soconnective.core.history import Before
from soconnective.core.model import Base, BigId, TenantOwned
from soconnective.core.tenancy import current_tenant_id

CAP = 2000
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

_sources: dict[type, tuple[str, Callable[[Any], Iterable[str | None]]]] = {}


def normalise(text: str) -> list[str]:
    """The distinct words of `text`: case folded, accents removed, split at anything but letters and digits."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(char for char in folded if not unicodedata.combining(char))
    return list(dict.fromkeys(word[:WORD_LENGTH] for word in re.findall(r"\w+", bare)))


def searchable(
    model: type[TenantOwned], record_type: str, texts: Callable[[Any], Iterable[str | None]]
) -> None:
    """Keep the words of every `model` row; `texts` reads column attributes only (it runs inside the flush)."""
    _sources[model] = (record_type, texts)


def reindex(session: OrmSession, record: TenantOwned) -> None:
    """Write the words of `record` anew; call it when something outside its own columns changed them."""
    record_type, texts = _sources[type(record)]
    _forget(session, record.tenant_id, record_type, record.id)
    _remember(session, [(record.tenant_id, record_type, record.id, texts(record))])


@event.listens_for(Session, "after_flush")
def _on_after_flush(session: OrmSession, _context: UOWTransaction) -> None:
    fresh = []
    for row in session.new:
        if (source := _sources.get(type(row))) is not None:
            fresh.append((row.tenant_id, source[0], row.id, source[1](row)))
    for row in session.dirty:
        if (source := _sources.get(type(row))) is not None and session.is_modified(row):
            before, after = _before(row, source[1]), _words(source[1](row))
            if before != after:
                _forget(session, row.tenant_id, source[0], row.id)
                fresh.append((row.tenant_id, source[0], row.id, source[1](row)))
    for row in session.deleted:
        if (source := _sources.get(type(row))) is not None:
            _forget(session, row.tenant_id, source[0], row.id)
    if fresh:
        _remember(session, fresh)


def _before(row: Any, texts: Callable[[Any], Iterable[str | None]]) -> list[str]:
    return _words(texts(Before(row)))


def _words(texts: Iterable[str | None]) -> list[str]:
    return normalise(" ".join(text for text in texts if text))[:MAX_WORDS]


def _forget(session: OrmSession, tenant_id: int, record_type: str, record_id: int) -> None:
    table = words_table.c
    session.connection().execute(
        delete(words_table).where(
            table.tenant_id == tenant_id, table.record_type == record_type, table.record_id == record_id
        )
    )


def _remember(session: OrmSession, entries: list[tuple[int, str, int, Iterable[str | None]]]) -> None:
    rows = [
        {"tenant_id": tenant_id, "record_type": record_type, "record_id": record_id, "word": word}
        for tenant_id, record_type, record_id, texts in entries
        for word in _words(texts)
    ]
    if rows:
        session.connection().execute(insert(words_table), rows)


def matching(record_type: str, query: str) -> Select[Any] | None:
    """The ids (at most `CAP`) whose words start with every word of `query`; None if it has no word."""
    words = sorted(normalise(query), key=len, reverse=True)[:6]
    if not words:
        return None
    statement = select(words_table.c.record_id).where(_starts_with(words_table.c, record_type, words[0]))
    for word in words[1:]:
        other = words_table.alias()
        statement = statement.where(
            select(1)
            .where(other.c.record_id == words_table.c.record_id, _starts_with(other.c, record_type, word))
            .exists()
        )
    return select(statement.distinct().limit(CAP).subquery().c.record_id)


def _starts_with(columns: Any, record_type: str, word: str) -> ColumnElement[bool]:
    return and_(
        columns.tenant_id == current_tenant_id(),
        columns.record_type == record_type,
        columns.word >= word,
        columns.word < word + "\U0010ffff",
    )

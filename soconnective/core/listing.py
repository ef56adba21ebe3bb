"""Lists: sorted by an index, paged by key, with a capped total; everything in the URL.

listing = Listing(select(Deal).where(...), sorts={"title": Deal.title, "amount": Deal.amount},
                  default="-amount", key=Deal.id)
listing.items, listing.next_url, listing.previous_url, listing.total_text, listing.sort
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from flask import request, url_for
from sqlalchemy import Select, and_, func, literal, or_, select
from werkzeug.datastructures import MultiDict

from soconnective.core.db import db, plain
from soconnective.core.fields import optional_id

PER_PAGE = 50
COUNT_CAP = 1000


def argument_id(name: str) -> int | None:
    """An id in the query string; anything else counts as not given."""
    try:
        return optional_id(request.args.get(name))
    except ValueError:
        return None


def address(endpoint: str, args: MultiDict[str, str], **changes: Any) -> str:
    """`endpoint` with `args`, some of them changed (None drops one).

    Empty ones are left out, and those whose names mean something to `url_for` itself.
    """
    found = {**args.to_dict(flat=False), **changes}
    values: dict[str, Any] = {}
    for name, value in found.items():
        kept = [one for one in (value if isinstance(value, list) else [value]) if one not in (None, "")]
        if kept and not name.startswith("_") and name != "endpoint":
            values[name] = kept if isinstance(value, list) else value  # an id of the path is one value
    return url_for(endpoint, **values)


class Listing:
    """One page of `statement`.

    `sorts` maps the word in the URL to a column (nullable ones sort last); a leading ``-`` means
    descending. `key` is the unique column that breaks ties. Unknown sorts and damaged cursors fall
    back to the first page: a URL that a person edited never fails. `args` are what its links keep of the
    address; without them, all of it.
    """

    def __init__(
        self,
        statement: Select[Any],
        *,
        sorts: Mapping[str, Any],
        default: str,
        key: Any,
        per_page: int = PER_PAGE,
        options: Sequence[Any] = (),
        args: MultiDict[str, str] | None = None,
    ) -> None:
        self.statement = statement
        self.sorts = sorts
        wanted = request.args.get("sort", default)
        self.sort = wanted if wanted.lstrip("-") in sorts else default
        self.column = sorts[self.sort.lstrip("-")]
        self.descending = self.sort.startswith("-")
        self.key = key
        self.per_page = per_page
        self.options = options
        self.args = request.args if args is None else args
        self._after = _decode(request.args.get("after"))
        self._before = None if self._after else _decode(request.args.get("before"))

    @cached_property
    def _page(self) -> tuple[list[Any], bool]:
        """The rows of this page in order, and whether there are more beyond its far end."""
        backwards = self._before is not None
        cursor = self._before or self._after
        descending = self.descending != backwards
        statement = self.statement.add_columns(self.column.label("_sort"), self.key.label("_key"))
        if cursor is not None:
            beyond = self._beyond(cursor, descending, backwards)
            if beyond is not None:
                statement = statement.where(beyond)
        nulls = self._nullable
        order = self.column.desc() if descending else self.column.asc()
        if nulls:
            order = order.nulls_first() if backwards else order.nulls_last()
        statement = statement.order_by(order, self.key.desc() if descending else self.key.asc())
        rows = db.session.execute(statement.options(*self.options).limit(self.per_page + 1)).all()
        more = len(rows) > self.per_page
        rows = rows[: self.per_page]
        return (list(reversed(rows)) if backwards else list(rows)), more

    @property
    def _nullable(self) -> bool:
        return bool(getattr(self.column, "nullable", True))

    def _beyond(self, cursor: tuple[Any, Any], descending: bool, backwards: bool) -> Any:
        value, key = cursor
        try:
            value = _typed(value, self.column.type.python_type)
            key = int(key)
        except (TypeError, ValueError, ArithmeticError, NotImplementedError):
            return None
        after_key = self.key < key if descending else self.key > key
        if value is None:
            rest = and_(self.column.is_(None), after_key)
            return or_(rest, self.column.is_not(None)) if backwards else rest
        bound = literal(value, self.column.type)
        after = self.column < bound if descending else self.column > bound
        # The first condition alone is what the index can seek; the second sorts out the ties.
        reach = self.column <= bound if descending else self.column >= bound
        inside = and_(reach, or_(after, after_key))
        if self._nullable and not backwards:
            return or_(inside, self.column.is_(None))
        return inside

    @cached_property
    def items(self) -> list[Any]:
        """The rows: the entity itself where one was selected, else the tuple without the cursor columns."""
        rows = self._page[0]
        return [row[0] if len(row) == 3 else tuple(row)[:-2] for row in rows]

    @property
    def has_next(self) -> bool:
        return self._page[1] if self._before is None else True

    @property
    def has_previous(self) -> bool:
        return self._page[1] if self._before is not None else self._after is not None

    @property
    def next_url(self) -> str | None:
        rows = self._page[0]
        return self.url(after=_encode(rows[-1])) if rows and self.has_next else None

    @property
    def previous_url(self) -> str | None:
        rows = self._page[0]
        return self.url(before=_encode(rows[0])) if rows and self.has_previous else None

    @cached_property
    def total(self) -> int:
        """How many rows in all, counted no further than just beyond the cap."""
        capped = self.statement.with_only_columns(self.key).order_by(None).limit(COUNT_CAP + 1).subquery()
        return int(db.session.scalar(select(func.count()).select_from(capped)) or 0)

    @property
    def total_text(self) -> str:
        return f"{COUNT_CAP:,}+" if self.total > COUNT_CAP else f"{self.total:,}"

    def url(self, **changes: Any) -> str:
        """This list's URL with some arguments changed (None drops one); the cursor is dropped unless given."""
        return address(
            request.endpoint or "",
            self.args,
            **{**(request.view_args or {}), "after": None, "before": None, **changes},
        )

    def sort_url(self, name: str) -> str:
        """The URL that sorts by `name`, or the other way round if it is sorted so already."""
        return self.url(sort=f"-{name}" if self.sort == name else name)


def _encode(row: Any) -> str:
    text = json.dumps([plain(row._sort), row._key], ensure_ascii=False)  # noqa: SLF001  columns of ours
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def _decode(text: str | None) -> tuple[Any, Any] | None:
    if not text or len(text) > 2000:
        return None
    try:
        value, key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        return None
    if isinstance(key, bool) or not isinstance(key, int) or not -(2**62) < key < 2**62:
        return None
    if isinstance(value, str) and "\x00" in value:
        return None
    return value, key


def _typed(value: Any, kind: type) -> Any:
    if value is None:
        return None
    if kind is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return moment
    if kind is date:
        return date.fromisoformat(value)
    if kind is Decimal:
        number = Decimal(value)
        if not number.is_finite():
            raise ValueError("not a number")
        return number
    if kind is int and (isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**62):
        raise TypeError("not an integer")
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value

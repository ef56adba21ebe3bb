"""The sign-in limit, shared by every process: the `limits` library over one table.

Each count is a short transaction of its own, made before the request's: it must survive the
request's rollback and must not wait for it.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import case, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from soconnective.accounts.models import RateWindow
from soconnective.core.db import db
from soconnective.core.sqlite import reads_only

PER_ACCOUNT_AND_NETWORK = parse("10 per 15 minutes")
PER_ACCOUNT = parse("60 per 15 minutes")
PER_NETWORK = parse("100 per 15 minutes")
_table: Any = RateWindow.__table__


class TableStorage(Storage):
    """`limits`' storage interface over `rate_windows`; works on SQLite and PostgreSQL."""

    STORAGE_SCHEME = ["soconnective"]

    @property
    def base_exceptions(self) -> type[Exception]:
        return Exception

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        build = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
        fresh = build(_table).values(key=key, count=amount, expires_at=now + expiry)
        live = _table.c.expires_at > now
        statement = fresh.on_conflict_do_update(
            index_elements=["key"],
            set_={
                "count": case((live, _table.c.count + amount), else_=amount),
                "expires_at": case((live, _table.c.expires_at), else_=now + expiry),
            },
        ).returning(_table.c.count)
        token = reads_only.set(False)
        try:
            with db.engine.begin() as connection:
                count = int(connection.execute(statement).scalar_one())
                if count == amount:
                    connection.execute(delete(_table).where(_table.c.expires_at < now - 3600))
                return count
        finally:
            reads_only.reset(token)

    def get(self, key: str) -> int:
        with db.engine.begin() as connection:
            row = connection.execute(
                select(_table.c.count.label("tries"), _table.c.expires_at).where(_table.c.key == key)
            ).first()
        return int(row.tries) if row is not None and row.expires_at > time.time() else 0

    def get_expiry(self, key: str) -> float:
        with db.engine.begin() as connection:
            found = connection.execute(select(_table.c.expires_at).where(_table.c.key == key)).scalar()
        return float(found or time.time())

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        with db.engine.begin() as connection:
            return connection.execute(delete(_table)).rowcount

    def clear(self, key: str) -> None:
        token = reads_only.set(False)
        try:
            with db.engine.begin() as connection:
                connection.execute(delete(_table).where(_table.c.key == key))
        finally:
            reads_only.reset(token)


KNOWN_DAYS = 30
_storage = TableStorage()
_limiter = FixedWindowRateLimiter(_storage)


def may_try(account: str, network: str) -> bool:
    """Count one try to sign in; False when there were too many for this account, network or both.

    Where the account got in lately, the account's own limit does not count: guesses from elsewhere
    must not lock its owner out.
    """
    name = _name(account)
    limits: list[tuple[RateLimitItem, tuple[str, ...]]] = [
        (PER_NETWORK, ("sign-in", network)),
        (PER_ACCOUNT_AND_NETWORK, ("sign-in", name, network)),
    ]
    if not _storage.get(_known(name, network)):
        limits.insert(1, (PER_ACCOUNT, ("sign-in", name)))
    return all(_limiter.hit(item, *keys) for item, keys in limits)


def count(item: RateLimitItem, *keys: str) -> bool:
    """Count one of what `keys` name; False when `item` allows no more of it."""
    return bool(_limiter.hit(item, *keys))


def forget_tries(account: str, network: str) -> None:
    """The right password was given: this account's tries from this network count no more, and it is known there."""
    name = _name(account)
    _limiter.clear(PER_ACCOUNT_AND_NETWORK, "sign-in", name, network)
    _storage.incr(_known(name, network), KNOWN_DAYS * 86400)


def _known(name: str, network: str) -> str:
    return f"known/{name}/{network}"


def _name(account: str) -> str:
    return hashlib.sha256(account.strip().casefold().encode("utf-8", "replace")).hexdigest()[:32]

"""What is read once in a transaction, however many ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from soconnective.core.db import db

T = TypeVar("T")


def kept(name: str, read: Callable[[], T]) -> T:
    """What `read()` gives, kept in the session under `name` until its transaction ends."""
    session = db.session()
    transaction = session.get_transaction()
    found = session.info.get(name)
    if found is None or found[0] is not transaction or transaction is None:
        value = read()
        found = session.info[name] = (session.get_transaction(), value)
    return found[1]


def forget(name: str) -> None:
    """Read it again the next time."""
    db.session().info.pop(name, None)

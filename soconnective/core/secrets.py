"""What must be kept but never shown: passwords of mail accounts, keys that sign webhooks.

A secret is a row of its own (`secrets`), sealed with a key that is not in the database: it is derived from
SECRET_KEY (HKDF-SHA256, https://www.rfc-editor.org/rfc/rfc5869). Others hold its name only. Logs, exports,
events and pages never hold its value.
"""

from __future__ import annotations

import base64
from datetime import datetime

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import current_app
from sqlalchemy import String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.model import Base, TenantOwned, UtcDateTime, tenant_table

_PURPOSE = b"soconnective secrets 1"


class SecretLost(Exception):
    """A secret cannot be opened: SECRET_KEY is another one than when it was kept. It has to be entered again."""


class Secret(TenantOwned, Base):
    """A sealed text under a name; `key_id` says which key sealed it."""

    __tablename__ = "secrets"
    __table_args__ = tenant_table(UniqueConstraint("tenant_id", "name"))

    name: Mapped[str] = mapped_column(String(120))
    sealed: Mapped[str] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(String(16))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)


def keep_secret(name: str, value: str | None) -> None:
    """Keep `value` under `name` in the current workspace, in place of what was there; None forgets it."""
    row = db.session.scalars(select(Secret).where(Secret.name == name)).first()
    if value is None:
        if row is not None:
            db.session.delete(row)
        return
    fernet, key_id = _fernet()
    if row is None:
        row = Secret(name=name)
        db.session.add(row)
    row.sealed, row.key_id, row.changed_at = fernet.encrypt(value.encode()).decode(), key_id, clock.now()


def open_secret(name: str) -> str | None:
    """The value under `name`, or None if nothing is kept there. Raises `SecretLost`."""
    row = db.session.scalars(select(Secret).where(Secret.name == name)).first()
    if row is None:
        return None
    try:
        return _fernet()[0].decrypt(row.sealed.encode()).decode()
    except InvalidToken:
        raise SecretLost("This was sealed with another SECRET_KEY. Enter it again.") from None


def has_secret(name: str) -> bool:
    return db.session.scalar(select(Secret.id).where(Secret.name == name)) is not None


def _fernet() -> tuple[Fernet, str]:
    """The cipher and the id of its key, which tells nothing of the key."""
    made = HKDF(SHA256(), length=40, salt=None, info=_PURPOSE).derive(
        current_app.config["SECRET_KEY"].encode()
    )
    return Fernet(base64.urlsafe_b64encode(made[:32])), made[32:].hex()

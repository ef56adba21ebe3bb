"""Codes from an authenticator app, each of which works once.

Flask-Security leaves it to the application to remember the last used time step (RFC 6238, 5.2:
a verifier must not accept the second attempt of a code).
"""

from __future__ import annotations

from typing import Any

from flask_security import Totp
from werkzeug.local import LocalProxy

from soconnective.core.db import db


class OneTimeCodes(Totp):  # type: ignore[misc]
    """The library's codes, with the last time step kept on the person."""

    def verify_totp(self, token: str, totp_secret: str, user: Any, window: int = 0) -> bool:
        """Whether `token` is right and newer than the last one that was used, also in a race of two."""
        person = user._get_current_object() if isinstance(user, LocalProxy) else user  # noqa: SLF001  no other way
        db.session.refresh(person, ["tf_last_counter"], with_for_update=True)
        return bool(super().verify_totp(token, totp_secret, person, window))

    def get_last_counter(self, user: Any) -> int | None:
        return user.tf_last_counter  # type: ignore[no-any-return]

    def set_last_counter(self, user: Any, tmatch: Any) -> None:
        user.tf_last_counter = tmatch.counter


def forget_last_code(_app: Any, user: Any, **_more: Any) -> None:
    """The second factor was switched off: the next one starts afresh."""
    user.tf_last_counter = None

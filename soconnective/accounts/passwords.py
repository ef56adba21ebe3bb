"""What a password must be, and how it becomes a hash: the same rules wherever one is chosen."""

from __future__ import annotations

from typing import Any

from flask import current_app
from flask_security import PasswordUtil, hash_password

from soconnective.core.db import begin_again
from soconnective.core.errors import Refused

SHORTEST, LONGEST = 8, 128
DEMO_PASSWORD = "demo-password"  # noqa: S105  the demo's, refused everywhere else
_COMMON = {
    "password", "password1", "passwort", "12345678", "123456789", "1234567890", "qwertyuiop", "qwerty123", "iloveyou",
    "letmein123", "admin123", "welcome1", "changeme", "soconnective", "11111111", "00000000", "abcd1234", "contraseña",
}  # fmt: skip


class PasswordRules(PasswordUtil):  # type: ignore[misc]
    """Our rules where Flask-Security asks for its own (changing a password)."""

    def validate(self, password: str, is_register: bool, **kwargs: Any) -> tuple[list[str] | None, str]:
        normal = self.normalize(password)
        try:
            check_password(normal, kwargs["user"].email)
        except Refused as refused:
            return [refused.message], normal
        return None, normal


def check_password(password: str, email: str) -> None:
    """At least 8 and at most 128 characters, not the address, not among the most common ones.

    Raises `Refused` at "password".
    """
    if len(password) < SHORTEST or not password.strip():
        raise Refused(f"Use at least {SHORTEST} characters.", "password")
    if len(password) > LONGEST:
        raise Refused(f"Use at most {LONGEST} characters.", "password")
    if password.casefold() in _COMMON or password == DEMO_PASSWORD:
        raise Refused("This password is too well known. Choose another one.", "password")
    if password.casefold() in (email.casefold(), email.split("@", maxsplit=1)[0].casefold()):
        raise Refused("Do not use the e-mail address as the password.", "password")


def normal_form(password: str) -> str:
    """The one spelling of a password that keyboards write differently (NFKD, as at sign-in)."""
    return str(current_app.extensions["security"].password_util.normalize(password))


def hashed(password: str) -> str:
    """The hash to store for `password`."""
    return str(hash_password(normal_form(password)))


class HashedPassword(str):
    """A hash that is ready to be stored, as operations take it in place of a password."""

    __slots__ = ()


def hash_ahead(password: str, email: str) -> HashedPassword:
    """Check and hash before the transaction that writes, which begins with the next statement.

    Raises `Refused` at "password".
    """
    check_password(normal_form(password), email)
    ready = HashedPassword(hashed(password))
    begin_again()
    return ready


def to_store(password: str, email: str, is_demo: bool = False) -> str:
    """The hash of `password`, checked unless it is the demo's; what `hash_ahead` made is taken as it is."""
    if isinstance(password, HashedPassword):
        return str(password)
    if not is_demo:
        check_password(normal_form(password), email)
    return hashed(password)

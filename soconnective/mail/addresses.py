"""A mail address as a server can be told it."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email

from soconnective.core.errors import Refused


def clean_address(value: str | None) -> str:
    """`value` in its normal form, an international domain in ASCII (and what stands before the @ too); raises `Refused` in words (field None)."""
    text = (value or "").strip()
    if not text:
        raise Refused("There is no address.")
    try:
        found = validate_email(text, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as error:
        raise Refused(f"“{text[:80]}” is not a mail address: {error}") from None
    return str(found.ascii_email or found.normalized).casefold()

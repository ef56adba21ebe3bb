"""Addresses, numbers and handles in their normal form: what two spellings of the same one share."""

from __future__ import annotations

import re

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from soconnective.core.errors import Refused

KINDS = {"email": "E-mail", "phone": "Phone", "handle": "Handle"}
NETWORKS = {
    "linkedin": "LinkedIn",
    "x": "X",
    "instagram": "Instagram",
    "facebook": "Facebook",
    "github": "GitHub",
    "telegram": "Telegram",
    "whatsapp": "WhatsApp",
    "other": "Other",
}


def normalise(kind: str, value: str) -> str:
    """The normal form of `value`; raises `Refused` (field None) with words for the person who typed it."""
    if kind == "email":
        return _email(value)
    if kind == "phone":
        return _phone(value)
    return _handle(value)


def _email(value: str) -> str:
    try:
        found = validate_email(value.strip(), check_deliverability=False)
    except EmailNotValidError as error:
        raise Refused(str(error)) from None
    return found.normalized.casefold()


def _phone(value: str) -> str:
    """E.164 where the country is known; else the bare digits, which identify nobody anyway."""
    try:
        number = phonenumbers.parse(value, None)
        if phonenumbers.is_possible_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    except phonenumbers.NumberParseException:
        pass
    digits = re.sub(r"\D", "", value)
    if not 3 <= len(digits) <= 20 or re.search(r"[^\d\s()+./xext-]", value, re.IGNORECASE):
        raise Refused("This does not look like a phone number. Write it like +34 600 123 456.")
    return digits


def phone_words(normalised: str) -> list[str]:
    """The digits under which a number is found: with the country's code, and without it."""
    digits = normalised.lstrip("+")
    try:
        number = phonenumbers.parse(normalised, None)
    except phonenumbers.NumberParseException:
        return [digits]
    return [digits, str(phonenumbers.national_significant_number(number))]


def _handle(value: str) -> str:
    bare = re.sub(
        r"^(https?://)?(www\.)?[\w.-]+\.[a-z]{2,}/(in/|company/)?", "", value.strip(), flags=re.IGNORECASE
    )
    bare = bare.split("?")[0].strip("/").lstrip("@").casefold()
    if not bare or re.search(r"[\s\x00-\x1f]", bare):
        raise Refused("Write the handle without spaces, like @ana.ruiz.")
    return bare


def normalise_domain(value: str) -> str:
    """A company's domain from what was typed, a full address or a URL included; raises `Refused`."""
    bare = (
        re.sub(r"^[a-z]+://", "", value.strip().casefold())
        .split("/")[0]
        .split("@")[-1]
        .split(":")[0]
        .strip(".")
    )
    bare = bare.removeprefix("www.")
    try:
        ascii_form = bare.encode("idna").decode()
    except UnicodeError:
        raise Refused("This does not look like a domain. Write it like example.com.", "domain") from None
    if not re.fullmatch(r"(?=.{3,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}", ascii_form):
        raise Refused("This does not look like a domain. Write it like example.com.", "domain")
    return bare

"""How addresses, numbers, handles and domains are read: one spelling each, and clear words for what is none."""

from __future__ import annotations

import pytest

from soconnective.contacts.identities import normalise, normalise_domain, phone_words
from soconnective.core.errors import Refused

GOOD = [
    ("email", " Ana.Ruiz@Example.COM ", "ana.ruiz@example.com"), ("email", "ana@münchen.example", "ana@münchen.example"),
    ("phone", "+34 600 123 456", "+34600123456"), ("phone", "(0)600 12 34", "06001234"), ("phone", "555-0199 x12", "555019912"),
    ("handle", "@Ana.Ruiz", "ana.ruiz"), ("handle", "https://www.linkedin.com/in/ana-ruiz/?x=1", "ana-ruiz"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "typed", "stored"), GOOD)
def test_one_spelling(kind: str, typed: str, stored: str) -> None:
    assert normalise(kind, typed) == stored
    assert normalise(kind, stored) == stored  # again changes nothing


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        ("email", "ana"),
        ("email", "a@b@c"),
        ("phone", "12"),
        ("phone", "call me"),
        ("phone", "1" * 30),
        ("handle", "@"),
        ("handle", "two words"),
    ],
)
def test_what_is_none_is_refused_in_words(kind: str, typed: str) -> None:
    with pytest.raises(Refused) as caught:
        normalise(kind, typed)
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Example.com", "example.com"),
        ("https://www.example.com/about", "example.com"),
        ("ana@example.com", "example.com"),
        ("example.com:8080", "example.com"),
        ("bücher.example", "bücher.example"),
    ],
)
def test_a_domain_from_what_was_typed(typed: str, stored: str) -> None:
    assert normalise_domain(typed) == stored


@pytest.mark.parametrize("typed", ["localhost", "a..b", "-x.com", "x" * 300 + ".com", "two words.com", ""])
def test_what_is_no_domain_is_refused(typed: str) -> None:
    with pytest.raises(Refused):
        normalise_domain(typed)


def test_a_number_is_found_with_and_without_its_country() -> None:
    assert phone_words("+34600123456") == ["34600123456", "600123456"]
    assert phone_words("06001234") == ["06001234"]

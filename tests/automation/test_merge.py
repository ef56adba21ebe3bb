"""Texts with merge fields: what is allowed, and that nothing that a person types breaks out."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soconnective.automation.merge import MAX_OUTPUT, MergeError, problems, render

FIELDS: dict[str, Any] = {
    "deal": {"title": "Roll-out", "amount": "1250.00", "currency": "EUR", "contact": None},
    "rule": {"name": "R"},
    "actor": {"name": "Ana"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Call {{ deal.title }}", "Call Roll-out"),
        ("{{ deal.contact | default: 'the client' }}", "the client"),
        ("{{ deal.title | upcase }}", "ROLL-OUT"),
        ("{% if deal.contact %}x{% else %}nobody{% endif %}", "nobody"),
        ("{{ deal.title | truncate: 5 }}", "Ro..."),
        ("no fields { at all }", "no fields { at all }"),
    ],
)
def test_what_is_allowed(inside: Any, text: str, expected: str) -> None:
    assert render(text, FIELDS) == expected
    assert problems(text, "deal") == []


@pytest.mark.parametrize(
    "text",
    ["{{ deal.secret }}", "{{ deal.title.__class__ }}", "{{ deal['title'] }}{{ x }}", "{% for i in (1..9) %}x{% endfor %}",
     "{% assign x = 1 %}", "{% include 'x' %}", "{% render 'x' %}", "{{ deal.title | append: deal.title }}", "{{ deal.title",
     "{% if %}", "{% raw %}", "{{ 'a' | replace: 'a', 'b' }}", "{{ deal | json }}", "{{ contact.name }}", "{% if x %}" * 300],
)  # fmt: skip
def test_what_is_refused_when_the_rule_is_saved(inside: Any, text: str) -> None:
    assert problems(text, "deal")


_parts = st.sampled_from(
    ["{{", "}}", "{%", "%}", " deal.title ", "|", "if", "endif", "else", "case", "default:", "'x'", "deal", ".", "[", "]", "1..99999", "\x00", "ü", "\ud800"]
)  # fmt: skip


@given(st.lists(_parts | st.text(max_size=8), max_size=25).map("".join))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_typed_does_more_than_fail_in_words(app: Flask, text: str) -> None:
    found = problems(text, "deal")
    assert all(isinstance(problem, str) and problem for problem in found)
    try:
        result = render(text, FIELDS)
    except MergeError:
        return
    assert len(result.encode("utf-8", "replace")) <= MAX_OUTPUT + len(text.encode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ deal.expected_close_on | date }}", "Mon 23 Nov 2026"),
        ("{{ deal.title | date }}", "Roll-out"),
        ("{{ deal.amount | money: deal.currency }}", "€1,250"),
        ("{{ deal.title | money }}", "Roll-out"),
    ],
)
def test_dates_and_money_read_as_on_the_pages(inside: Any, text: str, expected: str) -> None:
    fields = {**FIELDS, "deal": {**FIELDS["deal"], "expected_close_on": "2026-11-23"}}
    assert render(text, fields).replace("\xa0", " ") == expected


@pytest.mark.parametrize("text", ["x" * 20_001 + "{", "{{ deal.title", "{{ a }}" * 501, "}} {{", "%} {%"])
def test_what_cannot_be_read_is_said_in_words(inside: Any, text: str) -> None:
    assert problems(text, "deal")
    with pytest.raises(MergeError):
        render(text, FIELDS)

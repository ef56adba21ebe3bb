"""Lists page by key: every row once, whatever the order; a URL that a person edited never fails."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soconnective.core.db import db, write_transaction
from soconnective.core.listing import _decode
from soconnective.core.tenancy import acting_in
from soconnective.deals.operations import create_deal


def titles(page: str) -> list[str]:
    return re.findall(r"Deal no (\d+)</a>", page)


@pytest.mark.parametrize(
    "sort", ["title", "-title", "amount", "-amount", "expected", "-expected", "entered", "nonsense"]
)
def test_every_row_comes_once_forwards_and_backwards(app: Flask, team: Any, owner: Any, sort: str) -> None:
    number = 117
    with app.app_context(), acting_in(team.id), write_transaction():
        for n in range(number):
            create_deal(
                f"Deal no {n:03}", team.stages["Lead"], amount=[None, 5, 5, n][n % 4], owner_id=team.owner.id
            )
        db.session.flush()
    seen, url = [], f"/dashboard/deals?sort={sort}"
    pages = []
    while url:
        page = owner.get(url).text
        pages.append(titles(page))
        seen += pages[-1]
        found = re.search(r'rel="next" href="([^"]+)"', page)
        url = found[1].replace("&amp;", "&") if found else ""
    assert len(seen) == number == len(set(seen))
    back = re.search(r'rel="prev" href="([^"]+)"', page)
    assert back is not None and titles(owner.get(back[1].replace("&amp;", "&")).text) == pages[-2]


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda raw: raw.hex()))
@settings(max_examples=300, deadline=None)
def test_no_cursor_breaks_the_reader(text: str) -> None:
    found = _decode(text)
    assert found is None or isinstance(found[1], int)


@given(st.text(alphabet="abcXYZ019-_=%&+;", max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_url_fails(app: Flask, owner: Any, text: str) -> None:
    for name in ("after", "before", "sort", "q", "owner_id"):
        assert owner.get("/dashboard/contacts", query_string={name: text}).status_code == 200

"""Proof 7, input, in addresses: whatever a list is asked there, it answers, writes nothing and shows nobody else's rows."""

from __future__ import annotations

import random
from typing import Any

import pytest
from flask import Flask

from soconnective.core.conditions import OPERATORS, fields_of
from soconnective.saved_views import filtering
from tests.databases import owner_engine
from tests.proofs.digests import changed, digest_of
from tests.proofs.test_input_forms import DATES, NUMBERS, TEXTS
from tests.saved_views.test_filters import AREAS
from tests.test_routes import fill

NAME = "7 Input"
PARTS = ("field", "operator", "value", "value", "other", "match")


def asked(chance: random.Random, kind: str, ids: dict[str, int]) -> list[tuple[str, str]]:
    """An address: some of it sound, most of it not."""

    def word(*good: Any) -> str:
        known = [str(one) for one in good] or [""]
        return (
            chance.choice(known)
            if chance.random() < 0.6
            else chance.choice(chance.choice([NUMBERS, TEXTS, DATES]))[:3000]
        )

    found = []
    for row in range(chance.choice([1, 1, 2, 3, 8])):
        place = f"{chance.choice([0, 0, 1, 7, 999])}-{row}"
        found += [
            (f"if-{place}-field", word(*fields_of(kind))),
            (f"if-{place}-operator", word(*OPERATORS)),
            *(
                (f"if-{place}-value", word("me", *ids.values(), "100", "2026-11-20", "a"))
                for _ in range(chance.choice([0, 1, 1, 3]))
            ),
            (f"if-{place}-other", word("200", "2026-12-20")),
            (f"if-{place.split('-', maxsplit=1)[0]}-match", word("all", "any", "none")),
        ]
    more = {"op": word("add", "add:0", "remove:0:0", "redraw"), "sort": word("title", "-amount"), "saved": word(ids["view_id"]),
            "filter": word("1"), "if-match": word("any"), "q": word("kan"), "stage_id": word(1), "view": word("open"), "mine": word("1")}  # fmt: skip
    found += chance.sample(sorted(more.items()), chance.randint(0, 4))
    return [pair for pair in found if not any("\x00" in part or "\ud800" in part for part in pair)]


def flood(app: Flask, team: Any, client: Any, number: int) -> tuple[dict[int, int], list[str]]:
    chance, ids = random.Random(7), fill(app, team)
    codes: dict[int, int] = {}
    problems = []
    for _ in range(number):
        kind = chance.choice(list(AREAS))
        args = asked(chance, kind, ids)
        for url in (f"/dashboard/{AREAS[kind]}", f"/dashboard/views/filter/{kind}"):
            try:
                answer = client.get(url, query_string=args)
            except Exception as error:
                problems.append(f"{url} broke: {error!r} {args}"[:600])
                continue
            codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
            if answer.status_code not in (200, 404) or "Zebra" in answer.text:
                problems.append(f"{url}: {answer.status_code} {args}"[:600])
    return codes, problems


@pytest.mark.proof(NAME)
def test_whatever_a_list_is_asked_it_answers(
    app: Flask, team: Any, rivals: Any, owner: Any, proof: Any
) -> None:
    fill(app, rivals, "Zebra")
    reader = owner_engine(app)
    theirs = digest_of(reader, rivals.id)
    codes, problems = flood(app, team, owner, proof.scale(120, 3_000))
    assert not changed(theirs, digest_of(reader, rivals.id))
    reader.dispose()
    proof.cases, proof.found = sum(codes.values()), len(problems)
    assert not problems, "\n".join(problems[:10])
    assert codes[200] > sum(codes.values()) * 0.7


@pytest.mark.control(NAME)
def test_a_list_with_a_planted_defect_is_found(
    app: Flask, team: Any, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that asks the database before it looks whether the rows make sense."""
    monkeypatch.setattr(filtering.ListFilter, "is_broken", property(lambda self: False))
    monkeypatch.setattr(filtering.FilterForm, "tree_or_errors", _unchecked)
    _codes, problems = flood(app, team, owner, 40)
    assert problems and "broke" in problems[0]


def _unchecked(form: Any) -> Any:
    from soconnective.core.conditions import Group, Test

    rows = [row for group in form.groups for row in group.rows if row.field and row.operator]
    return Group(
        items=[Test(field=r.field.name, operator=r.operator.id, value=r.posted.get("value")) for r in rows]
    )

"""Notes on a timeline: who may change which, and what the page offers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from soconnective.core.access import acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.timeline.operations import write_note
from tests.factories.records import make_deal, make_rule, move


@pytest.fixture
def story(app: Flask, team: Any) -> dict[str, int]:
    """A deal with a note of the owner's, one of the member's and one of a rule."""
    with app.app_context(), acting_in(team.id):
        make_rule(steps=[("log_note", {"body": "by the rule"})])
        deal = make_deal(team.stages["Lead"])
        ids = {"deal": deal.id}
        for person in (team.owner, team.member):
            with acting_as(person.actor), write_transaction():
                note = write_note(f"by {person.name}", deal_id=deal.id)
                db.session.flush()
                ids[person.name] = note.id
        move(deal, team.stages["Won"])
    return ids


def links(page: str, what: str) -> set[int]:
    return {int(number) for number in re.findall(rf"/notes/(\d+)/{what}\"", page)}


def test_the_page_offers_what_one_may_do(team: Any, story: dict[str, int], sign_in: Any) -> None:
    page = sign_in(team.member).get(f"/dashboard/deals/{story['deal']}").text
    mine, theirs = story[team.member.name], story[team.owner.name]
    assert links(page, "edit") == {mine}
    system = links(page, "delete") - {mine}
    assert len(system) == 1 and theirs not in system
    viewer = sign_in(team.viewer).get(f"/dashboard/deals/{story['deal']}").text
    assert not links(viewer, "edit") and not links(viewer, "delete")


def test_somebody_elses_note_is_not_changed(team: Any, story: dict[str, int], sign_in: Any) -> None:
    client, theirs = sign_in(team.member), story[team.owner.name]
    answer = client.post(f"/dashboard/timeline/notes/{theirs}/edit", data={"body": "stolen", "version": 1})
    assert answer.status_code == 422 and "Only Acme owner can change this note" in answer.text
    assert client.post(f"/dashboard/timeline/notes/{theirs}/delete", data={"version": 1}).status_code == 422
    assert "stolen" not in client.get(f"/dashboard/deals/{story['deal']}").text


def test_ones_own_note_is_changed_and_deleted(team: Any, story: dict[str, int], sign_in: Any) -> None:
    client, mine = sign_in(team.member), story[team.member.name]
    assert (
        client.post(
            f"/dashboard/timeline/notes/{mine}/edit", data={"body": "better", "version": 1}
        ).status_code
        == 302
    )
    assert "better" in client.get(f"/dashboard/deals/{story['deal']}").text
    assert client.post(f"/dashboard/timeline/notes/{mine}/delete", data={"version": 2}).status_code == 302

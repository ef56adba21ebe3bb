"""Pipelines and stages through their pages: order, meaning, replacing a stage that is in use."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal, Pipeline, Stage
from soconnective.events import EventRow
from tests.factories.records import make_deal

HOME = "/dashboard/settings/pipelines"


@pytest.fixture
def read(app: Flask, team: Any) -> Any:
    """What a function says inside the team's workspace."""

    def ask(question: Any) -> Any:
        with app.app_context(), acting_in(team.id):
            found = question()
            db.session.remove()
        return found

    return ask


def stage_names() -> list[str]:
    return list(db.session.scalars(select(Stage.name).order_by(Stage.pipeline_id, Stage.position)))


def test_a_pipeline_is_made_renamed_and_deleted(owner: Any, team: Any, read: Any, version: Any) -> None:
    assert owner.post(HOME, data={"name": "Renewals"}).status_code == 302
    made = read(lambda: db.session.scalars(select(Pipeline.id).where(Pipeline.name == "Renewals")).one())
    edit = f"{HOME}/{made}/edit"
    assert owner.post(edit, data={"name": "Next year", "version": version(owner, edit)}).status_code == 302
    assert "Next year" in owner.get(HOME).text
    gone = f"{HOME}/{made}/delete"
    assert owner.post(gone, data={"version": version(owner, gone)}).status_code == 302
    assert read(lambda: db.session.get(Pipeline, made)) is None


def test_the_last_pipeline_and_one_with_deals_stay(
    app: Flask, owner: Any, team: Any, read: Any, version: Any
) -> None:
    page = f"{HOME}/{team.pipeline_id}/delete"
    refused = owner.post(page, data={"version": version(owner, page)})
    assert refused.status_code == 422 and "at least one pipeline" in refused.text
    read(lambda: make_deal(team.stages["Lead"]).id)
    refused = owner.post(page, data={"version": version(owner, page)})
    assert refused.status_code == 422 and "still holds deals" in refused.text


def test_a_stage_is_added_changed_and_moved(owner: Any, team: Any, read: Any, version: Any) -> None:
    new = {"name": "Trial", "color": "teal", "probability": "60", "kind": "open"}
    assert owner.post(f"{HOME}/{team.pipeline_id}/stages/new", data=new).status_code == 302
    assert read(stage_names)[-1] == "Trial"
    trial = read(lambda: db.session.scalars(select(Stage.id).where(Stage.name == "Trial")).one())
    page = f"{HOME}/stages/{trial}"
    assert owner.post(page, data={**new, "name": "Test", "version": version(owner, page)}).status_code == 302
    assert owner.post(f"{page}/up", data={"version": version(owner, page)}).status_code == 302
    assert read(stage_names)[-2] == "Test"
    assert owner.post(f"{page}/up", data={"version": 999}).status_code == 409


def test_what_a_stage_means_does_not_change_under_its_deals(
    owner: Any, team: Any, read: Any, version: Any
) -> None:
    read(lambda: make_deal(team.stages["Proposal"]).id)
    page = f"{HOME}/stages/{team.stages['Proposal']}"
    data = {
        "name": "Proposal",
        "color": "blue",
        "probability": "50",
        "kind": "won",
        "version": version(owner, page),
    }
    refused = owner.post(page, data=data)
    assert refused.status_code == 422 and "Deals are in this stage" in refused.text


def test_a_stage_in_use_is_replaced_and_its_deals_move_with_events(
    owner: Any, team: Any, read: Any, version: Any
) -> None:
    deal = read(lambda: make_deal(team.stages["Proposal"]).id)
    page = f"{HOME}/stages/{team.stages['Proposal']}/replace"
    refused = owner.post(page, data={"version": version(owner, page)})
    assert refused.status_code == 422 and "Choose the stage" in refused.text
    data = {"version": version(owner, page), "replacement_id": team.stages["Lost"]}
    assert owner.post(page, data=data).status_code == 302
    assert "Proposal" not in read(stage_names)
    moved = read(lambda: [db.session.get(Deal, deal).status, db.session.get(Deal, deal).lost_reason])
    assert moved == ["lost", "Stage Proposal was removed"]
    told = read(lambda: set(db.session.scalars(select(EventRow.name).where(EventRow.record_id == deal))))
    assert {"deal.stage_changed", "deal.lost"} <= told


def test_somebody_who_was_faster_with_a_stage_is_shown(owner: Any, team: Any, version: Any) -> None:
    page = f"{HOME}/stages/{team.stages['Proposal']}/replace"
    answer = owner.post(page, data={"version": 99, "replacement_id": team.stages["Lead"]})
    assert answer.status_code == 409 and "Proposal" in answer.text


def test_the_last_stage_stays(owner: Any, team: Any, read: Any, version: Any) -> None:
    for name in ("Lead", "Qualified", "Proposal", "Negotiation", "Won", "Lost"):
        page = f"{HOME}/stages/{team.stages[name]}/replace"
        last = owner.post(page, data={"version": version(owner, page)})
    assert last.status_code == 422 and "at least one stage" in last.text
    assert read(stage_names) == ["Lost"]

"""After it ran: a failed run is read, mended, resumed and undone; a waiting one is cancelled; why and why not."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import expect

from soconnective.core.access import acting_as
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from tests.browser.conftest import sign_in
from tests.factories.records import make_company, make_deal, make_rule, move
from tests.workspaces import Team

PHONE = ("change_field", {"target": "company", "field": "phone", "value": "+34 600 000 000"})
NOTE = ("log_note", {"body": "{{ deal.title }} is won."})


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
def test_a_failed_run_is_mended_resumed_and_undone(
    app: Flask, team: Team, new_page: Any, javascript: bool
) -> None:
    with app.app_context(), acting_in(team.id), acting_as(team.owner.actor):
        make_company("Initech")
        make_rule(steps=[NOTE, PHONE], name="Call them")
        deal = make_deal(team.stages["Lead"], "Fleet upgrade")
        move(deal, team.stages["Won"])
        deal_id = deal.id
        db.session.rollback()
    page = new_page(java_script_enabled=javascript)
    sign_in(page, team.owner.email)
    page.goto("/dashboard/automations/runs")
    page.get_by_role("link", name="error: step 2 failed: The deal has no company.").click()
    expect(page.get_by_text("undone", exact=True).first).to_be_visible()  # the note of the first step

    page.goto(f"/dashboard/deals/{deal_id}/edit")
    page.get_by_label("Company").select_option(label="Initech")
    page.get_by_role("button", name="Save").first.click()
    page.goto("/dashboard/automations/runs?outcome=failed")
    page.get_by_role("link", name="error: step 2").click()
    page.get_by_role("button", name="Resume where it failed").click()
    expect(page.get_by_text("It ran again.")).to_be_visible()
    expect(page.get_by_text("success: note logged; phone set to")).to_be_visible()
    expect(page.get_by_text("Attempt 1")).to_be_visible()

    page.goto(f"/dashboard/deals/{deal_id}")
    expect(page.get_by_text("Fleet upgrade is won.")).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Undo …").click()
    expect(page.get_by_text("is taken back", exact=True)).to_have_count(2)
    page.get_by_role("button", name="Undo 2 things").click()
    expect(page.get_by_text("Taken back: 2 things.")).to_be_visible()
    page.goto(f"/dashboard/deals/{deal_id}")
    expect(page.get_by_text("Note deleted").first).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
def test_a_waiting_run_is_cancelled_and_why_says_why(
    app: Flask, team: Team, new_page: Any, javascript: bool
) -> None:
    with app.app_context(), acting_in(team.id), acting_as(team.owner.actor):
        make_rule(steps=[("wait", {"mode": "time", "amount": 3, "unit": "days"}), NOTE], name="Later")
        make_rule(steps=[NOTE], name="Switched off", is_active=False)
        move(make_deal(team.stages["Lead"], "Fleet upgrade"), team.stages["Won"])
        db.session.rollback()
    page = new_page(java_script_enabled=javascript)
    sign_in(page, team.owner.email)
    page.goto("/dashboard/automations/runs?outcome=waiting")
    page.get_by_role("link", name="waiting").last.click()
    expect(page.get_by_text("Planned for")).to_be_visible()
    page.get_by_role("button", name="Cancel this run").click()
    expect(page.get_by_text("The run is cancelled")).to_be_visible()
    expect(page.get_by_text("cancelled: by Acme owner")).to_be_visible()

    page.goto("/dashboard/deals/1")
    page.get_by_role("link", name="rules that looked").first.click()
    expect(page.get_by_text("It is switched off.")).to_be_visible()

"""The truth before a rule is switched on: tested in the builder, backtested, in the shadow, promoted, applied, taken back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect

from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Worker
from tests.browser.conftest import PATIENCE, sign_in
from tests.factories.records import make_deal, move
from tests.workspaces import Team


@pytest.fixture
def at_work(app: Flask) -> Iterator[None]:
    worker = Worker(app, poll=0.1)
    thread: threading.Thread = worker.start()
    yield
    worker.stop()
    thread.join(30)


def await_the_end(page: Page, said: str) -> None:
    """With script the page looks again by itself; without, the person does."""
    seen, until = page.get_by_text(said), time.monotonic() + PATIENCE / 1000
    while time.monotonic() < until and (not seen.count() or page.get_by_role("progressbar").count()):
        with suppress(PlaywrightError):  # it ended between the look and the click
            page.get_by_role("link", name="Look again").click(timeout=500)
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(seen).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
def test_from_a_draft_to_a_rule_that_is_on(
    app: Flask, team: Team, new_page: Any, at_work: None, javascript: bool
) -> None:
    with app.app_context(), acting_in(team.id):
        for name in ("Fleet upgrade", "Small repair"):
            deal = make_deal(team.stages["Lead"], name)
            move(deal, team.stages["Won"])
        db.session.rollback()
    page = new_page(java_script_enabled=javascript)
    sign_in(page, team.owner.email)

    page.goto("/dashboard/automations/new")  # a draft is tested before anything is saved
    page.get_by_label("Name").fill("Won kickoff")
    page.get_by_label("Switched on").uncheck()
    page.get_by_label("Title").fill("Kick off {{ deal.title }}")
    page.get_by_role("button", name="Test this rule").click()
    expect(page.get_by_text("It would run.")).to_be_visible()
    expect(page.get_by_text("would create task “Kick off Small repair”")).to_be_visible()
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_url("**/automations")

    page.get_by_role("link", name="Won kickoff").first.click()
    page.get_by_role("link", name="Backtest").click()
    page.get_by_role("button", name="Start").click()
    await_the_end(page, "2 of 2 events")
    expect(page.get_by_role("link", name="Fleet upgrade")).to_be_visible()
    page.goto("/dashboard/tasks?view=open")
    expect(page.get_by_text("Kick off")).to_have_count(0)

    page.goto("/dashboard/automations")
    page.get_by_role("button", name="shadow").click()
    expect(page.get_by_role("button", name="shadow")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("link", name="Won kickoff").first.click()
    page.get_by_role("button", name="Switch on").click()
    expect(page.get_by_role("button", name="on", exact=True)).to_have_attribute("aria-pressed", "true")

    page.get_by_role("link", name="Won kickoff").first.click()
    page.get_by_role("link", name="Apply to existing records").click()
    expect(page.get_by_text("2 deals match its conditions now")).to_be_visible()
    page.get_by_role("button", name="Apply to 2 deals").click()
    await_the_end(page, "2 of 2 records")
    page.goto("/dashboard/tasks?view=open")
    expect(page.get_by_role("link", name="Kick off Fleet upgrade")).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Take back what nobody has touched since").click()
    await_the_end(page, "2 of 2 taken back.")
    page.goto("/dashboard/tasks?view=open")
    expect(page.get_by_text("Kick off")).to_have_count(0)

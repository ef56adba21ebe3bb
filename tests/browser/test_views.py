"""A list is filtered, the filter is kept as a view, found again, changed, and shared: with script and without."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from soconnective.core.tenancy import acting_in
from tests.browser.conftest import sign_in
from tests.factories.records import make_deal
from tests.workspaces import Team


def shown(page: Page, *titles: str) -> None:
    expect(page.locator("tbody .primary-link")).to_have_text(titles)


def choose(page: Page, javascript: bool, field: str, label: str) -> None:
    """A field or a comparison, after which the row asks something else."""
    page.get_by_label(field).select_option(label=label)
    if not javascript:
        page.get_by_role("button", name="Show the fields").click()


@pytest.fixture
def deals(app: Flask, team: Team) -> None:
    with app.app_context(), acting_in(team.id):
        for title, amount, owner in (
            ("Small", 5, team.owner),
            ("Large", 500, team.owner),
            ("Huge", 900, team.member),
        ):
            make_deal(team.stages["Lead"], title, amount=amount, owner_id=owner.id)


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
def test_a_filter_becomes_a_view_of_the_workspace(
    team: Team, deals: None, new_page: Any, javascript: bool
) -> None:
    page = new_page(java_script_enabled=javascript)
    sign_in(page, team.owner.email)
    page.goto("/dashboard/deals")
    page.locator("#filter > summary").click()
    choose(page, javascript, "Field of condition 1", "Amount")
    choose(page, javascript, "Comparison of condition 1", "is at least")
    page.get_by_label("Value of condition 1").fill("lots")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Write a number like 1250")).to_be_visible()
    expect(page.get_by_label("Value of condition 1")).to_have_value("lots")
    page.get_by_label("Value of condition 1").fill("100")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("tbody .primary-link")).to_have_count(2)
    page.get_by_role("link", name="Amount", exact=True).click()
    shown(page, "Large", "Huge")
    page.reload()
    shown(page, "Large", "Huge")

    page.get_by_text("Save as view").click()
    page.get_by_label("Name of the view").fill("Worth a call")
    page.get_by_role("button", name="Save the view").click()
    expect(page.get_by_role("link", name="Worth a call")).to_have_attribute("aria-current", "page")
    shown(page, "Large", "Huge")

    page.locator("#filter > summary").click()
    page.get_by_role("button", name="Condition in group 1").click()
    choose(page, javascript, "Field of condition 3", "Owner")
    page.get_by_label("Value of condition 3").select_option(label="me, whoever looks")
    page.get_by_role("button", name="Apply").click()
    shown(page, "Large")
    expect(page.get_by_role("link", name="Worth a call (changed, not saved)")).to_be_visible()
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text("“Worth a call” is kept like this.")).to_be_visible()
    page.get_by_label("More about this view").click()
    page.get_by_role("button", name="Share with the workspace").click()
    expect(page.get_by_text("is shared with the workspace.")).to_be_visible()

    page = new_page(java_script_enabled=javascript)
    sign_in(page, team.member.email)
    somebody_else_uses_it(page)


def somebody_else_uses_it(page: Page) -> None:
    page.goto("/dashboard/deals")
    page.get_by_role("link", name="Worth a call").click()
    expect(page.get_by_role("link", name="Worth a call")).to_have_attribute("aria-current", "page")
    shown(page, "Huge")
    expect(page.get_by_role("link", name="Take away: owner is me")).to_be_visible()
    expect(page.get_by_role("button", name="Save changes")).to_have_count(0)
    page.get_by_role("link", name="Take away: owner is me").click()
    shown(page, "Large", "Huge")
    expect(page.get_by_role("button", name="Save changes")).to_have_count(0)  # it is somebody else's
    page.get_by_text("Discard").click()
    shown(page, "Huge")

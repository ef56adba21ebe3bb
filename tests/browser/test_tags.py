"""Tags, as a person uses them: made, marked, filtered by, and one put in the place of another."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import sign_in
from tests.workspaces import Team


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
def test_tags_are_used(team: Team, new_page: Any, javascript: bool) -> None:
    page = new_page(java_script_enabled=javascript)
    sign_in(page, team.owner.email)
    page.goto("/dashboard/settings")
    page.get_by_role("link", name="Tags").click()
    page.get_by_label("Name").fill("VIP")
    page.get_by_label("Red").check()
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("The tag VIP is there.")).to_be_visible()

    page.goto("/dashboard/deals/new")
    page.get_by_label("Title").fill("Fleet upgrade")
    page.get_by_label("VIP", exact=True).check()
    page.get_by_label("New tags").fill("Urgent, vip")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Added the tags Urgent, VIP")).to_be_visible()
    page.goto("/dashboard/deals/new")
    page.get_by_label("Title").fill("Small repair")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Small repair")).to_be_visible()

    page.goto("/dashboard/deals")
    page.get_by_label("Tag", exact=True).select_option(label="Urgent")
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_url("**tag_id=*")
    expect(page.get_by_role("link", name="Fleet upgrade")).to_be_visible()
    expect(page.get_by_role("link", name="Small repair")).to_have_count(0)

    page.goto("/dashboard/settings/tags")
    page.get_by_role("link", name="Delete Urgent").click()
    expect(page.get_by_text("It is on 1 deal.")).to_be_visible()
    page.get_by_label("Put another one in its place").select_option(label="VIP")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The tag Urgent is gone.")).to_be_visible()
    page.get_by_role("link", name="1 deal").click()
    page.get_by_role("link", name="Fleet upgrade").click()
    expect(page.get_by_text("Removed the tag Urgent")).to_be_visible()
    page.get_by_role("link", name="VIP").click()
    expect(page.get_by_role("link", name="Fleet upgrade")).to_be_visible()

"""A rule that fails, as a person meets it: told at the bell, seen on the picture, mended, resumed, and undone."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.workspaces import Team


def build_the_rule(page: Page) -> None:
    page.goto("/dashboard/automations/new")
    page.get_by_label("Name", exact=True).fill("Hand over")
    page.get_by_label("Title").fill("Prepare {{ deal.title }}")
    page.get_by_role("button", name="Notify somebody").click()
    page.get_by_label("Whom").select_option(label="a fixed person")
    page.locator("#step-2").get_by_label("Fixed person").select_option(label="Acme member")
    page.locator("#step-2").get_by_label("Text", exact=True).fill("Take over {{ deal.title }}")
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_url("**/automations")


def change_the_member(page: Page, button: str, said: str) -> None:
    page.goto("/dashboard/settings")
    page.get_by_role("main").get_by_role("link", name="People").click()
    page.get_by_role("row", name="Acme member").get_by_role("link", name="Change").click()
    if button == "Disable":  # asks first, and names the rule
        page.get_by_role("link", name="Disable …").click()
        expect(page.get_by_role("link", name="Hand over")).to_be_visible()
    page.get_by_role("button", name=button).click()
    expect(page.get_by_text(said)).to_be_visible()


def test_a_rule_fails_for_a_person_who_left(team: Team, page: Page, new_page: Any) -> None:
    sign_in(page, team.owner.email)
    build_the_rule(page)
    change_the_member(page, "Disable", "Acme member is disabled.")
    page.goto("/dashboard/automations")
    expect(
        page.get_by_text("Acme member is no longer an active member. Choose somebody else.")
    ).to_be_visible()

    page.goto("/dashboard/deals/new")
    page.get_by_label("Title").fill("Fleet upgrade")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("group", name="Stage").get_by_role("button", name="Won").click()
    expect(page.get_by_text("Fleet upgrade is now in Won.")).to_be_visible()  # what was saved stays saved
    expect(page.get_by_role("link", name="Prepare Fleet upgrade")).to_have_count(0)
    page.get_by_role("link", name="Notifications, 1 not read").click()
    page.get_by_role("button", name="The rule “Hand over” failed", exact=True).click()
    expect(
        page.get_by_text("step 2 failed: Acme member is no longer an active member.").first
    ).to_be_visible()
    expect(page.get_by_role("link", name="Step 1: ")).to_have_accessible_name(re.compile("undone$"))
    expect(page.get_by_role("link", name="Step 2: ")).to_have_accessible_name(re.compile("failed$"))
    run = page.url

    change_the_member(page, "Make active again", "Acme member is active again.")
    page.goto(run)
    page.get_by_role("button", name="Resume where it failed").click()
    expect(page.get_by_text("success: task created; Acme member notified")).to_be_visible()
    expect(page.get_by_role("link", name="Step 2: ")).to_have_accessible_name(re.compile("done$"))
    page.get_by_role("link", name="Prepare Fleet upgrade").click()
    expect(page.get_by_role("heading", name="Prepare Fleet upgrade")).to_be_visible()
    theirs = new_page()
    sign_in(theirs, team.member.email)
    theirs.get_by_role("link", name="Notifications, 1 not read").click()
    theirs.get_by_role("button", name="Take over Fleet upgrade", exact=True).click()
    expect(theirs.get_by_role("heading", name="Fleet upgrade")).to_be_visible()

    page.go_back()
    page.get_by_role("link", name="Undo …").click()
    expect(page.get_by_text("is taken back", exact=True)).to_be_visible()
    page.get_by_role("button", name="Undo 1 thing").click()
    expect(page.get_by_text("Taken back: 1 thing.")).to_be_visible()
    page.goto("/dashboard/tasks?view=open")
    expect(page.get_by_role("link", name="Prepare Fleet upgrade")).to_have_count(0)

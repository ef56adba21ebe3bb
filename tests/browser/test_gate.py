"""The gate: a person makes a rule, wins a deal, sees what it did, and takes it all away again."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.workspaces import Team


def build_rule(page: Page) -> None:
    page.goto("/dashboard/automations")
    page.get_by_role("link", name="New rule").click()
    page.get_by_label("Name").fill("Won kickoff")
    page.get_by_label("Title").fill("Kick off {{ deal.title }}")
    page.get_by_role("button", name="Log a note").click()
    page.get_by_label("Note", exact=True).fill("{{ deal.title }} is won.")
    page.get_by_label("Switched on").check()
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_url("**/automations")


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
def test_the_gate(team: Team, new_page: Any, javascript: bool) -> None:
    page = new_page(java_script_enabled=javascript)
    sign_in(page, team.owner.email)
    build_rule(page)
    expect(page.get_by_text("When a deal is won → create task “Kick off {{ deal.title }}”")).to_be_visible()

    page.goto("/dashboard/deals/new")
    page.get_by_label("Title").fill("Fleet upgrade")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("group", name="Stage").get_by_role("button", name="Won").click()

    expect(page.get_by_role("link", name="Kick off Fleet upgrade").first).to_be_visible()
    expect(page.get_by_text("Fleet upgrade is won.")).to_be_visible()
    expect(page.get_by_text("System · Won kickoff")).to_be_visible()
    page.get_by_role("link", name="the run").first.click()
    expect(page.get_by_text("success: task created; note logged")).to_be_visible()
    page.get_by_role("link", name="Kick off Fleet upgrade").click()
    expect(page.get_by_text("Won kickoff")).to_be_visible()

    page.goto("/dashboard/automations")
    expect(page.get_by_role("link", name="success: task created; note logged")).to_have_count(1)
    page.goto("/dashboard/tasks")
    page.get_by_role("link", name="Kick off Fleet upgrade").click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    page.goto("/dashboard/deals?status=all")
    page.get_by_role("link", name="Fleet upgrade", exact=True).click()
    page.get_by_role("link", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Fleet upgrade was deleted.")).to_be_visible()
    page.goto("/dashboard/automations")
    page.goto(page.get_by_role("link", name="Won kickoff").first.get_attribute("href") or "")
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete the rule").click()
    expect(page.get_by_text("No rules yet")).to_be_visible()


def test_two_pages_two_moves(team: Team, new_page: Any, watch: Any) -> None:
    """Somebody was faster: 409, both values shown, nothing lost."""
    watch.allow("409")
    first, second = new_page(), new_page()
    sign_in(first, team.owner.email)
    sign_in(second, team.member.email)
    first.goto("/dashboard/deals/new")
    first.get_by_label("Title").fill("Pilot")
    first.get_by_role("button", name="Save").click()
    first.wait_for_url("**/deals/*")
    second.goto(first.url)
    stages = {"name": "Stage"}
    first.get_by_role("group", **stages).get_by_role("button", name="Proposal").click()
    expect(first.get_by_text("Pilot is now in Proposal.")).to_be_visible()
    with second.expect_response(lambda r: r.url.endswith("/move")) as answer:
        second.get_by_role("group", **stages).get_by_role("button", name="Won").click()
    assert answer.value.status == 409
    expect(second.get_by_role("cell", name="Won", exact=True)).to_be_visible()
    expect(second.get_by_role("cell", name="Proposal", exact=True)).to_be_visible()
    second.get_by_role("button", name="Move").click()
    expect(second.get_by_text("Pilot is now in Won.")).to_be_visible()

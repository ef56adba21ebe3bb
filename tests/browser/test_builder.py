"""A person builds a rule with branches and a wait, publishes it, and follows a run of it on the picture."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.workspaces import Team


def add(page: Page, name: str, place: int | None = None) -> None:
    """Add a step: at the end, or behind another one."""
    area: Any = page
    if place is not None:
        row = page.locator("li.rule-insert", has=page.get_by_text(f", after step {place}", exact=True))
        row.locator("summary").click()
        area = row
    area.get_by_role("button", name=name, exact=True).last.click()


def choose(page: Page, name: str, value: str) -> None:
    """Choose in the first step what decides which inputs follow, and wait until they are there."""
    page.evaluate("document.getElementById('builder').dataset.old = 'yes'")
    page.locator("#step-1").get_by_label(name).select_option(value)
    expect(page.locator("#builder")).not_to_have_attribute("data-old", "yes")


def build(page: Page) -> None:
    page.goto("/dashboard/automations/new")
    page.get_by_label("Name", exact=True).fill("Big and small")
    page.get_by_role("button", name="Remove step 1").click()
    add(page, "If …")
    expect(page.locator("#step-2")).to_contain_text("End of the if")
    choose(page, "Field", "amount")
    choose(page, "Comparison", "at_least")
    page.locator("#step-1").get_by_label("Value").fill("1000")
    add(page, "Log a note", 1)
    page.locator("#step-2").get_by_label("Note", exact=True).fill("big")
    page.get_by_role("button", name="Otherwise: what happens else, for the if of step 1").click()
    add(page, "Wait", 3)
    add(page, "Log a note", 4)
    page.locator("#step-5").get_by_label("Note", exact=True).fill("small")
    expect(page.locator("#sentence")).to_contain_text("otherwise (wait 1 day, log note “small”)")


def create_deal(page: Page, title: str, amount: str) -> None:
    page.goto("/dashboard/deals/new")
    page.get_by_label("Title").fill(title)
    page.get_by_label("Amount").fill(amount)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("group", name="Stage").get_by_role("button", name="Won").click()
    expect(page.get_by_text(f"{title} is now in Won.")).to_be_visible()


def test_build_publish_fire_and_see_it_on_the_picture(team: Team, page: Page) -> None:
    sign_in(page, team.owner.email)
    build(page)
    page.get_by_label("Switched on").check()
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_url("**/automations")
    page.get_by_role("link", name="Big and small").first.click()
    flow = page.locator("svg.flow-svg")
    boxes = flow.get_by_role("link")
    expect(boxes).to_have_count(6)
    left, right = (flow.get_by_role("link", name=f"Step {n}:").bounding_box() for n in (1, 3))
    assert left and right and left["x"] + left["width"] <= right["x"] and abs(left["y"] - right["y"]) < 1
    flow.get_by_role("link", name="Step 5: Log note “small”").click()
    page.wait_for_url("**/edit#step-5")

    page.locator("#step-5").get_by_label("Note", exact=True).fill("tiny")
    page.get_by_role("button", name="Save as draft").click()
    expect(page.locator(".diff ins").first).to_have_text("tiny")
    create_deal(page, "Small deal", "5")
    create_deal(page, "Big deal", "5000")
    page.goto("/dashboard/automations")
    page.get_by_role("link", name="Big and small").first.click()
    expect(page.get_by_role("link", name="1 run waits")).to_be_visible()
    page.get_by_role("link", name="success: note logged").click()
    for name, kind in (("Step 1: If amount is at least 1000, yes", "is-yes"), ("Step 2: Log note “big”, done", "is-succeeded")):  # fmt: skip
        expect(flow.get_by_role("link", name=name)).to_have_class(f"flow-node {'branch' if kind == 'is-yes' else 'step'} {kind}")  # fmt: skip
    expect(flow.get_by_role("img", name="Step 4: Wait 1 day, not reached")).to_be_visible()
    flow.get_by_role("link", name="Step 2:").click()
    expect(page.locator("#trace-2")).to_be_in_viewport()
    page.get_by_role("link", name="Previous run").click()
    expect(flow.get_by_role("link", name="Step 4: Wait 1 day, waiting")).to_be_visible()
    expect(page.get_by_text("Planned for")).to_be_visible()
    page.get_by_role("button", name="Cancel this run").click()
    expect(page.get_by_text("The run is cancelled: it does not go on.")).to_be_visible()
    expect(flow.get_by_role("link", name="Step 4: Wait 1 day, cancelled")).to_be_visible()

    page.goto("/dashboard/automations")
    page.get_by_role("link", name="Big and small").first.click()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("The draft is published.")).to_be_visible()
    page.get_by_role("button", name="Restore version 1").click()
    expect(page.get_by_text("Version 1 is back, as a new version.")).to_be_visible()
    expect(page.locator(".rule-sentence")).to_contain_text("log note “small”")


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
def test_the_buttons_of_a_step(team: Team, new_page: Any, javascript: bool) -> None:
    page = new_page(java_script_enabled=javascript)
    sign_in(page, team.owner.email)
    page.goto("/dashboard/automations/new")
    page.get_by_label("Name", exact=True).fill("Steps")
    page.get_by_label("Title").fill("first")
    page.get_by_role("button", name="Log a note").click()
    page.locator("#step-2").get_by_label("Note", exact=True).fill("second")
    page.get_by_role("button", name="Move step 2 up").click()
    expect(page.locator("#step-1")).to_contain_text("Log a note")
    page.get_by_label("More for step 1").click()
    page.get_by_role("button", name="Duplicate").click()
    expect(page.locator("#step-2").get_by_label("Note", exact=True)).to_have_value("second")
    page.get_by_label("More for step 2").click()
    page.get_by_role("button", name="Switch off").click()
    expect(page.locator("#step-2")).to_contain_text("The run passes this step by.")
    page.get_by_label("More for step 2").click()
    page.get_by_role("button", name="Add a note").click()
    page.get_by_label("Note on this step").fill("not yet")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Note on this step")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("The run passes this step by.")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("li.rule-step")).to_have_count(2)
    expect(page.get_by_label("Title")).to_have_value("first")
    page.get_by_role("button", name="Redo").click()
    expect(page.locator("li.rule-step")).to_have_count(3)
    page.get_by_role("button", name="Redo").click()
    expect(page.locator("#step-2")).to_contain_text("The run passes this step by.")
    page.get_by_role("button", name="Redo").click()
    expect(page.get_by_label("Note on this step")).to_have_value("not yet")
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_url("**/automations")
    expect(
        page.get_by_text("log note “second”, switched off: log note “second”, create task “first”")
    ).to_be_visible()


def test_the_keyboard_stays_where_the_work_is(team: Team, page: Page) -> None:
    sign_in(page, team.owner.email)
    page.goto("/dashboard/automations/new")
    page.get_by_role("button", name="Log a note").press("Enter")
    expect(page.locator("#steps-1-body")).to_be_focused()
    page.keyboard.type("typed at once")
    page.get_by_role("button", name="Move step 2 up").press("Enter")
    expect(page.locator("#step-1")).to_be_focused()  # its button has nowhere to go now
    page.get_by_role("button", name="Move step 1 down").press("Enter")
    expect(page.locator("#step-2")).to_be_focused()
    expect(page.locator("#steps-1-body")).to_have_value("typed at once")
    expect(page.locator("#picture")).to_contain_text("typed at once")


def test_fifty_steps_are_usable_and_fit_a_phone(team: Team, new_page: Any, app: Any) -> None:
    from soconnective.core.tenancy import acting_in
    from tests.automation.test_flow import BIG, branches, note
    from tests.factories.records import make_rule

    deep = [*[BIG] * 5, note("deep"), *["end_if"] * 5]
    with app.app_context(), acting_in(team.id):
        make_rule(steps=branches(*deep, *[note(f"note {n}") for n in range(39)]))
    page = new_page(viewport={"width": 390, "height": 844})
    sign_in(page, team.owner.email)
    for url in (
        "/dashboard/automations/1",
        "/dashboard/automations/1/edit",
        "/dashboard/automations/1/versions",
    ):
        page.goto(url)
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), url
    page.goto("/dashboard/automations/1/edit")
    page.get_by_role("button", name="Move step 50 up").click()
    button = page.get_by_role("button", name="Move step 49 up")
    expect(button).to_be_focused()
    expect(button).to_be_in_viewport()


def test_no_click_is_lost_on_the_way(team: Team, page: Page) -> None:
    sign_in(page, team.owner.email)
    page.goto("/dashboard/automations/new")
    glides = "getComputedStyle(document.documentElement).scrollBehavior"
    assert page.evaluate(glides) == "auto"  # a sticky foot that glides moves away from under a click
    held: list[Any] = []
    page.route(
        "**/automations/new",
        lambda route: (
            held.append(route) if "op=add" in (route.request.post_data or "") else route.continue_()
        ),
    )
    page.get_by_role("button", name="Log a note").click()
    save = page.get_by_role("button", name="Save the rule")
    expect(save).to_be_disabled()
    assert len(held) == 1
    held[0].continue_()
    expect(save).to_be_enabled()
    expect(page.locator("li.rule-step")).to_have_count(2)

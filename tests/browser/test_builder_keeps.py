"""The builder loses nothing: what is typed while it waits, where the cursor was, and work that was not saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from playwright.sync_api import Dialog, Page, Route, expect

from soconnective.core.tenancy import acting_in
from tests.automation.test_flow import BIG, branches, note
from tests.browser.conftest import Watch, sign_in
from tests.factories.records import make_rule
from tests.workspaces import Team

NEW = "/dashboard/automations/new"


def hold(page: Page, button: Any) -> Callable[[], None]:
    """Press `button` and keep its answer back; the result lets it go and waits until it is there."""
    held: list[Any] = []

    def catch(route: Any) -> None:
        if not held and "op=sentence" not in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/automations/new", catch)
    page.evaluate("document.getElementById('builder').dataset.old = 'yes'")
    button.click()
    page.wait_for_timeout(50)
    assert held

    def let_go() -> None:
        held[0].continue_()
        expect(page.locator("#builder")).not_to_have_attribute("data-old", "yes")
        page.unroute("**/automations/new", catch)

    return let_go


def in_focus(page: Page) -> list[Any]:
    found: list[Any] = page.evaluate(
        "[document.activeElement.id, document.activeElement.selectionStart, document.activeElement.value]"
    )
    return found


def test_what_is_typed_while_the_answer_is_under_way_stays(team: Team, page: Page) -> None:
    sign_in(page, team.owner.email)
    page.goto(NEW)
    page.get_by_label("Title").fill("first")
    page.get_by_role("button", name="Log a note").click()
    page.locator("#steps-1-body").fill("second")
    area = page.locator("#steps-1-body").bounding_box()
    assert area is not None  # made larger by hand: htmx would copy the style, which the policy refuses
    page.mouse.move(area["x"] + area["width"] - 4, area["y"] + area["height"] - 4)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] - 4, area["y"] + area["height"] + 60)
    page.mouse.up()
    tall = page.locator("#steps-1-body").evaluate("field => field.offsetHeight")
    assert tall > area["height"]

    # a step is added behind: other fields are typed into meanwhile, the cursor in the middle of one
    let_go = hold(page, page.get_by_role("button", name="Wait", exact=True).last)
    page.get_by_label("Name", exact=True).fill("Typed meanwhile")
    page.locator("#steps-1-body").press_sequentially(", and more")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    let_go()
    expect(page.locator("li.rule-step")).to_have_count(3)
    assert in_focus(page) == ["steps-1-body", len("second, and "), "second, and more"]
    assert page.locator("#steps-1-body").evaluate("field => field.offsetHeight") == tall
    expect(page.get_by_label("Name", exact=True)).to_have_value("Typed meanwhile")
    page.keyboard.type("even ")
    expect(page.locator("#picture")).to_contain_text("second, and even more")

    # the row itself moves: its text goes along, and so does the cursor
    let_go = hold(page, page.get_by_role("button", name="Move step 2 up"))
    page.locator("#steps-1-body").press("End")
    page.keyboard.type("!")
    let_go()
    assert in_focus(page) == ["steps-0-body", len("second, and even more!"), "second, and even more!"]
    expect(page.get_by_label("Title")).to_have_value("first")

    # a choice that decides what other fields there are is asked for once the way is free
    let_go = hold(page, page.get_by_role("button", name="Add a condition"))
    page.locator("#trigger").select_option("contact.created")
    let_go()
    expect(page.locator("#trigger")).to_have_value("contact.created")
    expect(page.locator("#sentence")).to_contain_text("When a contact is created")
    expect(page.locator("#if-0-0-field option").first).to_have_text("Name")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#steps-0-body")).to_have_value("second, and even more!")


def _answer(given: dict[str, Any], route: Route) -> None:
    route.fulfill(**given)


def test_an_answer_that_is_no_form_takes_nothing_away(team: Team, page: Page, watch: Watch) -> None:
    watch.allow("500")
    watch.allow("ERR_FAILED")
    sign_in(page, team.owner.email)
    page.goto(NEW)
    page.get_by_label("Title").fill("kept")
    for answer, words in (
        ({"status": 500, "body": "broken"}, "That did not work just now."),
        ({"status": 200, "body": "<html><body>Sign in</body></html>", "content_type": "text/html"}, "perhaps you are signed out"),
    ):  # fmt: skip
        page.route("**/automations/new", partial(_answer, answer))
        page.get_by_role("button", name="Log a note").click()
        expect(page.get_by_role("alert")).to_contain_text(words)
        expect(page.get_by_label("Title")).to_have_value("kept")
        page.unroute("**/automations/new")
    page.get_by_role("button", name="Log a note").click()
    expect(page.locator("li.rule-step")).to_have_count(2)
    expect(page.get_by_label("Title")).to_have_value("kept")
    expect(page.get_by_role("alert")).to_have_count(0)


def sign_out(page: Page) -> None:
    page.goto("/dashboard")
    page.evaluate("document.querySelector('form[action=\"/logout\"]').submit()")
    page.wait_for_url("**/login*")


def test_work_outlives_the_session_it_was_begun_in(team: Team, page: Page, watch: Watch) -> None:
    """Signed out, or out and in again, in another tab: nothing typed is lost, and it is saved in the end."""
    watch.allow("400")
    sign_in(page, team.owner.email)
    page.goto(NEW)
    page.get_by_label("Name", exact=True).fill("Outlives")
    page.get_by_label("Title").fill("kept")
    other = page.context.new_page()
    sign_out(other)
    page.get_by_role("button", name="Log a note").click()
    expect(page.get_by_role("alert")).to_contain_text("perhaps you are signed out")
    expect(page.get_by_label("Title")).to_have_value("kept")
    sign_in(other, team.owner.email)
    page.get_by_role("button", name="Log a note").click()
    expect(page.locator("li.rule-step")).to_have_count(2)
    page.locator("#steps-1-body").fill("a note, <b>too</b>")
    page.context.clear_cookies()  # the session ended, and its token with it
    sign_in(other, team.owner.email)
    page.get_by_role("button", name="Log a note").click()
    expect(page.locator("li.rule-step")).to_have_count(3)
    expect(page.locator("#steps-1-body")).to_have_value("a note, <b>too</b>")
    page.locator("#steps-2-body").fill("third")
    expect(page.locator("#sentence")).to_contain_text(
        "third"
    )  # nothing is asked any more: the button is the first
    page.context.clear_cookies()
    sign_in(other, team.owner.email)
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_role("heading")).to_have_text("You signed out or in again meanwhile")
    page.get_by_role("button", name="Send what I typed").click()
    page.get_by_role("link", name="Outlives", exact=True).click()
    expect(page.locator("main")).to_contain_text("a note, <b>too</b>")


def test_nobody_leaves_unsaved_work_unasked(team: Team, page: Page, new_page: Any, watch: Watch) -> None:
    watch.allow("422")
    asked: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    sign_in(page, team.owner.email)
    page.goto(NEW)
    page.get_by_role("button", name="Log a note").click()
    expect(page.locator("li.rule-step")).to_have_count(2)
    page.get_by_role("button", name="Undo").click()  # now it is as it was: nobody asks
    expect(page.locator("li.rule-step")).to_have_count(1)
    page.get_by_role("link", name="Deals", exact=True).click()
    page.wait_for_url("**/dashboard/deals**")

    page.goto(NEW)
    page.get_by_label("Title").fill("Call them")
    page.on("dialog", on_dialog)
    page.evaluate("location.reload()")  # the browser asks
    page.wait_for_timeout(200)
    assert asked == ["beforeunload"]
    expect(page.get_by_label("Title")).to_have_value("Call them")
    page.get_by_role("link", name="Deals", exact=True).click()  # we ask
    leaving = page.get_by_role("dialog", name="Leave without saving?")
    leaving.get_by_role("button", name="Stay here").click()
    expect(page.get_by_label("Title")).to_have_value("Call them")
    page.get_by_role("link", name="Cancel").click()
    leaving.get_by_role("button", name="Save as draft").click()
    expect(page.get_by_role("alert")).to_contain_text("Give the rule a name.")  # even that loses nothing
    expect(page.get_by_label("Title")).to_have_value("Call them")
    page.get_by_role("link", name="Cancel").click()
    leaving.get_by_role("link", name="Leave").click()
    page.wait_for_url("**/automations")
    assert asked == ["beforeunload"]

    page = new_page(java_script_enabled=False)
    sign_in(page, team.owner.email)
    page.goto(NEW)
    page.get_by_label("Name", exact=True).fill("Not ready")
    page.get_by_role("button", name="Save as draft").click()
    expect(page.get_by_text("The draft is saved. It does nothing until you publish it.")).to_be_visible()
    expect(
        page.get_by_role("listitem").filter(has_text="“Create a task” is not complete yet: title")
    ).to_be_visible()
    page.get_by_role("link", name="Go on editing").click()
    page.get_by_label("Title").fill("Call them")
    page.get_by_label("Switched on").check()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("Published: version 1 works from now on.")).to_be_visible()


COVERED = """() => {
  const at = document.activeElement, foot = document.querySelector(".builder-foot");
  if (!document.getElementById("builder").contains(at) || foot.contains(at)) return null;
  const mine = at.getBoundingClientRect(), below = foot.getBoundingClientRect();
  const head = document.querySelector(".top"), above = head.getBoundingClientRect();
  const under = getComputedStyle(head).position === "sticky" ? above.bottom : 0;
  return (mine.bottom > below.top && mine.top < below.bottom) || mine.top < under ? at.name || at.textContent : "";
}"""


def test_a_rule_is_built_by_keyboard_and_the_focus_is_always_seen(team: Team, page: Page) -> None:
    sign_in(page, team.owner.email)
    page.goto(NEW)
    covered: list[str] = []

    def press(key: str, until: str) -> None:
        """Press `key` until the cursor is at what the selector says; no place on the way is hidden."""
        for _ in range(200):
            page.keyboard.press(key)
            if found := page.evaluate(COVERED):
                covered.append(found)
            if page.evaluate("what => document.activeElement.matches(what)", until):
                return
        raise AssertionError(f"the keyboard does not get to {until}")

    press("Tab", "#name")
    page.keyboard.type("By keyboard")
    press("Tab", "#is_active")
    page.keyboard.press("Space")
    expect(page.get_by_label("Switched on")).not_to_be_checked()
    press("Tab", "[value='if:add']")
    page.keyboard.press("Enter")
    expect(page.locator("#if-0-0-field")).to_be_focused()
    page.keyboard.type("Amount")
    expect(page.locator("#if-0-0-operator option").first).to_have_text("is")
    expect(page.locator("#if-0-0-field")).to_be_focused()
    press("Tab", "#if-0-0-operator")
    for _ in range(12):  # each choice draws the row anew, and the cursor stays
        if page.locator("#if-0-0-operator").input_value() == "at_least":
            break
        page.keyboard.press("ArrowDown")
        expect(page.locator("#if-0-0-operator")).to_be_focused()
    press("Tab", "#if-0-0-value")
    page.keyboard.type("1000")
    press("Tab", "#steps-0-title")
    page.keyboard.type("Call")
    press("Tab", "[value='add:wait']")
    page.keyboard.press("Enter")
    expect(page.locator("#step-2")).to_contain_text("Wait")
    press("Tab", "[value='add:log_note']")
    page.keyboard.press("Enter")
    expect(page.locator("#steps-2-body")).to_be_focused()
    page.keyboard.type("done")
    for width, height in ((390, 844), (1280, 720)):
        page.set_viewport_size({"width": width, "height": height})
        press("Shift+Tab", "#name")
        press("Tab", ".builder-foot .btn-primary")
    assert covered == []
    page.keyboard.press("Enter")
    page.wait_for_url("**/automations")
    expect(page.get_by_text("When a deal is won, if amount is at least 1000 → create task “Call” due in 1 day for the record's owner, wait 1 day, log note “done”")).to_be_visible()  # fmt: skip


def test_nothing_moves_under_the_pointer(app: Any, team: Team, page: Page) -> None:
    with app.app_context(), acting_in(team.id):
        make_rule(steps=[*[note("x")] * 4, *branches(BIG, note("y"), ("end_if", {})), *[note("z")] * 6])
    sign_in(page, team.owner.email)
    page.goto("/dashboard/automations/1/edit")

    def top(place: Any) -> float:
        box = place.bounding_box()
        assert box is not None
        return float(box["y"])

    def stays(place: Any, do: Callable[[], Any], then: Any = None) -> None:
        place.evaluate("element => element.scrollIntoView({ block: 'center' })")
        place.focus()
        page.evaluate("document.getElementById('builder').dataset.old = 'yes'")
        before = top(place)
        do()
        expect(page.locator("#builder")).not_to_have_attribute("data-old", "yes")
        page.wait_for_timeout(50)
        assert abs(top(then or place) - before) < 3

    asked, compared = page.locator("#steps-4-if-0-0-field"), page.locator("#steps-4-if-0-0-operator")
    stays(asked, lambda: asked.select_option("title"))
    stays(compared, lambda: compared.select_option("empty"))
    up, then = (page.get_by_role("button", name=f"Move step {number} up") for number in (10, 9))
    stays(up, up.click, then)
    expect(then).to_be_focused()

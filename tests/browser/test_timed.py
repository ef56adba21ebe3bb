"""Rules that wait for time, as a person uses them: a date that moves, a step that waits, a schedule, a button."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from playwright.sync_api import Page, expect

from soconnective.core import clock
from tests.browser.conftest import PHONE, Work, require_fit, sign_in
from tests.workspaces import Team

ZONE = "Europe/Madrid"


def begin_a_rule(page: Page, name: str, trigger: str, said: str) -> None:
    """`said`: what the sentence is then; the builder is drawn anew."""
    page.goto("/dashboard/automations/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("This happens").select_option(label=trigger)
    expect(page.get_by_text(f"When {said}").first).to_be_visible()


def save(page: Page) -> None:
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_url("**/automations")


def open_rule(page: Page, name: str) -> None:
    page.goto("/dashboard/automations")
    page.get_by_role("link", name=name, exact=True).first.click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def add_deal(page: Page, title: str, close: date | None = None) -> None:
    page.goto("/dashboard/deals/new")
    page.get_by_label("Title").fill(title)
    page.get_by_label("Expected close").fill(close.isoformat() if close else "")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()


def nine(day: date) -> datetime:
    """Nine o'clock in the workspace."""
    return clock.from_local(datetime(day.year, day.month, day.day, 9), ZONE)


def said(moment: datetime) -> str:
    wall = clock.local(moment, ZONE)
    return f"{wall.day} {wall:%b %Y, %H:%M}".replace("Sep ", "Sept ")


def test_a_moved_date_moves_what_is_planned(team: Team, page: Page, work: Work) -> None:
    today = clock.today(ZONE)
    sign_in(page, team.owner.email)
    begin_a_rule(
        page, "Call before the close", "a time before or after a date of a deal", "a time before or after"
    )
    page.get_by_label("How many").fill("3")
    page.get_by_label("Which date").select_option(label="Expected close")
    page.get_by_label("At", exact=True).fill("09:00")
    page.get_by_label("Title").fill("Call about {{ deal.title }}")
    expect(page.get_by_text("it is 3 days before a deal's expected close at 09:00").first).to_be_visible()
    save(page)
    add_deal(page, "Fleet upgrade", today + timedelta(days=30))
    open_rule(page, "Call before the close")
    first, second = nine(today + timedelta(days=27)), nine(today + timedelta(days=37))
    expect(page.get_by_text(f"{said(first)}: Fleet upgrade")).to_be_visible()

    page.get_by_role("link", name="Fleet upgrade").click()
    page.get_by_role("group", name="Stage").wait_for()
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("Expected close").fill((today + timedelta(days=40)).isoformat())
    page.get_by_role("button", name="Save").click()
    page.get_by_role("group", name="Stage").wait_for()
    open_rule(page, "Call before the close")
    expect(page.get_by_text(f"{said(second)}: Fleet upgrade")).to_be_visible()
    expect(page.get_by_text(said(first))).to_have_count(0)
    expect(page.get_by_text("It has not run yet.")).to_be_visible()

    work(first + timedelta(minutes=1))
    page.reload()
    expect(page.get_by_text("It has not run yet.")).to_be_visible()
    work(second + timedelta(minutes=1))
    page.reload()
    expect(page.get_by_text("Nothing is planned yet.")).to_be_visible()
    page.get_by_role("link", name="success: task created").click()
    expect(page.get_by_text("Date reached")).to_be_visible()
    page.get_by_role("link", name="Call about Fleet upgrade").click()
    expect(page.get_by_role("heading", name="Call about Fleet upgrade")).to_be_visible()


def test_a_run_waits_and_another_is_cancelled(team: Team, page: Page, work: Work) -> None:
    sign_in(page, team.owner.email)
    page.goto("/dashboard/automations/new")
    page.get_by_label("Name", exact=True).fill("Ask how it went")
    page.get_by_role("button", name="Remove step 1").click()
    page.get_by_role("button", name="Wait", exact=True).click()
    page.get_by_label("For", exact=True).fill("2")
    page.get_by_label("Unit").select_option("hours")
    page.get_by_role("button", name="Log a note").click()
    page.get_by_label("Note", exact=True).fill("Ask them about {{ deal.title }}.")
    save(page)
    for title in ("Fleet upgrade", "Small repair"):
        add_deal(page, title)
        page.get_by_role("group", name="Stage").get_by_role("button", name="Won").click()
        expect(page.get_by_text(f"{title} is now in Won.")).to_be_visible()
    open_rule(page, "Ask how it went")
    page.get_by_role("link", name="2 runs wait").click()
    page.get_by_role("row", name="Fleet upgrade").get_by_role("link", name="waiting until").click()
    expect(page.get_by_text("Planned for")).to_be_visible()
    page.get_by_role("button", name="Cancel this run").click()
    expect(page.get_by_text("The run is cancelled")).to_be_visible()
    expect(page.get_by_text("cancelled: by Acme owner")).to_be_visible()

    work(datetime.now(UTC) + timedelta(hours=1))
    open_rule(page, "Ask how it went")
    expect(page.get_by_role("link", name="1 run waits")).to_be_visible()
    work(datetime.now(UTC) + timedelta(hours=3))
    page.reload()
    expect(page.get_by_role("link", name="1 run waits")).to_have_count(0)
    page.get_by_role("link", name="success: ").click()
    expect(page.get_by_role("link", name="Step 1: Wait 2 hours, done")).to_be_visible()
    page.get_by_role("link", name="Small repair").first.click()
    expect(page.get_by_text("Ask them about Small repair.")).to_be_visible()


def test_a_schedule_comes_for_every_record(team: Team, page: Page, work: Work) -> None:
    hour = (clock.local(clock.now(), ZONE).hour + 12) % 24  # not just now
    days = [clock.today(ZONE) + timedelta(days=ahead) for ahead in range(15)]
    moments = [
        clock.from_local(datetime(d.year, d.month, d.day, hour, 30), ZONE)
        for d in days
        if d.weekday() in (1, 3)
    ]
    first, second, third = [at for at in moments if at > clock.now()][:3]
    sign_in(page, team.owner.email)
    for title in ("Fleet upgrade", "Small repair"):
        add_deal(page, title)
    begin_a_rule(page, "Look at it", "a schedule, for each deal", "it is Monday to Friday")
    for day in ("Monday", "Wednesday", "Friday"):
        page.get_by_label(day).uncheck()
    page.get_by_label("At", exact=True).fill(f"{hour:02}:30")
    page.get_by_label("Title").fill("Look at {{ deal.title }}")
    expect(page.get_by_text(f"Tuesday or Thursday at {hour:02}:30, for each deal").first).to_be_visible()
    save(page)
    open_rule(page, "Look at it")
    for moment in (first, second, third):
        expect(page.get_by_text(said(moment))).to_be_visible()
    work()
    page.reload()
    expect(page.get_by_text("It has not run yet.")).to_be_visible()
    work(first + timedelta(minutes=1))
    page.reload()
    expect(page.get_by_role("link", name="success: task created")).to_have_count(2)
    work(first + timedelta(minutes=5))  # each moment comes once
    page.goto("/dashboard/tasks?view=open")
    for title in ("Fleet upgrade", "Small repair"):
        expect(page.get_by_role("link", name=f"Look at {title}")).to_have_count(1)


def test_a_button_on_a_record_and_on_a_selection(team: Team, new_page: Any, work: Work) -> None:
    """On a phone."""
    page = new_page(**PHONE)
    sign_in(page, team.owner.email)
    begin_a_rule(page, "Chase it", "somebody presses a button on a deal", "somebody presses this rule")
    page.get_by_label("Title").fill("Chase {{ deal.title }}")
    require_fit(page)
    save(page)
    for title in ("Fleet upgrade", "Small repair", "Pilot"):
        add_deal(page, title)
    page.get_by_text("Run a rule").click()
    page.get_by_role("button", name="Chase it").click()
    expect(page.get_by_text("“Chase it”: success: task created.")).to_be_visible()
    expect(page.get_by_role("link", name="Chase Pilot").first).to_be_visible()
    require_fit(page)

    page.goto("/dashboard/deals")
    for title in ("Fleet upgrade", "Small repair"):
        page.get_by_label(f"Mark {title}").check()
    require_fit(page)
    page.get_by_role("button", name="Run a rule on them").click()
    expect(page.get_by_label("Which rule").get_by_role("option", selected=True)).to_have_text("Chase it")
    page.get_by_role("button", name="Run it on 2 deals").click()
    expect(page.get_by_text("It runs on 2 deals now, one after the other.")).to_be_visible()
    require_fit(page)
    work()
    page.reload()
    expect(page.get_by_role("link", name="success: task created")).to_have_count(3)
    require_fit(page)
    page.goto("/dashboard/tasks?view=open")
    for title in ("Fleet upgrade", "Small repair", "Pilot"):
        expect(page.get_by_role("link", name=f"Chase {title}")).to_have_count(1)

"""A template with HTML, written and looked at in Chromium: it shows what arrives, and nothing in it does anything."""

from __future__ import annotations

from typing import Any

from flask import Flask

from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from tests.browser.conftest import sign_in
from tests.browser.test_stored_xss import MADE, VECTORS
from tests.factories.records import make_contact

HTML = """<h1 style="color: #ff0000">Dear {{ contact.name }}</h1>
<p title="{{ contact.job_title }}"><a href="{{ contact.job_title }}">here</a></p>
<img src="https://x.example/logo.png" alt="Logo">"""


def test_the_preview_shows_it_and_nothing_in_it_acts(app: Flask, team: Any, page: Any, watch: Any) -> None:
    watch.allow("img-src")  # the image is refused by the policy, and Chromium says so
    watch.allow(
        "Blocked script execution in 'about:srcdoc'"
    )  # of the watch itself, which the frame does not let in
    with app.app_context(), acting_in(team.id):
        make_contact("".join(VECTORS[::23])[:100], VECTORS[1], job_title=VECTORS[21][:100])
        db.session.remove()
    sign_in(page, team.owner.email)
    page.goto("/dashboard/settings/mail/templates/new")
    page.get_by_label("Name").fill("Offer")
    page.get_by_label("Subject").fill("Offer")
    page.get_by_text("HTML of its own").click()
    page.get_by_label("HTML, if it should look different").fill(HTML)
    page.get_by_label("Images from the web may stand in the HTML").check()
    page.get_by_role("button", name="Preview").click()
    frame = page.frame_locator(".mail-frame")
    heading = frame.locator("h1")
    assert "Dear" in heading.inner_text() and "<" in heading.inner_text()
    assert heading.evaluate("e => getComputedStyle(e).color") == "rgb(255, 0, 0)"
    assert frame.locator("[data-xss]").count() == 0 and page.evaluate(MADE) == 0
    assert frame.locator("a").get_attribute("href") is None
    assert frame.locator("img").evaluate("e => e.naturalWidth") == 0
    page.get_by_role("button", name="Save").first.click()
    page.get_by_text("Rules can choose it now").wait_for()
    assert page.frame_locator(".mail-frame").locator("h1").count() == 1

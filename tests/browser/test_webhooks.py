"""Webhooks, as a person uses them: out to a program that fails for a while, and in at an address that is changed."""

from __future__ import annotations

import json
import urllib.request
from datetime import timedelta
from typing import Any
from urllib.error import HTTPError

from flask import Flask
from playwright.sync_api import Page, expect

from soconnective.core import clock
from soconnective.webhooks.sending import DeliverWebhook
from soconnective.webhooks.signatures import require_signature
from tests.browser.conftest import Work, sign_in
from tests.webhooks.conftest import Other
from tests.workspaces import Team

SETTINGS = "/dashboard/settings"


def open_webhooks(page: Page) -> None:
    page.goto(SETTINGS)
    page.get_by_role("main").get_by_role("link", name="Webhooks").click()


def win_a_deal(page: Page, title: str) -> None:
    page.goto("/dashboard/deals/new")
    page.get_by_label("Title").fill(title)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("group", name="Stage").get_by_role("button", name="Won").click()
    expect(page.get_by_text(f"{title} is now in Won.")).to_be_visible()


def add_the_endpoint(page: Page, other: Other) -> str:
    """An address inside is refused first; returns the secret, as it was copied."""
    open_webhooks(page)
    page.get_by_role("link", name="Add an endpoint").click()
    page.get_by_label("Name").fill("Billing")
    page.get_by_label("Address").fill("http://169.254.169.254/latest")
    page.get_by_role("button", name="Add the endpoint").click()
    expect(page.get_by_text("where clouds keep their secrets")).to_be_visible()
    expect(page.get_by_label("Address")).to_have_value("http://169.254.169.254/latest")
    expect(page.get_by_label("Name")).to_have_value("Billing")
    page.get_by_label("Address").fill(other.url)
    page.get_by_role("button", name="Add the endpoint").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    secret = page.evaluate("navigator.clipboard.readText()")
    assert secret == page.get_by_label("Signing secret").input_value()
    page.reload()
    expect(page.get_by_role("heading", name="Billing")).to_be_visible()
    expect(page.get_by_label("Signing secret")).to_have_count(0)  # shown once
    return str(secret)


def build_the_rule(page: Page) -> None:
    page.goto("/dashboard/automations/new")
    page.get_by_label("Name", exact=True).fill("Tell billing")
    page.get_by_role("button", name="Remove step 1").click()
    page.get_by_role("button", name="Call a webhook").click()
    page.get_by_label("Endpoint").select_option(label="Billing")
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_url("**/automations")


def run_again_from_health(page: Page) -> None:
    """The bell leads to the run, the run to the message; all that was given up stands on the page *Health*."""
    page.goto(SETTINGS)
    page.get_by_role("link", name="Notifications, 1 not read").click()
    page.get_by_role("button", name="What the rule “Tell billing” sent was given up", exact=True).click()
    page.locator("#undelivered").get_by_role("link", name="deal.won to Billing").click()
    expect(page.get_by_text("The other side answered 500.")).to_be_visible()
    expect(page.get_by_role("button", name="Send again")).to_be_visible()
    page.goto(SETTINGS)
    page.get_by_role("main").get_by_role("link", name="Health").click()
    expect(page.get_by_role("row", name="Call a webhook")).to_contain_text("The other side answered 500.")
    page.get_by_role("link", name="Call a webhook").click()
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_text("It runs again.")).to_be_visible()


def test_another_program_is_told(
    app: Flask, team: Team, new_page: Any, watch: Any, other: Other, work: Work
) -> None:
    watch.allow("422")
    app.config["SOCONNECTIVE_WEBHOOK_ALLOW"] = f"127.0.0.1:{other.port}"
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    sign_in(page, team.owner.email)
    secret = add_the_endpoint(page, other)
    build_the_rule(page)
    win_a_deal(page, "Fleet upgrade")
    work()
    _path, headers, body = other.got[0]
    require_signature(secret, headers, body, clock.now().timestamp())
    assert json.loads(body)["record"]["title"] == "Fleet upgrade"
    page.goto("/dashboard/automations")
    page.get_by_role("link", name="success: webhook on its way").click()
    page.get_by_role("link", name="deal.won to Billing").click()
    expect(page.get_by_text("delivered", exact=True)).to_be_visible()

    other.answers = [(500, {}, b"oops")]
    win_a_deal(page, "Small repair")
    for tries in range(DeliverWebhook.most_attempts):
        work(clock.now() + tries * timedelta(hours=7))
    assert len(other.got) == 1 + DeliverWebhook.most_attempts
    other.answers = [(200, {}, b"ok")]
    run_again_from_health(page)
    work()
    assert len(other.got) == 1 + DeliverWebhook.most_attempts + 1
    assert len({headers["webhook-id"] for _path, headers, _body in other.got[1:]}) == 1
    require_signature(secret, other.got[-1][1], other.got[-1][2], clock.now().timestamp())
    page.goto("/dashboard/automations")
    expect(page.get_by_role("link", name="The other side answered 500.; delivered after all")).to_be_visible()


def post_json(address: str, what: Any) -> int:
    """What the address answers to a program that posts to it."""
    request = urllib.request.Request(
        address, json.dumps(what).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except HTTPError as refused:
        with refused:
            return refused.code


def test_another_program_tells_us(team: Team, new_page: Any, watch: Any) -> None:
    """Without script."""
    watch.allow("422")
    page = new_page(java_script_enabled=False)
    sign_in(page, team.owner.email)
    open_webhooks(page)
    page.get_by_role("link", name="Add an address").click()
    page.get_by_label("Name").fill("Website form")
    page.get_by_label("Fields").fill("email: customer.email")
    page.get_by_label("Where the call's id is").fill("lead.id")
    page.get_by_role("button", name="Make the address").click()
    expect(page.get_by_text("Line 1: write it like email = customer.email.")).to_be_visible()
    expect(page.get_by_label("Fields")).to_have_value("email: customer.email")
    expect(page.get_by_label("Where the call's id is")).to_have_value("lead.id")
    page.get_by_label("Fields").fill("email = customer.email\nname = customer.name")
    page.get_by_role("button", name="Make the address").click()
    address = page.get_by_label("Secret address").input_value()

    page.goto("/dashboard/automations/new")
    page.get_by_label("Name", exact=True).fill("Take leads in")
    page.get_by_label("This happens").select_option(label="a webhook is received")
    page.get_by_role("button", name="Choose", exact=True).click()
    page.get_by_label("Which webhook").select_option(label="Website form")
    page.get_by_role("button", name="Remove step 1").click()
    expect(page.get_by_role("button", name="Remove step 1")).to_have_count(0)
    page.get_by_role("button", name="Find or create the contact").click()
    page.get_by_label("E-mail").fill("{{ webhook.email }}")
    page.get_by_label("Last name, or all of it").fill("{{ webhook.name }}")
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_url("**/automations")

    call = {"lead": {"id": "L-1"}, "customer": {"email": "ana@customer.example", "name": "Ana Ruiz"}}
    assert post_json(address, call) == 202
    assert (
        post_json(address, call | {"customer": {"email": "eve@customer.example"}}) == 200
    )  # its id came before
    page.goto("/dashboard/contacts")
    expect(page.get_by_role("link", name="Ana Ruiz")).to_be_visible()
    expect(page.get_by_text("eve@customer.example")).to_have_count(0)
    page.goto("/dashboard/automations")
    page.get_by_role("link", name="success: contact created").click()
    expect(page.get_by_role("link", name="Ana Ruiz").first).to_be_visible()

    open_webhooks(page)
    page.get_by_role("link", name="Website form").click()
    expect(page.get_by_text("A call with the id L-1 came before. Nothing was done.")).to_be_visible()
    page.get_by_role("row", name="accepted").get_by_role("link", name="L-1").click()
    expect(page.get_by_role("link", name="Ana Ruiz")).to_be_visible()
    page.get_by_role("link", name="Website form").click()
    page.get_by_role("link", name="Make a new address").click()
    page.get_by_role("button", name="Make a new address").click()
    newer = page.get_by_label("Secret address").input_value()
    call["lead"]["id"] = "L-2"
    assert [post_json(old_or_new, call) for old_or_new in (address, newer)] == [404, 202]
    page.reload()
    expect(page.locator("#deliveries").get_by_role("link", name="L-2")).to_have_count(1)

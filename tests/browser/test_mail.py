"""Mail, as a person uses it: the account is set up and tried, a rule writes to a customer, a refused mail is sent again."""

from __future__ import annotations

from typing import Any

from flask import Flask
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, Work, require_fit, sign_in
from tests.mail.conftest import CANARY, Post
from tests.workspaces import Team

NOBODY = "550 5.1.1 no such person"


def set_up_the_account(page: Page, post: Post, work: Work) -> None:
    """A bad host and a wrong password on the way: each says so, and what was typed stays."""
    page.get_by_role("link", name="Settings").first.click()
    page.get_by_role("main").get_by_role("link", name="E-mail").click()
    page.get_by_label("Mail server").fill("not a server")
    page.get_by_label("Port").fill(str(post.port))
    page.get_by_label("Encryption").select_option("none")
    page.get_by_label("User name").fill("crm")
    page.get_by_label("Password").fill("wrong")
    page.get_by_label("Sent from").fill("crm@acme.example")
    page.get_by_label("Name beside it").fill("Acme CRM")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Mail server")).to_have_accessible_description(
        "Write the server's name, like smtp.example.com."
    )
    expect(page.get_by_label("Mail server")).to_have_value("not a server")
    expect(page.get_by_label("Port")).to_have_value(str(post.port))
    expect(page.get_by_label("Sent from")).to_have_value("crm@acme.example")
    expect(page.get_by_label("Password")).to_have_value("")

    page.get_by_label("Mail server").fill("127.0.0.1")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.get_by_role("button", name="Send a test mail to me").click()
    expect(page.get_by_text("It leaves in a moment.")).to_be_visible()
    work()
    expect(page.get_by_text("did not take the user name or the password")).to_be_visible()
    expect(page.get_by_role("button", name="Send again")).to_be_visible()
    page.get_by_role("link", name="The mail account").click()
    expect(page.get_by_text("did not take the user name or the password")).to_be_visible()
    expect(page.get_by_label("User name")).to_have_value("crm")
    page.get_by_label("Password").fill(CANARY)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.get_by_role("button", name="Send a test mail to me").click()
    expect(page.get_by_text("It leaves in a moment.")).to_be_visible()
    work()
    page.reload()
    expect(page.get_by_text("The mail server took it.")).to_be_visible()
    assert [(one.recipients, one.message["Subject"]) for one in post.letters] == [
        (["owner@acme.example"], "Test mail from Acme")
    ]


def write_the_template(page: Page) -> None:
    page.get_by_role("link", name="E-mail").click()
    page.get_by_role("link", name="Templates").click()
    page.get_by_role("link", name="New template").click()
    page.get_by_label("Name").fill("Thank you")
    page.get_by_text("Insert a field").filter(visible=True).last.click()
    expect(page.get_by_role("button", name="contact.email", exact=True)).to_be_visible()
    page.get_by_label("For rules about").select_option(label="Deal")
    expect(page.get_by_role("button", name="deal.contact", exact=True)).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("Thank you")
    page.get_by_label("Subject").fill("Thank you for {{ deal.title }}")
    page.get_by_label("Text").fill("Dear {{ deal.contct }},\n\nit is a pleasure.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Text")).to_have_accessible_description("There is no field “deal.contct” here.")
    page.get_by_label("Text").fill("Dear ")
    page.get_by_text("Insert a field").filter(visible=True).last.click()
    page.get_by_role("button", name="deal.contact", exact=True).filter(visible=True).last.click()
    page.keyboard.type(",\n\nit is a pleasure.")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("Thank you for [title]")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved. Rules can choose it now.")).to_be_visible()


def build_the_rule(page: Page) -> None:
    page.get_by_role("link", name="Automations").first.click()
    page.get_by_role("link", name="New rule").click()
    page.get_by_label("Name", exact=True).fill("Say thank you")
    page.get_by_role("button", name="Remove step 1").click()
    page.get_by_role("button", name="Send an e-mail").click()
    page.get_by_label("To", exact=True).select_option(label="the contact")
    page.get_by_label("Template").select_option(label="Thank you")
    expect(
        page.get_by_text("When a deal is won → send e-mail from template “Thank you” to the contact").first
    ).to_be_visible()
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_url("**/automations")


def add_ana(page: Page) -> None:
    page.get_by_role("link", name="Contacts").first.click()
    page.get_by_role("link", name="New contact").click()
    page.get_by_label("First name").fill("Ana")
    page.get_by_label("Last name").fill("Ruiz")
    page.get_by_label("E-mail", exact=True).fill("ana@customer.example")
    page.get_by_role("button", name="Save", exact=True).last.click()
    expect(page.get_by_role("heading", name="Ana Ruiz")).to_be_visible()


def win_a_deal(page: Page, title: str) -> None:
    page.get_by_role("link", name="Deals").first.click()
    page.get_by_role("link", name="New deal").click()
    page.get_by_label("Title").fill(title)
    page.get_by_label("Primary contact").select_option(label="Ana Ruiz")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("group", name="Stage").get_by_role("button", name="Won").click()
    expect(page.get_by_text(f"{title} is now in Won.")).to_be_visible()


def test_a_customer_is_written_to(
    app: Flask, team: Team, page: Page, new_page: Any, watch: Any, post: Post, work: Work
) -> None:
    watch.allow("422")
    app.config["SOCONNECTIVE_MAIL_INSIDE"] = True
    post.wants_login = True
    sign_in(page, team.owner.email)
    set_up_the_account(page, post, work)
    write_the_template(page)
    build_the_rule(page)
    add_ana(page)

    win_a_deal(page, "Fleet upgrade")
    work()
    letter = post.letters[-1]
    text, html = (letter.message.get_body((kind,)) for kind in ("plain", "html"))
    assert text and "Dear Ana Ruiz,\n\nit is a pleasure." in text.get_content().replace("\r\n", "\n")
    assert html and "Dear Ana Ruiz," in html.get_content()
    assert (letter.sender, letter.recipients) == ("crm@acme.example", ["ana@customer.example"])
    assert letter.message["From"] == "Acme CRM <crm@acme.example>"
    assert letter.message["Subject"] == "Thank you for Fleet upgrade"
    page.get_by_role("link", name="Automations").first.click()
    page.get_by_role("link", name="success: e-mail to ana@customer.example on its way").click()
    page.get_by_role("link", name="Thank you for Fleet upgrade").click()
    expect(page.get_by_text("The mail server took it.")).to_be_visible()
    page.get_by_role("link", name="Fleet upgrade", exact=True).click()
    expect(page.get_by_role("heading", name="Mails")).to_be_visible()

    post.answers = [NOBODY]
    win_a_deal(page, "Small repair")
    work()
    phone = new_page(**PHONE)
    sign_in(phone, team.owner.email)
    phone.get_by_role("link", name="Notifications, 1 not read").click()
    phone.get_by_role("button", name="What the rule “Say thank you” sent was given up", exact=True).click()
    expect(phone.get_by_text("not delivered: ").first).to_contain_text(NOBODY)
    require_fit(phone)
    phone.locator("#undelivered").get_by_role("link", name="Thank you for Small repair").click()
    expect(phone.get_by_text("not sent")).to_be_visible()
    expect(phone.get_by_text(NOBODY)).to_be_visible()
    require_fit(phone)
    phone.get_by_role("button", name="Send again").click()
    expect(phone.get_by_text("It is on its way again, as the same mail.")).to_be_visible()
    work()
    phone.reload()
    expect(phone.get_by_text("The mail server took it.")).to_be_visible()
    assert [one.message["Subject"] for one in post.letters[1:]] == [
        "Thank you for Fleet upgrade",
        "Thank you for Small repair",
    ]
    page.get_by_role("link", name="Automations").first.click()
    expect(page.get_by_role("link", name="no such person; delivered after all")).to_be_visible()

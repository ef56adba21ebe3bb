"""What script adds to forms: finding rows beyond the first, fields that show when they count; a second factor for real."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from flask import Flask
from passlib.totp import TOTP
from playwright.sync_api import expect

from soconnective.contacts.operations import create_contact
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from tests.browser.conftest import sign_in
from tests.workspaces import PASSWORD


@pytest.fixture
def crowd(app: Flask, team: Any) -> int:
    """600 people; the last by name is nobody that a form offers at once."""
    with app.app_context(), acting_in(team.id), write_transaction():
        for number in range(600):
            create_contact("Ana", f"Aaa {number:03}")
        last = create_contact("Zoe", "Zzyzx")
        db.session.flush()
        return last.id


def test_people_beyond_the_first_are_found_and_saved(app: Flask, team: Any, crowd: int, page: Any) -> None:
    sign_in(page, team.owner.email)
    page.goto("/dashboard/deals/new")
    page.get_by_label("Title").fill("Found")
    page.get_by_label("Find: Primary contact").fill("zzy")
    expect(page.locator("[name=contact_id]")).to_have_value(str(crowd))
    page.get_by_label("Find: Further contacts").fill("aaa 599")
    page.get_by_label("Ana Aaa 599").check()
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(re.compile(r"/dashboard/deals/\d+$"))
    with app.app_context(), acting_in(team.id):
        deal = db.session.query(Deal).one()
        assert [row.contact.name for row in deal.people] == ["Zoe Zzyzx", "Ana Aaa 599"]


def test_a_foreign_id_is_still_no_choice(
    app: Flask, team: Any, rivals: Any, crowd: int, sign_in: Any
) -> None:
    client = sign_in(rivals.owner)
    form = {"title": "Stolen", "stage_id": rivals.stages["Lead"], "currency": "EUR", "contact_id": crowd}
    answer = client.post("/dashboard/deals/new", data=form)
    assert (
        answer.status_code == 422 and "Choose one of the list." in answer.text and "Zzyzx" not in answer.text
    )
    assert client.get("/dashboard/pick/contact?q=zzy").json == []
    many = client.post("/dashboard/deals/new", data={**form, "contact_id": "", "contact_ids": [str(crowd)]})
    assert many.status_code == 422 and "Zzyzx" not in many.text


def test_a_fixed_person_shows_only_where_it_counts(team: Any, page: Any) -> None:
    sign_in(page, team.owner.email)
    page.goto("/dashboard/automations/new")
    assert not page.get_by_label("Fixed person").is_visible()
    page.get_by_label("Assigned to").select_option("person")
    assert page.get_by_label("Fixed person").is_visible()
    page.get_by_role("button", name="Log a note").click()
    page.get_by_label("Note").wait_for()
    assert page.get_by_label("Fixed person").is_visible()


def test_the_second_factor(team: Any, page: Any, new_page: Any) -> None:
    sign_in(page, team.owner.email)
    page.goto("/dashboard/settings/account")
    page.get_by_role("link", name="Second factor").click()
    page.get_by_role("button", name="Switch it on").click()
    drawn = page.locator(".qr img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert drawn > 0  # under our own policy
    phone = TOTP(key=page.locator("ol code").inner_text())
    page.get_by_label("Code").fill(phone.generate(time=time.time() - 30).token)
    page.get_by_role("button", name="Switch on").click()
    page.get_by_text("The second factor is on.").wait_for()
    other = new_page()
    other.goto("/login")
    other.get_by_label("E-mail address").fill(team.owner.email)
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Sign in").click()
    other.get_by_label("Code from the app").fill(phone.generate().token)
    other.get_by_role("button", name="Sign in").click()
    other.wait_for_url("**/dashboard")

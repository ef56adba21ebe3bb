"""Set-up, invitations, roles, leaving."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from flask import Flask

from soconnective.accounts import queries
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from tests.factories.records import make_deal
from tests.workspaces import PASSWORD


def invite(client: Any, email: str, role: str = "member") -> str:
    page = client.post("/dashboard/settings/members", data={"email": email, "role": role}).text
    return re.search(r"/invitations/[\w-]+", page)[0]  # type: ignore[index]


def test_the_first_visit_sets_the_instance_up(app: Flask, client: Any) -> None:
    assert client.get("/dashboard").headers["Location"] == "/setup"
    client.get("/setup")
    form = {
        "name": "First", "currency": "EUR", "timezone": "Europe/Madrid", "person_name": "Ana", "email": "ana@x.example",
        "password": "a good password", "password_again": "a good password", "code": "wrong",
    }  # fmt: skip
    assert client.post("/setup", data=form).status_code == 422
    code = (Path(app.instance_path) / "setup_code").read_text()
    assert client.post("/setup", data={**form, "code": code}).headers["Location"] == "/dashboard"
    assert "First" in client.get("/dashboard").text
    assert "Sales" in client.get("/dashboard/settings/pipelines").text
    assert client.get("/setup").status_code == 404


def test_an_invitation_works_once(app: Flask, owner: Any) -> None:
    link = invite(owner, "new@x.example")
    guest = app.test_client()
    data = {"person_name": "New One", "password": PASSWORD, "password_again": PASSWORD}
    assert guest.post(link, data={**data, "password_again": "other"}).status_code == 422
    assert guest.post(link, data=data).headers["Location"] == "/dashboard"
    assert guest.get("/dashboard").status_code == 200
    assert app.test_client().get(link).status_code == 404


def test_somebody_who_exists_only_joins_after_signing_in(
    app: Flask, team: Any, rivals: Any, sign_in: Any
) -> None:
    link = invite(sign_in(team.owner), rivals.member.email, "viewer")
    assert "Sign in as that person" in app.test_client().get(link).text
    theirs = sign_in(rivals.member)
    assert theirs.post(link).headers["Location"] == "/dashboard"
    assert "Acme" in theirs.get("/dashboard").text
    assert theirs.get("/dashboard/contacts/new").status_code == 403


def test_an_admin_makes_no_owner(team: Any, sign_in: Any) -> None:
    admin = sign_in(team.admin)
    assert (
        admin.post("/dashboard/settings/members", data={"email": "x@x.example", "role": "owner"}).status_code
        == 422
    )
    page = admin.get("/dashboard/settings/members").text
    assert "Owner: everything" not in page


def membership_id(app: Flask, team: Any, person: Any) -> int:
    with app.app_context(), acting_in(team.id):
        return queries.membership_in(team.id, person.id).id  # type: ignore[union-attr]


def test_the_last_owner_stays(app: Flask, team: Any, owner: Any) -> None:
    member = membership_id(app, team, team.owner)
    answer = owner.post(f"/dashboard/settings/members/{member}", data={"role": "member", "version": 1})
    assert answer.status_code == 422 and "needs an owner" in answer.text


def test_removing_a_member_hands_over_what_they_hold(app: Flask, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        deal_id = make_deal(team.stages["Lead"], owner_id=team.member.id).id
    member = membership_id(app, team, team.member)
    assert "1 open deals" in owner.get(f"/dashboard/settings/members/{member}/remove").text
    answer = owner.post(
        f"/dashboard/settings/members/{member}/remove", data={"to_id": team.admin.id, "version": 1}
    )
    assert answer.status_code == 302, answer.text
    with app.app_context(), acting_in(team.id):
        assert db.session.get_one(Deal, deal_id).owner_id == team.admin.id
        assert queries.membership_in(team.id, team.member.id).status == "removed"  # type: ignore[union-attr]

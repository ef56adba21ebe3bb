"""Set-up, invitations, roles, leaving."""

from __future__ import annotations

import re
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from soconnective.accounts import operations, queries
from soconnective.accounts.models import Invitation, Membership
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
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


def guest_joins(app: Flask, link: str) -> Any:
    guest = app.test_client()
    data = {"person_name": "New One", "password": PASSWORD, "password_again": PASSWORD}
    assert guest.post(link, data=data).status_code == 302
    return guest


def test_other_links_to_the_address_end_when_one_is_used_or_made(app: Flask, owner: Any) -> None:
    first = invite(owner, "new@x.example", "admin")
    second = invite(owner, "new@x.example")
    assert app.test_client().get(first).status_code == 404
    guest_joins(app, second)
    assert "new@x.example</td>" in owner.get("/dashboard/settings/members").text
    assert "Open invitations" not in owner.get("/dashboard/settings/members").text


@pytest.mark.parametrize("what", ["disable", "remove"])
def test_no_old_link_lets_somebody_back_in(
    app: Flask, team: Any, owner: Any, sign_in: Any, what: str
) -> None:
    member = membership_id(app, team, team.member)
    with app.app_context(), acting_in(team.id), write_transaction():
        # an older link that was never used (sent while they were away)
        made = Invitation(
            tenant_id=team.id, token_hash=queries.hash_token("old-link"), email=team.member.email, role="member",
            expires_at=clock.now() + timedelta(days=5),
        )  # fmt: skip
        db.session.add(made)
    assert (
        owner.post(
            f"/dashboard/settings/members/{member}/{what}", data={"version": 1, "to_id": ""}
        ).status_code
        == 302
    )
    client = sign_in(team.member)
    assert client.post("/invitations/old-link").status_code == 404
    assert client.get("/dashboard").status_code == 403


def test_somebody_without_a_workspace_is_told_so(app: Flask, team: Any, owner: Any, sign_in: Any) -> None:
    client = sign_in(team.member)
    member = membership_id(app, team, team.member)
    owner.post(f"/dashboard/settings/members/{member}/remove", data={"to_id": "", "version": 1})
    answer = client.get("/dashboard")
    assert answer.status_code == 403 and "You are in no workspace" in answer.text
    assert client.post("/dashboard/companies/new", data={"name": "x"}).status_code == 403
    assert client.post("/logout").status_code == 302


def test_links_are_made_of_the_address_that_people_use(app: Flask, team: Any) -> None:
    app.config["SOCONNECTIVE_BASE_URL"] = "https://crm.example"
    there, client = {"base_url": "https://crm.example"}, app.test_client()
    client.post("/login", data={"email": team.owner.email, "password": PASSWORD}, **there)  # type: ignore[arg-type]
    made = {"email": "new@x.example", "role": "member"}
    page = client.post("/dashboard/settings/members", data=made, **there)  # type: ignore[arg-type]
    assert "https://crm.example/invitations/" in page.text
    assert client.get("/dashboard", base_url="https://evil.example").status_code == 400


def test_two_owners_cannot_both_step_down(app: Flask, team: Any) -> None:
    """Side by side on PostgreSQL, one after the other on SQLite: one owner stays."""
    with app.app_context(), acting_in(team.id), write_transaction():
        membership = queries.membership_in(team.id, team.admin.id)
        membership.role = "owner"  # type: ignore[union-attr]
    ids = [membership_id(app, team, person) for person in (team.owner, team.admin)]
    barrier, outcomes = threading.Barrier(2), []

    def step_down(member_id: int) -> None:
        with app.app_context(), acting_in(team.id):
            try:
                barrier.wait(10)
                with write_transaction():
                    operations.change_role(db.session.get_one(Membership, member_id), "member", "owner")
                    time.sleep(0.2)  # without the lock the other one would look now
                outcomes.append("done")
            except Refused:
                outcomes.append("refused")

    threads = [threading.Thread(target=step_down, args=(member,)) for member in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["done", "refused"]


def test_two_set_ups_at_once_make_one_instance(app: Flask) -> None:
    app.test_client().get("/setup")
    code = (Path(app.instance_path) / "setup_code").read_text()
    barrier, answers = threading.Barrier(2), []

    def set_up(name: str) -> None:
        form = {
            "name": name, "currency": "EUR", "timezone": "UTC", "person_name": name, "email": f"{name}@x.example",
            "password": "a good password", "password_again": "a good password", "code": code,
        }  # fmt: skip
        client = app.test_client()
        barrier.wait(10)
        answers.append(client.post("/setup", data=form).status_code)

    threads = [threading.Thread(target=set_up, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(answers) in ([302, 404], [302, 422])
    with app.app_context():
        assert len(queries.all_tenants()) == 1


def test_one_invitation_used_twice_at_once_makes_one_person(app: Flask, owner: Any) -> None:
    link = invite(owner, "new@x.example")
    barrier, answers = threading.Barrier(2), []

    def join() -> None:
        client = app.test_client()
        data = {"person_name": "New One", "password": PASSWORD, "password_again": PASSWORD}
        barrier.wait(10)
        answers.append(client.post(link, data=data).status_code)

    threads = [threading.Thread(target=join) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers.count(302) == 1 and sorted(answers)[1] in (404, 409, 422)

"""Proof 8, sessions and roles: who was removed, lowered or has a new password is refused with the next request.

A machine of people who are invited, join, get other roles, are disabled, removed and come back, and who
change their passwords; after every step each session and each link that was ever handed out is tried.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, select, text

from soconnective.accounts import queries
from soconnective.accounts.models import Membership, Tenant, User
from soconnective.core.db import db, write_transaction
from tests.workspaces import PASSWORD

NAME = "8 Sessions and roles"


@dataclass
class Human:
    """What is true of a person, by the book."""

    email: str
    password: str = PASSWORD
    role: str | None = None  # None: never a member
    status: str = "removed"
    generation: int = 0
    sessions: list[tuple[Any, int]] = field(default_factory=list)


@dataclass
class Link:
    path: str
    email: str
    role: str
    is_open: bool = True


class House:
    """The workspace as it should be, and the steps that change it through its pages."""

    def __init__(self, app: Flask, team: Any, sign_in: Any, seed: int) -> None:
        self.app, self.team, self.chance = app, team, random.Random(seed)
        with app.app_context():
            self.reader = create_engine(
                app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool
            )
        self.owner = sign_in(team.owner)
        self.people = {f"p{n}@x.example": Human(f"p{n}@x.example") for n in range(4)}
        self.links: list[Link] = []
        self.problems: list[str] = []
        self.checks = self.steps = 0

    def of(self, human: Human) -> int:
        with self.app.app_context():
            found = db.session.scalars(
                select(Membership.id).join(User, User.id == Membership.user_id).where(
                    User.email == human.email, Membership.tenant_id == self.team.id
                )
            ).one()  # fmt: skip
            db.session.remove()
        return found

    def step(self) -> None:
        self.steps += 1
        with self.reader.begin() as connection:  # this machine signs in more often than people do
            connection.execute(text("DELETE FROM rate_windows"))
        human = self.chance.choice(list(self.people.values()))
        doing = self.chance.choice(
            [self.invite, self.revoke, self.join, self.join, self.change_role, self.disable, self.enable, self.remove,
             self.sign_in, self.sign_in, self.change_password]
        )  # fmt: skip
        doing(human)
        self.look(f"step {self.steps}, {doing.__name__} {human.email}")

    def invite(self, human: Human) -> None:
        if human.status == "active":
            return
        role = self.chance.choice(["admin", "member", "viewer"])
        page = self.owner.post("/dashboard/settings/members", data={"email": human.email, "role": role})
        for link in self.links:
            link.is_open &= link.email != human.email
        found = re.search(r"/invitations/[\w-]+", page.text)
        self.links.append(Link(found[0], human.email, role))  # type: ignore[index]

    def _open_link(self, human: Human) -> Link | None:
        return next((link for link in self.links if link.is_open and link.email == human.email), None)

    def revoke(self, human: Human) -> None:
        if (link := self._open_link(human)) is None:
            return
        with self.reader.connect() as connection:
            query = "SELECT max(id) FROM invitations WHERE email = :email"
            invitation = connection.execute(text(query), {"email": human.email}).scalar_one()
        path = f"/dashboard/settings/members/invitations/{invitation}/revoke"
        assert self.owner.post(path).status_code == 302
        link.is_open = False

    def join(self, human: Human) -> None:
        if (link := self._open_link(human)) is None:
            return
        client = self.app.test_client()
        if human.role is None:
            data = {"person_name": "P", "password": human.password, "password_again": human.password}
        else:
            client.post("/login", data={"email": human.email, "password": human.password})
            data = {}
        assert client.post(link.path, data=data).status_code == 302
        human.role, human.status, link.is_open = link.role, "active", False
        human.sessions.append((client, human.generation))

    def change_role(self, human: Human) -> None:
        if human.role is None or human.status == "removed":
            return
        role = self.chance.choice(["admin", "member", "viewer"])
        path = f"/dashboard/settings/members/{self.of(human)}"
        assert self.owner.post(path, data={"role": role}).status_code == 302
        human.role = role

    def _switch(self, human: Human, what: str, status: str) -> None:
        path = f"/dashboard/settings/members/{self.of(human)}/{what}"
        assert self.owner.post(path, data={"to_id": ""}).status_code == 302
        human.status = status
        for link in self.links:
            link.is_open &= link.email != human.email

    def disable(self, human: Human) -> None:
        if human.status == "active":
            self._switch(human, "disable", "disabled")

    def enable(self, human: Human) -> None:
        if human.status == "disabled":
            self._switch(human, "enable", "active")

    def remove(self, human: Human) -> None:
        if human.role is not None and human.status != "removed":
            self._switch(human, "remove", "removed")

    def sign_in(self, human: Human) -> None:
        if human.role is None or len(human.sessions) > 6:
            return
        client = self.app.test_client()
        assert (
            client.post("/login", data={"email": human.email, "password": human.password}).status_code == 302
        )
        human.sessions.append((client, human.generation))

    def change_password(self, human: Human) -> None:
        alive = [client for client, generation in human.sessions if generation == human.generation]
        if not alive or human.status != "active":
            return
        client, new = self.chance.choice(alive), f"quite good password {self.steps}"
        data = {"password": human.password, "new_password": new, "new_password_confirm": new}
        assert client.post("/dashboard/settings/password", data=data).status_code == 302
        human.password, human.generation = new, human.generation + 1
        human.sessions = [(one, human.generation if one is client else age) for one, age in human.sessions]

    def look(self, what: str) -> None:
        """Try every session and every link there ever was."""
        for human in self.people.values():
            for client, generation in human.sessions:
                is_in = generation == human.generation and human.status == "active"
                rights = {
                    "/dashboard": is_in,
                    "/dashboard/settings/members": is_in and human.role == "admin",
                    "/dashboard/automations/new": is_in and human.role == "admin",
                }
                for path, expected in rights.items():
                    self._expect(f"{what}: {human}, {path}", client.get(path).status_code == 200, expected)
                answer = client.post("/dashboard/companies/new", data={"name": "Made"})
                made = answer.status_code == 302 and "/dashboard/companies/" in answer.headers["Location"]
                self._expect(f"{what}: {human} saves", made, is_in and human.role in ("admin", "member"))
        for link in self.links:
            self._expect(
                f"{what}: {link}", self.app.test_client().get(link.path).status_code == 200, link.is_open
            )

    def _expect(self, what: str, found: bool, expected: bool) -> None:
        self.checks += 1
        if found != expected:
            self.problems.append(f"{what}: {'let in' if found else 'refused'}")

    def delete_the_workspace(self) -> None:
        with self.app.app_context(), write_transaction():
            db.session.get_one(Tenant, self.team.id).is_demo = True
        assert self.owner.post("/dashboard/settings/demo").status_code == 302
        for human in self.people.values():
            human.status = "removed"
        for link in self.links:
            link.is_open = False
        self.look("the workspace is deleted")
        self._expect(
            "the owner of a deleted workspace", self.owner.get("/dashboard").status_code == 200, False
        )


@pytest.fixture
def house(app: Flask, team: Any, sign_in: Any) -> Iterator[House]:
    made = House(app, team, sign_in, 8)
    yield made
    made.reader.dispose()


@pytest.mark.proof(NAME)
def test_sessions_and_links_end_with_the_next_request(house: House, proof: Any) -> None:
    for _ in range(proof.scale(30, 600)):
        house.step()
    house.delete_the_workspace()
    proof.cases, proof.found = house.checks, len(house.problems)
    assert not house.problems, "\n".join(house.problems[:20])
    assert house.checks > proof.scale(100, 10_000)


@pytest.mark.control(NAME)
@pytest.mark.parametrize("defect", ["status", "password", "links"])
def test_a_planted_defect_is_found(house: House, monkeypatch: pytest.MonkeyPatch, defect: str) -> None:
    if defect == "status":  # who was disabled or removed stays

        def memberships_of(user_id: int) -> Any:
            rows = db.session.execute(
                select(Membership, Tenant)
                .join(Tenant, Tenant.id == Membership.tenant_id)
                .where(Membership.user_id == user_id)
            )
            return [(row[0], row[1]) for row in rows]

        monkeypatch.setattr(queries, "memberships_of", memberships_of)
    elif defect == "password":  # a new password leaves old sessions alone
        real = house.app.extensions["security"].datastore.set_uniquifier
        monkeypatch.setattr(
            house.app.extensions["security"].datastore, "set_uniquifier", lambda *_a, **_k: real and None
        )
    else:
        monkeypatch.setattr("soconnective.accounts.operations._close_invitations", lambda *_args: None)
    for _ in range(120):
        house.step()
        if house.problems:
            return
    raise AssertionError("nothing was found")

"""Workspaces with a person of each role, and how a test works inside one or signs in to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient

from soconnective.accounts import operations as accounts
from soconnective.core.access import Actor, acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.core.workspace import enter_workspace
from soconnective.deals.pipeline_operations import create_pipeline
from tests.databases import PostgresDatabases, SqliteDatabases
from tests.lending import Lender

PASSWORD = "correct horse battery"


@dataclass
class Person:
    id: int
    email: str
    name: str

    @property
    def actor(self) -> Actor:
        return Actor("person", self.id, self.name)


@dataclass
class Team:
    """A workspace with one person of each role; `id` is the tenant's."""

    id: int
    owner: Person
    admin: Person
    member: Person
    viewer: Person
    pipeline_id: int
    stages: dict[str, int]


def make_team(app: Flask, name: str, domain: str) -> Team:
    people = {}
    with app.app_context():
        with write_transaction():
            tenant = accounts.create_tenant(name, "EUR", "Europe/Madrid")
            for role in ("owner", "admin", "member", "viewer"):
                user = accounts.add_user(f"{role}@{domain}", f"{name} {role}", PASSWORD)
                accounts.add_member(tenant, user, role)
                people[role] = Person(user.id, user.email, user.name)
            tenant_id = tenant.id
        with acting_in(tenant_id), write_transaction():
            pipeline = create_pipeline("Sales")
            stages = {stage.name: stage.id for stage in pipeline.stages}
            pipeline_id = pipeline.id
        enter_workspace(None)
    return Team(tenant_id, **people, pipeline_id=pipeline_id, stages=stages)


@pytest.fixture(scope="session")
def kept_team(databases: SqliteDatabases | PostgresDatabases, lender: Lender) -> Team:
    """Made once per worker; `database_url` hands out databases that hold it to whoever asks for the team."""
    url = databases.fresh()
    app = lender.lend(url)
    team = make_team(app, "Acme", "acme.example")
    lender.take_back(app)
    databases.keep(url)
    databases.discard(url)
    return team


@pytest.fixture
def team(app: Flask, kept_team: Team) -> Team:
    return deepcopy(kept_team)


@pytest.fixture
def rivals(app: Flask) -> Team:
    return make_team(app, "Globex", "globex.example")


@pytest.fixture
def inside(app: Flask, team: Team) -> Iterator[Team]:
    """Working inside the team's workspace as its owner, without a request."""
    with app.app_context(), acting_in(team.id), acting_as(team.owner.actor):
        yield team
        db.session.rollback()
    enter_workspace(None)


@pytest.fixture
def sign_in(app: Flask) -> Callable[[Person], FlaskClient]:
    def sign(person: Person) -> FlaskClient:
        client = app.test_client()
        answer = client.post("/login", data={"email": person.email, "password": PASSWORD})
        assert answer.status_code == 302, answer.text
        return client

    return sign


@pytest.fixture
def owner(team: Team, sign_in: Callable[[Person], FlaskClient]) -> FlaskClient:
    return sign_in(team.owner)


@pytest.fixture
def version() -> Callable[[FlaskClient, str], str]:
    """The version in the form of a page."""

    def read(client: FlaskClient, url: str) -> str:
        found = re.search(r'name="version" value="(\d+)"', client.get(url).text)
        assert found, url
        return found[1]

    return read

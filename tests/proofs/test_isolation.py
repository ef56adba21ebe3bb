"""Proof 5, the isolation matrix: every route × method × who asks × every place where an id can stand.

Made from the app's own map, so that no new route escapes it. Another tenant's id answers byte for byte
like one that is missing, or 403 by the role; the victim's rows stay as they are, whatever the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, select, text

from soconnective.accounts import operations as accounts
from soconnective.accounts.models import Membership
from soconnective.core.access import PERMISSIONS, may
from soconnective.core.db import commit, db, write_transaction
from soconnective.core.model import Base
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from tests.proofs.digests import changed, digest_of
from tests.proofs.pages import PageForm, forms_of
from tests.test_routes import OPEN, fill, own_rules
from tests.workspaces import make_team

NAME = "5 Isolation matrix"
CANARY, OTHER = "Kanarek", "Zebra"
MISSING = 2**40
ROLES = ("viewer", "member", "admin", "owner")
# Drawn anew each time, or told by the request itself.
_PASSING = re.compile(
    r'nonce="[^"]*"|name="(csrf_token|form_key|workspace)" value="[^"]*"|datetime="[^"]*"|[?&](after|before|next)=[^"&]*'
)


def bare(text: str) -> str:
    return _PASSING.sub("", text)


def lift_ids(reader: Any) -> None:
    """From now on ids are large and differ by table: what a page says of the victim's cannot be by chance."""
    with reader.begin() as connection:
        for place, table in enumerate(t for t in Base.metadata.sorted_tables if "id" in t.c):
            start = 700_000 + 1_000 * place
            if connection.dialect.name == "sqlite":
                connection.execute(
                    text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name}
                )
                connection.execute(
                    text("INSERT INTO sqlite_sequence VALUES (:name, :start)"),
                    {"name": table.name, "start": start},
                )
            else:
                connection.execute(
                    text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :start)"),
                    {"name": table.name, "start": start},
                )


class Matrix:
    """A victim's workspace, another one with its people, and a look at the rows that trusts nobody."""

    def __init__(self, app: Flask, others: Any, sign_in: Any) -> None:
        self.app = app
        with app.app_context():
            self.reader = create_engine(
                app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool
            )
        lift_ids(self.reader)
        self.victim = victim = make_team(app, "Victim", "victim.example")
        self.ids = self._filled(victim, CANARY)
        self.own_ids = self._filled(others, OTHER)
        self.clients = {role: sign_in(getattr(others, role)) for role in ROLES}
        self.lower = {role: sign_in(getattr(victim, role)) for role in ("viewer", "member", "admin")}
        self.before = digest_of(self.reader, victim.id)
        self.problems: list[str] = []
        self.cases = 0

    def _filled(self, team: Any, canary: str) -> dict[str, int]:
        ids = fill(self.app, team, canary)
        with self.app.app_context(), acting_in(team.id):
            with write_transaction():
                invitation, _token = accounts.invite(f"{canary.lower()}-guest@x.example", "member", "owner")
            member = db.session.scalars(
                select(Membership.id).where(
                    Membership.tenant_id == team.id, Membership.user_id == team.member.id
                )
            ).one()
            ids |= {"invitation_id": invitation.id, "membership_id": member}
            db.session.remove()
        return ids

    def routes(self) -> list[tuple[Any, str, dict[str, str]]]:
        """(rule, method, one choice of its words) of every route that asks for a role."""
        found = []
        for rule in own_rules(self.app):
            if rule.endpoint in OPEN:
                continue
            words = {
                name: re.sub(r"^\(\?:|\)$", "", converter.regex).split("|")
                for name, converter in rule._converters.items()
                if name not in self.ids
            }
            found += [
                (rule, method, dict(zip(words, choice, strict=True)))
                for choice in product(*words.values())
                for method in sorted(rule.methods & {"GET", "POST", "PUT", "PATCH", "DELETE"})
            ]
        return found

    def url(self, rule: Any, words: dict[str, str], ids: dict[str, int]) -> str:
        values = {name: words.get(name) or ids[name] for name in rule.arguments}
        with self.app.test_request_context():
            return str(rule.build(values)[1])

    def look(self, what: str) -> None:
        """Whether the victim's rows are still as they were."""
        self.cases += 1
        after = digest_of(self.reader, self.victim.id)
        if tables := changed(self.before, after):
            self.problems.append(f"{what} changed {tables}")
            self.before = after

    def compare(self, what: str, theirs: Any, none: Any, wanted: tuple[int, ...]) -> None:
        self.cases += 1
        if theirs.status_code not in wanted or theirs.status_code != none.status_code:
            self.problems.append(f"{what}: {theirs.status_code}, a missing one {none.status_code}")
        elif bare(theirs.text) != bare(none.text):
            self.problems.append(f"{what}: differs from a missing one")
        if CANARY.lower() in theirs.text.lower() or any(CANARY in value for value in theirs.headers.values()):
            self.problems.append(f"{what}: shows the canary")


@pytest.fixture
def matrix(app: Flask, rivals: Any, sign_in: Any) -> Iterator[Matrix]:
    made = Matrix(app, rivals, sign_in)
    yield made
    made.reader.dispose()


def foreign_ids_in_paths(matrix: Matrix) -> None:
    for rule, method, words in matrix.routes():
        if not rule.arguments & set(matrix.ids):
            continue
        permission = matrix.app.view_functions[rule.endpoint].permission
        theirs = matrix.url(rule, words, matrix.ids)
        none = matrix.url(rule, words, dict.fromkeys(matrix.ids, MISSING))
        for role, client in matrix.clients.items():
            wanted = (404,) if role in PERMISSIONS[permission][0] else (403,)
            for headers in ({}, {"HX-Request": "true"}):
                sent = {"data": {"version": 1, "name": "x", "title": "x"}} if method == "POST" else {}
                answers = [client.open(url, method=method, headers=headers, **sent) for url in (theirs, none)]
                matrix.compare(f"{role} of another tenant, {method} {theirs} {headers}", *answers, wanted)
        anonymous = matrix.app.test_client().open(theirs, method=method)
        if anonymous.status_code != 302 or "/login" not in anonymous.headers["Location"]:
            matrix.problems.append(f"nobody, {method} {theirs}: {anonymous.status_code}")
        matrix.look(f"{method} {theirs} by somebody else")


@pytest.mark.proof(NAME)
def test_another_tenants_id_in_a_path_is_like_a_missing_one(matrix: Matrix, proof: Any) -> None:
    foreign_ids_in_paths(matrix)
    proof.cases, proof.found = matrix.cases, len(matrix.problems)
    assert not matrix.problems, "\n".join(matrix.problems)
    assert matrix.cases > 500


@pytest.mark.proof(NAME)
def test_a_lower_role_of_the_same_tenant_changes_nothing(matrix: Matrix, proof: Any) -> None:
    """403 by the table of roles, before anything is written (EspoCRM answered 403 after the change)."""
    for rule, method, words in matrix.routes():
        permission = matrix.app.view_functions[rule.endpoint].permission
        url = matrix.url(rule, words, matrix.ids)
        for role, client in matrix.lower.items():
            if role in PERMISSIONS[permission][0]:
                continue
            answer = client.open(
                url,
                method=method,
                data={"version": 1, "name": "x", "title": "x"} if method == "POST" else None,
            )
            if answer.status_code != 403:
                matrix.problems.append(f"{role}, {method} {url}: {answer.status_code}")
            matrix.look(f"{role}, {method} {url}")
    proof.cases, proof.found = matrix.cases, len(matrix.problems)
    assert not matrix.problems, "\n".join(matrix.problems)
    assert matrix.cases > 60


NUMBERED = re.compile(r"(^|-)(\w*_)?ids?$")


def places_of(form: PageForm) -> list[str]:
    """The fields of a form where an id can stand: selects, hidden fields, lists."""
    return sorted({name for name, _value in form.fields if NUMBERED.search(name)} | {"tenant_id", "id"})


def foreign(name: str, ids: dict[str, int], people: int) -> int:
    """The victim's id of the kind that a field called `name` means."""
    known = {"owner_id": people, "assignee_id": people, "person_id": people, "to_id": people,
             "contact_ids": ids["contact_id"], "people_ids": ids["contact_id"], "from_stage_id": ids["stage_id"],
             "to_stage_id": ids["stage_id"], "replacement_id": ids["stage_id"], "id": ids["deal_id"],
             "tag_ids": ids["tag_id"]}  # fmt: skip
    return known.get(name.rsplit("-", 1)[-1], ids.get(name.rsplit("-", 1)[-1], ids["contact_id"]))


SELF = {"/logout", "/dashboard/workspaces/switch"}
ENDS = re.compile(r"/(delete|remove|demo|undo)$")  # a run is undone once


def own_forms(matrix: Matrix, client: Any) -> Iterator[PageForm]:
    """Each form of one's own pages once; those that would delete the pages themselves are left out."""
    seen = set()
    for rule, method, words in matrix.routes():
        if method != "GET" or rule.endpoint == "dashboard.pick":
            continue
        page = matrix.url(rule, words, matrix.own_ids)
        for form in forms_of(client.get(page).text, page):
            path = form.action.split("?")[0]
            what = (path, tuple(places_of(form)))
            if path not in SELF and not ENDS.search(path) and what not in seen:
                seen.add(what)
                yield form


def told_apart(what: str, name: str, value: int, theirs: Any, none: Any) -> list[str]:
    """How the answer to the victim's id differs from that to a missing one."""
    problems = []
    codes = {theirs.status_code, none.status_code}
    if len(codes) > 1 and codes != {302, 409}:  # 409: the first of the two was saved, without the id
        problems.append(f"{what}: {theirs.status_code}, a missing one {none.status_code}")
    elif codes <= {200, 404, 422} and name not in ("tenant_id", "id"):
        pages = [re.sub(rf"\b({value}|{MISSING})\b", "#", bare(answer.text)) for answer in (theirs, none)]
        if pages[0] != pages[1]:
            problems.append(f"{what}: differs from a missing one")
    if max(codes) >= 500:
        problems.append(f"{what}: broke")
    if CANARY in theirs.text:
        problems.append(f"{what}: shows the canary")
    return problems


@pytest.mark.proof(NAME)
def test_another_tenants_id_in_a_form_is_like_a_missing_one(matrix: Matrix, proof: Any) -> None:
    """Each form of one's own pages, each field that holds an id, filled with the victim's."""
    client = matrix.clients["owner"]
    for form in own_forms(matrix, client):
        for name in places_of(form):
            value = foreign(name, matrix.ids, matrix.victim.member.id)
            client.get("/dashboard")  # shows what an accepted post before this one said
            answers = [
                client.post(form.action, data=form.data(**{name: [one], "form_key": ""}))
                for one in (value, MISSING)
            ]
            what = f"{form.action} with a foreign {name}"
            matrix.problems += told_apart(what, name, value, *answers)
            matrix.look(what)
    proof.cases, proof.found = matrix.cases, len(matrix.problems)
    assert not matrix.problems, "\n".join(matrix.problems)
    assert matrix.cases > 100


ARGUMENTS = ("owner_id", "stage_id", "pipeline_id", "company_id", "contact_id", "deal_id", "automation_id", "record_id",
             "task_id", "appointment_id", "note_id", "event_id", "run_id", "tenant_id", "person_id", "tag_id", "saved")  # fmt: skip


@pytest.mark.proof(NAME)
def test_another_tenants_id_in_a_query_is_like_a_missing_one(matrix: Matrix, proof: Any) -> None:
    client, victim = matrix.clients["owner"], matrix.victim
    known = matrix.ids | {
        "owner_id": victim.member.id,
        "person_id": victim.member.id,
        "tenant_id": victim.id,
        "saved": matrix.ids["view_id"],
    }
    pages = [
        matrix.url(rule, words, matrix.own_ids) for rule, method, words in matrix.routes() if method == "GET"
    ]
    for page in pages if proof.is_long else [page for page in pages if not re.search(r"\d", page)]:
        for name in ARGUMENTS:
            answers = [
                client.get(page, query_string={name: value, "record_type": "deal"})
                for value in (known[name], MISSING)
            ]
            matrix.problems += told_apart(f"{page}?{name}", name, known[name], *answers)
            matrix.cases += 1
    matrix.look("the queries")
    proof.cases, proof.found = matrix.cases, len(matrix.problems)
    assert not matrix.problems, "\n".join(matrix.problems)
    assert matrix.cases > 200


@pytest.mark.control(NAME)
def test_routes_with_planted_defects_are_found(app: Flask, rivals: Any, sign_in: Any) -> None:
    """One that asks in the victim's name, and one that writes before it looks at the role."""
    victim: list[int] = []

    @may("records.view")
    def leak(deal_id: int) -> Any:
        with acting_in(victim[0]):
            deal = db.session.get(Deal, deal_id)
            return deal.title if deal is not None else ("none", 404)

    @may("records.view")
    def write_first(deal_id: int) -> Any:
        with acting_in(victim[0]):
            deal = db.session.get(Deal, deal_id)
            if deal is not None:
                deal.title = "stolen"
            commit()
        return "none", 404

    app.add_url_rule("/dashboard/leak/<id:deal_id>", "deals.leak", leak)
    app.add_url_rule(
        "/dashboard/write-first/<id:deal_id>", "deals.write_first", write_first, methods=["POST"]
    )
    matrix = Matrix(app, rivals, sign_in)
    victim.append(matrix.victim.id)
    foreign_ids_in_paths(matrix)
    matrix.reader.dispose()
    told = "\n".join(matrix.problems)
    assert "shows the canary" in told and "/leak/" in told
    assert re.search(r"write-first\S* by somebody else changed .*deals", told)
    assert all("/leak/" in line or "/write-first/" in line for line in matrix.problems)

"""Pages ask the database a bounded number of times, however many rows they show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from soconnective.appointments.operations import schedule_appointment
from soconnective.contacts.operations import Identity, create_company, create_contact
from soconnective.core import clock
from soconnective.core.conditions import Group, Test
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.operations import create_deal
from soconnective.saved_views.listed import lists
from soconnective.saved_views.operations import create_view
from soconnective.tags.operations import create_tag
from soconnective.tasks.operations import create_task
from soconnective.timeline.operations import write_note
from tests.factories.records import make_rule, move

MOST = 14
MORE = {"/dashboard/automations/1": 18}  # a rule with its draft, versions, runs, statistics, test and linter
ASKED = "if-{}-field={}&if-{}-operator={}&if-{}-value={}"
FILTERS = {  # by a record, a person, tags, a choice and a related record's field: each reads its names
    area: "&".join(
        ASKED.format(*(part for word in row for part in (f"0-{n}", word)))
        for n, row in enumerate([*rows, ("owner_id" if area != "tasks" else "assignee_id", "is", "me")])
    )
    for area, rows in {
        "deals": [
            ("company_id", "is", 1),
            ("contact_id", "is", 1),
            ("tag_ids", "include", 1),
            ("stage_id", "is_not", 5),
        ],
        "contacts": [
            ("company_id", "is", 1),
            ("tag_ids", "include", 1),
            ("company_domain", "not_contains", "x"),
        ],
        "companies": [("tag_ids", "include_not", 1), ("created_at", "last_days", 9)],
        "tasks": [("deal_id", "is", 1), ("contact_id", "is_not", 1), ("deal_stage_id", "is_not", 6)],
        "appointments": [("deal_id", "is", 1), ("contact_id", "is", 1), ("deal_status", "is", "open")],
    }.items()
}
LISTS = [
    "/dashboard", "/dashboard/contacts", "/dashboard/contacts?q=ana", "/dashboard/companies", "/dashboard/deals",
    "/dashboard/deals?mine=1", "/dashboard/tasks", "/dashboard/tasks?view=open", "/dashboard/appointments",
    "/dashboard/automations", "/dashboard/automations/runs", "/dashboard/settings/pipelines", "/dashboard/settings/members",
    "/dashboard/settings/tags", "/dashboard/settings/tags/1/delete", "/dashboard/contacts?tag_id=1", "/dashboard/deals?tag_id=1",
    "/dashboard/companies?tag_id=2", "/dashboard/views", "/dashboard/deals?saved=1", "/dashboard/contacts?saved=2",
    *(f"/dashboard/{area}?{asked}" for area, asked in FILTERS.items()), f"/dashboard/views/filter/deal?{FILTERS['deals']}",
]  # fmt: skip
MORE[f"/dashboard/deals?{FILTERS['deals']}"] = (
    16  # the names of companies, contacts, stages and tags for one filter
)
RECORDS = [
    "/dashboard/contacts/1",
    "/dashboard/companies/1",
    "/dashboard/deals/1",
    "/dashboard/automations/1",
]


def fill(app: Flask, team: Any, number: int) -> None:
    """`number` of everything, all hanging on the first contact, company and deal."""
    with app.app_context(), acting_in(team.id):
        make_rule()
        with write_transaction():
            tags = [create_tag(f"Tag {n}").id for n in range(5)]
            firms = [
                create_company(f"Firm {n}", owner_id=team.owner.id, tag_ids=tags[: n % 4])
                for n in range(number)
            ]
            db.session.flush()
            people = [
                create_contact("Ana", f"Ruiz {n}", company_id=firms[0 if n % 2 else n].id, owner_id=team.owner.id, tag_ids=tags[n % 3 :],
                               identities=[Identity("email", f"p{n}@x.example"), Identity("phone", "+34 600 112 233")])
                for n in range(number)
            ]  # fmt: skip
            db.session.flush()
            deals = [
                create_deal(f"Deal {n}", team.stages["Lead"], company_id=firms[0].id, owner_id=team.owner.id, tag_ids=tags[n % 3 :],
                            contact_ids=[people[0].id] + ([p.id for p in people[1:5]] if n == 0 else []))
                for n in range(number)
            ]  # fmt: skip
            db.session.flush()
            for n in range(number):
                create_task(
                    f"Task {n}", deal_id=deals[0].id, contact_id=people[n].id, assignee_id=team.owner.id
                )
                schedule_appointment(f"Call {n}", clock.now(), clock.now().replace(year=2199), deal_id=deals[n].id,
                                     contact_id=people[0].id, owner_id=team.owner.id)  # fmt: skip
                write_note(f"Note {n}", deal_id=deals[0].id, contact_id=people[0].id)
            for kind, field in (("deal", "tag_ids"), ("contact", "company_id")):
                tree = Group(
                    items=[Test(field=field, operator="include" if field == "tag_ids" else "is", value="1")]
                )
                create_view(lists()[kind], "View", tree, None, team.owner.id, is_shared=True)
        for deal in deals[: max(2, number // 3)]:
            move(deal, team.stages["Won"])


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    found: list[str] = []

    def _note(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        found.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", _note)
    yield found
    event.remove(engine, "before_cursor_execute", _note)


@pytest.fixture(params=[3, 40])
def filled(request: Any, app: Flask, team: Any) -> int:
    fill(app, team, request.param)
    return request.param  # type: ignore[no-any-return]


def test_every_list_and_record(app: Flask, filled: int, owner: Any) -> None:
    many = []
    for path in LISTS + RECORDS:
        with statements(app) as found:
            assert owner.get(path).status_code == 200, path
        if len(found) > MORE.get(path, MOST):
            asked = [
                f"{' '.join(text.split())[:40]} ... {text[text.find('FROM') :][:70]!r}" for text in found
            ]
            many.append("\n  ".join([f"{path}: {len(found)}", *asked]))
    assert not many, "\n".join(many)

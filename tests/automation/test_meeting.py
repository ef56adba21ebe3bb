"""Where the parts meet: what one does is minded by the others."""

from __future__ import annotations

import threading
from datetime import date
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.automation.again import resume, run_again
from soconnective.automation.definition import build
from soconnective.automation.drafts import in_the_making, save_draft
from soconnective.automation.models import Automation, AutomationRun, AutomationVersion
from soconnective.automation.references import replace_person, replace_reference, rules_naming
from soconnective.automation.undo_run import undo_run
from soconnective.contacts.operations import delete_contact
from soconnective.core import clock
from soconnective.core.access import SYSTEM, acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.operations import update_deal
from soconnective.events import EventRow, rules
from soconnective.tasks.models import Task
from tests.automation.test_due_dates import DUE, NOW, change, deal, rule
from tests.automation.timed import notes, rows, runs, tick
from tests.factories.records import make_company, make_contact, make_deal, make_rule


@pytest.mark.parametrize("mode", ["skip", "log"])
def test_a_change_that_no_rule_is_to_look_at_moves_what_is_due_all_the_same(inside: Any, mode: Any) -> None:
    rule()
    record, other = deal(inside), deal(inside, None, title="Other")
    with clock.at(NOW), write_transaction(), rules(mode):
        update_deal(record.row, expected_close_on=date(2026, 3, 25))
        update_deal(other.row, expected_close_on=date(2026, 3, 20))
    assert [(row[0], row[1], row[3]) for row in rows()] == [
        (record.id, "2026-03-25", "planned"),
        (other.id, "2026-03-20", "planned"),
    ]
    tick(DUE)
    assert notes() == ["Other closes"]


def test_undoing_a_run_that_moved_a_date_moves_what_is_due_back(inside: Any) -> None:
    rule()
    with clock.at(NOW):
        taken = ("change_field", {"target": "deal", "field": "expected_close_on", "value": "365"})
        make_rule("deal.updated", [taken], "Move it", settings={"field": "source"})
    record = deal(inside)
    change(record, source="Fair")
    assert [row[1] for row in rows()] != ["2026-03-20"]
    with clock.at(NOW), write_transaction():
        undo_run(next(run for run in runs() if run.outcome == "succeeded"))
    assert [row[1] for row in rows()] == ["2026-03-20"]
    tick(DUE)
    assert notes() == ["Roll-out closes"]


def test_a_draft_names_the_other_stage_and_person_too(inside: Any) -> None:
    lead, won, member = inside.stages["Lead"], inside.stages["Won"], inside.member.id
    made = make_rule(is_active=False)
    steps = [
        ("move_stage", {"stage_id": lead}, {"off": True}),
        ("create_task", {"title": "x", "due_in_days": 1, "assign_to": "person", "person_id": member}),
    ]
    with write_transaction():
        save_draft(made, build("Draft", "deal.updated", {}, steps))
        assert [naming.places for naming in rules_naming("stage", lead)] == [["in its draft"]]
        replace_reference("stage", lead, won)
        replace_person(member, inside.admin.id)
    first, second = in_the_making(made).steps
    assert (first.settings.stage_id, first.is_off, second.settings.person_id) == (won, True, inside.admin.id)
    assert rules_naming("stage", lead) == []


@pytest.mark.parametrize("what", ["undo", "again"])
def test_two_who_ask_for_the_same_at_once(app: Flask, inside: Any, what: str) -> None:
    """Whatever the database: one after the other, and the second is told in words or has the next number."""
    make_rule("deal.created", [("create_task", {"title": "Call", "due_in_days": 1})])
    make_deal(inside.stages["Lead"])
    run_id = runs()[0].id
    db.session.rollback()
    gate, said = threading.Barrier(2), list[Any]()

    def ask() -> None:
        with app.app_context(), acting_in(inside.id), acting_as(SYSTEM):
            gate.wait()
            try:
                with write_transaction():
                    run = db.session.get_one(AutomationRun, run_id)
                    said.append(undo_run(run) if what == "undo" else run_again(run).attempt)
            except Refused as refused:
                said.append(refused.message)

    both = [threading.Thread(target=ask) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    wanted = [1, "It was undone already."] if what == "undo" else [1, 2]
    assert sorted(said, key=str) == wanted


def test_a_rule_about_a_deleted_record_can_name_it(inside: Any) -> None:
    make_rule(
        "contact.deleted",
        [
            (
                "create_task",
                {
                    "title": "{{ contact.name }} <{{ contact.email }}> of {{ contact.company }}",
                    "due_in_days": 0,
                },
            )
        ],
    )
    made = make_contact(
        "Ana", "Ruiz", "ana@x.example", company_id=make_company().id, owner_id=inside.owner.id
    )
    with write_transaction():
        delete_contact(made)
    assert db.session.scalars(select(Task.title)).all() == ["Ana Ruiz <ana@x.example> of Initech"]
    gone = db.session.scalars(select(EventRow).where(EventRow.name == "contact.deleted")).one()
    assert gone.snapshot["name"] == "Ana Ruiz" and gone.snapshot["owner"] == "Acme owner"


def test_a_run_that_was_not_judged_is_not_resumed_past_its_conditions(inside: Any) -> None:
    made = make_rule("deal.created", [("log_note", {"body": "x"})])
    with write_transaction():
        made_text = db.session.scalars(select(AutomationVersion)).one()
        made_text.definition = made_text.definition.replace("deal.created", "deal.gone")
        db.session.get_one(Automation, made.id).trigger = "deal.created"
    make_deal(inside.stages["Lead"])
    (run,) = runs()
    assert run.outcome == "failed" and not run.trace["steps"]
    with pytest.raises(Refused, match="Run it again instead"), write_transaction():
        resume(db.session.get_one(AutomationRun, run.id))
    assert notes() == []

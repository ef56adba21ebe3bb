"""The seed of it: every behaviour under that heading in the product's description, by name."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import set_active
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.tasks.models import Task
from soconnective.tasks.operations import complete_task, create_task
from soconnective.timeline.models import Note
from tests.factories.records import make_contact, make_deal, make_rule, move


def count(model: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(model)) or 0


def runs() -> list[tuple[str, str]]:
    rows = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id))
    return [(run.outcome, run.detail) for run in rows]


def test_a_won_deal_makes_one_task_one_system_note_and_one_run(inside: Any) -> None:
    make_rule()
    contact = make_contact("Ana", "Ruiz")
    deal = make_deal(inside.stages["Proposal"], owner_id=inside.member.id, contact_ids=[contact.id])
    move(deal, inside.stages["Won"])
    assert runs() == [("succeeded", "task created; note logged")]
    task = db.session.scalars(select(Task)).one()
    assert (task.title, task.status, task.assignee_id) == ("Kick off Roll-out", "open", inside.member.id)
    assert (task.deal_id, task.contact_id, task.created_by_kind) == (deal.id, contact.id, "automation")
    note = db.session.scalars(select(Note)).one()
    assert (note.body, note.author, note.deal_id) == ("Roll-out is won.", "System · Won kickoff", deal.id)


def test_created_tasks_are_open_so_a_rule_about_completion_does_not_loop(inside: Any) -> None:
    make_rule("task.completed", [("create_task", {"title": "Next", "due_in_days": 0})], "Chain")
    with write_transaction():
        task = create_task("First")
    with write_transaction():
        complete_task(task)
    assert [t.title for t in db.session.scalars(select(Task).order_by(Task.id))] == ["First", "Next"]
    assert runs() == [("succeeded", "task created")]


def test_only_active_rules_of_the_trigger_look(inside: Any) -> None:
    rule = make_rule(is_active=False)
    make_rule("contact.created", [("log_note", {"body": "Hi"})], "Other")
    deal = make_deal(inside.stages["Proposal"])
    move(deal, inside.stages["Won"])
    assert runs() == []
    with write_transaction():
        set_active(rule, True)
    move(deal, inside.stages["Proposal"])
    move(deal, inside.stages["Won"])
    assert [outcome for outcome, _detail in runs()] == ["succeeded"]


def test_rules_run_in_their_order(inside: Any) -> None:
    make_rule(steps=[("log_note", {"body": "one"})], name="A")
    make_rule(steps=[("log_note", {"body": "two"})], name="B")
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    assert [note.body for note in db.session.scalars(select(Note).order_by(Note.id))] == ["one", "two"]


@pytest.mark.parametrize(
    ("came", "went", "matched"),
    [
        (None, None, True),
        ("Lead", None, True),
        ("Lead", "Proposal", True),
        ("Qualified", "Proposal", False),
        (None, "Won", False),
    ],
)
def test_stage_changed_looks_at_from_and_to(
    inside: Any, came: str | None, went: str | None, matched: bool
) -> None:
    settings = {"from_stage_id": inside.stages.get(came or ""), "to_stage_id": inside.stages.get(went or "")}
    make_rule("deal.stage_changed", [("log_note", {"body": "moved"})], settings=settings)
    move(make_deal(inside.stages["Lead"]), inside.stages["Proposal"])
    outcome, detail = runs()[0]
    assert outcome == ("succeeded" if matched else "not_matched")
    assert matched or "wanted" in detail


def test_a_failing_rule_leaves_nothing_and_the_save_stays(inside: Any) -> None:
    steps = [
        ("log_note", {"body": "kept?"}),
        ("create_task", {"title": "{{ deal.source }}", "due_in_days": 0}),
    ]
    make_rule(steps=steps)
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    assert db.session.get_one(Deal, deal.id).status == "won"
    assert (count(Note), count(Task)) == (0, 0)
    assert runs()[0][0] == "failed" and "step 2" in runs()[0][1]


def test_keep_what_succeeded_is_partly_done(inside: Any) -> None:
    steps = [
        ("log_note", {"body": "kept"}),
        ("create_task", {"title": "{{ deal.source }}", "due_in_days": 0}),
    ]
    make_rule(steps=steps, on_failure="keep")
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    assert (count(Note), count(Task)) == (1, 0)
    assert runs()[0][0] == "partly_succeeded"


def test_an_owner_who_is_gone_leaves_the_task_unassigned_and_the_trace_says_so(inside: Any) -> None:
    make_rule()
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    task = db.session.scalars(select(Task)).one()
    trace = db.session.scalars(select(AutomationRun)).one().trace
    assert task.assignee_id is None
    assert trace["steps"][0]["remarks"] == ["left unassigned: the record has no owner"]


def test_a_tenant_never_fires_another_tenants_rules(inside: Any, rivals: Any) -> None:
    with acting_in(rivals.id):
        make_rule(name="Theirs")
    make_rule(name="Ours")
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    assert len(runs()) == 1
    with acting_in(rivals.id):
        assert runs() == [] and count(Task) == 0


def test_won_again_after_reopening_fires_again(inside: Any) -> None:
    make_rule()
    deal = make_deal(inside.stages["Lead"])
    for stage in ("Won", "Lead", "Won"):
        move(deal, inside.stages[stage])
    assert len(runs()) == 2

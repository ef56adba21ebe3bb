"""Each trigger runs its rules, for its own record, with its own fields; and pruning keeps what it must."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from soconnective.appointments.operations import schedule_appointment
from soconnective.automation import retention
from soconnective.automation.models import AutomationRun
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.tasks.operations import complete_task, create_task
from soconnective.timeline.models import Note
from tests.factories.records import make_contact, make_deal, make_rule, move


def _complete(team: Any) -> None:
    with write_transaction():
        task = create_task("Call")
        db.session.flush()
    with write_transaction():
        complete_task(task)


def _schedule(team: Any) -> None:
    with write_transaction():
        schedule_appointment("Demo", clock.now(), clock.now() + timedelta(hours=1))


CAUSES: dict[str, tuple[str, Any]] = {
    "deal.created": ("{{ deal.title }}", lambda team: make_deal(team.stages["Lead"], "Made")),
    "deal.stage_changed": (
        "{{ deal.stage }}",
        lambda team: move(make_deal(team.stages["Lead"]), team.stages["Proposal"]),
    ),
    "deal.won": ("{{ deal.stage }}", lambda team: move(make_deal(team.stages["Lead"]), team.stages["Won"])),
    "contact.created": ("{{ contact.name }}", lambda team: make_contact("Ana", "Ruiz")),
    "task.completed": ("{{ task.title }}", _complete),
    "appointment.scheduled": ("{{ appointment.title }}", _schedule),
}
WRITES = {"deal.created": "Made", "deal.stage_changed": "Proposal", "deal.won": "Won", "contact.created": "Ana Ruiz",
          "task.completed": "Call", "appointment.scheduled": "Demo"}  # fmt: skip


@pytest.mark.parametrize("trigger", CAUSES)
def test_each_trigger_runs_its_rules(inside: Any, trigger: str) -> None:
    body, cause = CAUSES[trigger]
    make_rule(trigger, [("log_note", {"body": f"{trigger}: {body}"})])
    cause(inside)
    assert list(db.session.scalars(select(Note.body))) == [f"{trigger}: {WRITES[trigger]}"]
    assert list(db.session.scalars(select(AutomationRun.outcome))) == ["succeeded"]


@pytest.mark.parametrize("trigger", CAUSES)
def test_and_only_those(inside: Any, trigger: str) -> None:
    for other in CAUSES:
        if other != trigger:
            make_rule(other, [("log_note", {"body": other})], name=other)
    CAUSES[trigger][1](inside)
    implied = {"deal.stage_changed": {"deal.created"}, "deal.won": {"deal.created", "deal.stage_changed"}}
    assert set(db.session.scalars(select(Note.body))) == implied.get(trigger, set())


def test_pruning_deletes_each_outcome_in_its_time(app: Flask, team: Any, rivals: Any) -> None:
    for workspace in (team, rivals):
        with app.app_context(), acting_in(workspace.id):
            make_rule("contact.created", [("log_note", {"body": "x"})])
            for days in (1, 20, 100, 400):
                with clock.at(clock.now() - timedelta(days=days)):
                    make_contact("Ana", f"Of {days}")
            runs = list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))
            with write_transaction():
                runs[1].outcome = "not_matched"
                runs[2].outcome = "failed"
    with app.app_context(), acting_in(team.id):
        counts = retention.prune()
        assert (counts["succeeded"], counts["not_matched"], counts["failed"]) == (1, 1, 0)
    with app.app_context(), acting_in(rivals.id):
        assert db.session.scalar(select(func.count()).select_from(AutomationRun)) == 4
    with app.app_context(), acting_in(team.id):
        left = list(db.session.scalars(select(AutomationRun.outcome).order_by(AutomationRun.id)))
        assert left == ["succeeded", "failed"]
        assert db.session.scalar(select(func.count()).select_from(Note)) == 4

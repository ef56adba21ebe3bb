"""Chains end, and every stopped one is visible."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select

from soconnective.automation.contracts import Action, RunContext, StepResult
from soconnective.automation.models import AutomationRun
from soconnective.automation.registry import _actions, register_action
from soconnective.core.db import db, write_transaction
from soconnective.events import EventRow
from soconnective.tasks.models import Task
from soconnective.tasks.operations import complete_task, create_task
from tests.factories.records import make_deal, make_rule, move


class MakeDone(Action):
    """A task that is completed at once: what could loop for ever."""

    type_id, label, group = "make_done", "Make a done task", "Test"

    def run(self, context: RunContext) -> StepResult:
        complete_task(create_task("again"))
        return StepResult("made")


@pytest.fixture(autouse=True)
def pieces() -> Any:
    register_action(MakeDone)
    yield
    _actions.pop("make_done", None)


def test_a_loop_stops_at_the_depth_and_says_so(inside: Any) -> None:
    for name in "AB":  # each starts the other, never itself
        make_rule("task.completed", [("make_done", {})], name=name)
    with write_transaction():
        task = create_task("first")
    with write_transaction():
        complete_task(task)
    runs = list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))
    said = Counter(run.detail for run in runs)
    assert said.pop("made") == 2 * 8 and said.pop("stopped: this rule made this change itself") == 2 * 7
    assert said == {"stopped: the chain of rules is 8 deep, the most allowed": 4}
    assert db.session.scalar(select(func.count()).select_from(Task)) == 1 + 2 * 8
    deepest = db.session.scalar(select(func.max(EventRow.depth)))
    assert deepest == 8
    roots = {row.root_id for row in db.session.scalars(select(EventRow).where(EventRow.depth > 0))}
    assert len(roots) == 1


def test_the_number_of_runs_is_bounded(app: Any, inside: Any) -> None:
    app.config["SOCONNECTIVE_RULE_RUNS"] = 3
    for number in range(5):
        make_rule(steps=[("log_note", {"body": "x"})], name=f"R{number}")
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    outcomes = [run.outcome for run in db.session.scalars(select(AutomationRun).order_by(AutomationRun.id))]
    assert outcomes == ["succeeded"] * 3 + ["skipped"] * 2


def test_the_time_is_bounded_between_rules(app: Any, inside: Any) -> None:
    app.config["SOCONNECTIVE_RULE_SECONDS"] = 1e-9
    make_rule()
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    run = db.session.scalars(select(AutomationRun)).one()
    assert run.outcome == "skipped" and "more than" in run.detail


def test_what_a_rule_makes_leads_back_to_its_cause(inside: Any) -> None:
    rule = make_rule()
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    won = db.session.scalars(select(EventRow).where(EventRow.name == "deal.won")).one()
    made = db.session.scalars(select(EventRow).where(EventRow.name == "task.created")).one()
    assert (made.parent_id, made.root_id, made.depth) == (won.id, won.id, 1)
    assert (made.actor_kind, made.actor_id, won.actor_kind) == ("automation", rule.id, "person")

"""Rules that only add records share a savepoint, and nobody can tell: not from what is stored, nor when one fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, select, text

from soconnective.automation import engine
from soconnective.automation.contracts import Action, ActionFailed, RunContext, StepResult
from soconnective.automation.models import AutomationRun
from soconnective.automation.registry import _actions, register_action
from soconnective.core.db import db
from soconnective.deals.models import Deal
from soconnective.events import EventRow
from soconnective.tasks.models import Task
from soconnective.timeline.models import Note
from soconnective.timeline.operations import write_note
from tests.factories.records import make_deal, make_rule, move


class Careless(Action):
    """Says that it only adds, then does what the test planted."""

    type_id, label, group, only_adds = "careless", "Fail", "Test", True
    plant: Any = None

    def run(self, context: RunContext) -> StepResult:
        write_note("half", deal_id=context.event.record_id)
        type(self).plant(context)
        return StepResult("went well")


@pytest.fixture(autouse=True)
def pieces() -> Iterator[None]:
    register_action(Careless)
    yield
    _actions.pop("careless", None)


def _python(_context: Any) -> None:
    raise ActionFailed("planted")


def _at_the_flush(_context: Any) -> None:
    db.session.add(Task(title="x", status="nonsense", priority="normal"))


def _bad_sql(_context: Any) -> None:
    db.session.execute(text("SELECT nonsense FROM nowhere"))


def _changes_another(context: Any) -> None:
    db.session.get_one(Deal, context.event.record_id).title = "Renamed by a rule"


def stored() -> dict[str, list[Any]]:
    """What was stored, without ids and moments; rules by their order."""
    db.session.expire_all()
    events = list(db.session.scalars(select(EventRow).order_by(EventRow.id)))
    place = {row.id: index for index, row in enumerate(events)}
    return {
        "events": [
            (
                e.name,
                e.actor_kind,
                e.actor_name,
                e.depth,
                place.get(e.parent_id),
                place.get(e.root_id),
                e.changes,
            )
            for e in events
        ],
        "runs": [
            (r.automation_id, r.outcome, r.detail, place[r.event_id], [s["made"] for s in r.trace["steps"]])
            for r in db.session.scalars(select(AutomationRun).order_by(AutomationRun.id))
        ],
        "tasks": [(t.title, t.created_by_name) for t in db.session.scalars(select(Task).order_by(Task.id))],
        "notes": [(n.body, n.created_by_name) for n in db.session.scalars(select(Note).order_by(Note.id))],
    }


def five_rules(middle: Any) -> None:
    for number in (1, 2):
        make_rule(name=f"Rule {number}")
    make_rule(steps=middle, name="Rule 3")
    for number in (4, 5):
        make_rule(name=f"Rule {number}")


def savepoints_of(work: Any) -> int:
    count = [0]

    def _on_savepoint(*_args: Any) -> None:
        count[0] += 1

    event.listen(db.engine, "savepoint", _on_savepoint)
    work()
    event.remove(db.engine, "savepoint", _on_savepoint)
    return count[0]


def test_five_rules_share_one_savepoint(inside: Any) -> None:
    five_rules([("log_note", {"body": "mine"})])
    deal = make_deal(inside.stages["Lead"])
    assert savepoints_of(lambda: move(deal, inside.stages["Won"])) == 2  # theirs, and that of the runs
    found = stored()
    assert [run[1] for run in found["runs"]] == ["succeeded"] * 5
    assert [note[1] for note in found["notes"]] == [f"Rule {n}" for n in range(1, 6)]
    rules = [(e[0], e[2]) for e in found["events"] if e[1] == "automation"]
    assert rules.count(("note.logged", "Rule 3")) == 1 and ("task.created", "Rule 5") in rules


@pytest.mark.parametrize("plant", [_python, _at_the_flush, _bad_sql], ids=["python", "flush", "sql"])
def test_one_that_fails_takes_nothing_of_its_neighbours_along(inside: Any, plant: Any) -> None:
    Careless.plant = staticmethod(plant)
    five_rules([("log_note", {"body": "first step"}), ("careless", {})])
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    found = stored()
    assert db.session.get_one(Deal, deal.id).status == "won"
    assert [run[1] for run in found["runs"]] == ["succeeded", "succeeded", "failed", "succeeded", "succeeded"]
    assert found["runs"][2][2].startswith("step 2 failed")
    assert [task[1] for task in found["tasks"]] == ["Rule 1", "Rule 2", "Rule 4", "Rule 5"]
    assert "Rule 3" not in {note[1] for note in found["notes"]}
    assert len([e for e in found["events"] if e[0] == "task.created"]) == 4


def test_what_fails_at_the_flush_names_its_step(inside: Any) -> None:
    Careless.plant = staticmethod(_at_the_flush)
    make_rule(steps=[("careless", {}), ("log_note", {"body": "after"})])
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    run = db.session.scalars(select(AutomationRun)).one()
    assert run.detail.startswith("step 1 failed")
    assert [step["outcome"] for step in run.trace["steps"]] == ["failed"]


@pytest.mark.parametrize(
    "middle", [("log_note", {"body": "mine"}), ("careless", {})], ids=["adds", "changes"]
)
def test_together_stores_the_same_as_one_by_one(
    inside: Any, monkeypatch: pytest.MonkeyPatch, middle: Any
) -> None:
    """`changes`: an action that says it only adds but changes the deal is found out, and told of its rule."""
    Careless.plant = staticmethod(_changes_another)
    five_rules([middle])
    found = []
    for together in (50, 1):
        monkeypatch.setattr(engine, "TOGETHER", together)
        before = stored()
        move(make_deal(inside.stages["Lead"], f"Deal of {together}"), inside.stages["Won"])
        after = stored()
        fresh = {kind: after[kind][len(before[kind]) :] for kind in after}
        count = len(before["events"])
        text_of = repr(_shift(fresh, count)).replace(f"Deal of {together}", "Deal")
        found.append(text_of)
    assert _without_ids(found[0]) == _without_ids(found[1])
    assert "deal.updated" in found[0] or middle[0] == "log_note"


def _shift(fresh: dict[str, list[Any]], count: int) -> dict[str, list[Any]]:
    def relative(place: int | None) -> int | None:
        return None if place is None else place - count

    fresh["events"] = [(*e[:4], relative(e[4]), relative(e[5]), e[6]) for e in fresh["events"]]
    fresh["runs"] = [(*r[:3], relative(r[3]), r[4]) for r in fresh["runs"]]
    return fresh


def _without_ids(words: str) -> str:
    return re.sub(r"('id': |_id': \[None, |T)\d[\d:.+T-]*", r"\1#", words)

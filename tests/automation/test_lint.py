"""The linter: each warning where it belongs, and not where it does not; what it calls impossible is impossible."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soconnective.automation.contracts import Trigger
from soconnective.automation.definition import Definition, build
from soconnective.automation.flow import Control
from soconnective.automation.lint import Known, alone, concerns
from soconnective.automation.registry import action_types, trigger_types
from soconnective.core.conditions import Facts, Group, Now, evaluate, fields_of, never_holds
from soconnective.core.tenancy import acting_in
from tests.core.test_conditions import AMOUNTS, DAYS, WORDS, trees
from tests.factories.records import make_rule

Test_ = tuple[str, str, Any]


def tree(*tests: Test_, match: str = "all") -> dict[str, Any]:
    return {"match": match, "items": [{"field": f, "operator": o, "value": v} for f, o, v in tests]}


def asks(*tests: Test_, match: str = "all") -> dict[str, Any]:
    return {"conditions": tree(*tests, match=match)}


NOTE = ("log_note", {"body": "x"})


def change(field: str, value: str | None = "x") -> tuple[str, dict[str, Any]]:
    return "change_field", {"target": "deal", "field": field, "value": value}


def rule(trigger: str = "deal.won", steps: Any = (NOTE,), conditions: Any = None, **given: Any) -> Definition:
    return build("R", trigger, given, list(steps), conditions=conditions)


IMPOSSIBLE: list[tuple[list[Test_], bool]] = [
    ([("amount", "greater", "5"), ("amount", "less", "3")], True),
    ([("amount", "greater", "3"), ("amount", "less", "5")], False),
    ([("amount", "greater", "3"), ("amount", "less", "4")], False),  # 3.5
    ([("amount", "at_least", "5"), ("amount", "at_most", "5")], False),
    ([("amount", "at_least", "5"), ("amount", "less", "5")], True),
    ([("amount", "between", ["1", "2"]), ("amount", "is", "3")], True),
    ([("amount", "between", ["1", "2"]), ("amount", "is_not", "1")], False),
    ([("amount", "empty", None), ("amount", "less", "5")], True),
    ([("amount", "empty", None), ("amount", "is_not", "5")], False),
    ([("status", "is", "won"), ("status", "is", "lost")], True),
    ([("status", "is", "won"), ("status", "is_not", "won")], True),
    ([("status", "is", "won"), ("stage_id", "is", "1")], False),
    ([("status", "one_of", ["won", "lost"]), ("status", "none_of", ["won", "lost"])], True),
    ([("status", "one_of", ["won", "lost"]), ("status", "is_not", "won")], False),
    ([("owner_id", "empty", None), ("owner_id", "not_empty", None)], True),
    ([("source", "is", "Web"), ("source", "is", "web")], False),  # case does not matter
    ([("source", "is", "Web"), ("source", "is", "Fair")], True),
    ([("source", "is", "Web"), ("source", "contains", "fair")], True),
    ([("source", "contains", "ab"), ("source", "not_contains", "a")], True),
    ([("source", "contains", "a"), ("source", "not_contains", "ab")], False),
    ([("source", "starts_with", "ab"), ("source", "starts_with", "b")], True),
    ([("source", "starts_with", "ab"), ("source", "starts_with", "a")], False),
    ([("source", "ends_with", "ab"), ("source", "ends_with", "a")], True),
    ([("source", "empty", None), ("source", "contains", "a")], True),
    ([("source", "empty", None), ("source", "not_contains", "a")], False),
    ([("expected_close_on", "before", "2026-01-01"), ("expected_close_on", "after", "2026-01-01")], True),
    ([("expected_close_on", "before", "2026-01-03"), ("expected_close_on", "after", "2026-01-01")], False),
    ([("expected_close_on", "last_days", "3"), ("expected_close_on", "empty", None)], True),
    ([("expected_close_on", "last_days", "3"), ("expected_close_on", "next_days", "3")], False),  # today
    ([("expected_close_on", "last_days", "3"), ("expected_close_on", "on", "2020-01-01")], False),  # in 2020
    ([("stage_entered_at", "before", "2026-01-01"), ("stage_entered_at", "on", "2026-01-01")], True),
    ([("amount", "changed_to", "5"), ("amount", "changed_to", "6")], True),
    ([("amount", "changed_from", "5"), ("amount", "changed_to", "6")], False),
    ([("amount", "changed_from", "5"), ("amount", "changed_to", "5")], True),
    ([("amount", "changed", None), ("amount", "is", "5")], False),
    ([("actor_kind", "is", "person"), ("actor_kind", "is", "import")], True),
]  # fmt: skip


@pytest.mark.parametrize(("tests", "is_never"), IMPOSSIBLE, ids=str)
def test_conditions_that_cannot_hold(inside: Any, tests: list[Test_], is_never: bool) -> None:
    said = [m for m in alone(rule(conditions=tree(*tests))) if "never all hold" in m]
    assert bool(said) is is_never
    either = alone(rule(conditions=tree(*tests, match="any")))
    assert either == []
    neither = Group.model_validate({"match": "none", "items": [tree(*tests)]})
    assert not never_holds([(neither, True)], fields_of("deal"))


snapshots = st.fixed_dictionaries({}, optional={
    "title": st.sampled_from(WORDS), "source": st.sampled_from([*WORDS, ""]), "lost_reason": st.sampled_from(WORDS),
    "amount": st.sampled_from([*AMOUNTS, "2.5", "50"]), "currency": st.sampled_from(["EUR", "USD"]),
    "status": st.sampled_from(["open", "won", "lost"]), "stage_id": st.integers(1, 7), "pipeline_id": st.integers(1, 2),
    "owner_id": st.integers(1, 4), "company_id": st.integers(1, 3), "contact_id": st.integers(1, 3),
    "expected_close_on": st.sampled_from(DAYS).map(date.isoformat),
    "stage_entered_at": st.integers(-200, 200).map(lambda h: (datetime(2026, 11, 24, tzinfo=UTC) + timedelta(hours=h)).isoformat()),
})  # fmt: skip
moments = st.integers(-100, 100).map(lambda h: datetime(2026, 11, 24, tzinfo=UTC) + timedelta(hours=h))


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.tuples(trees(), st.booleans()), min_size=1, max_size=3), records=st.lists(snapshots, min_size=5, max_size=20),
       at=moments, zone=st.sampled_from(["UTC", "Europe/Madrid", "Pacific/Kiritimati"]))  # fmt: skip
def test_what_is_impossible_holds_for_no_record(
    inside: Any, asked: list[tuple[Group, bool]], records: list[dict[str, Any]], at: datetime, zone: str
) -> None:
    fields = fields_of("deal")
    if not never_holds(asked, fields):
        return
    for values in records:
        said = [evaluate(group, fields, Facts(values, Now(at, zone)))[0] is wanted for group, wanted in asked]
        assert not all(said), (asked, values)


def test_a_linter_that_says_too_much_is_found(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: one that forgets what lies between two numbers calls possible things impossible; a record shows it."""
    asked = Group.model_validate(tree(("amount", "greater", "3"), ("amount", "less", "5")))
    facts = Facts({"amount": "4"}, Now(datetime.now(UTC), "UTC"))
    assert not never_holds([(asked, True)], fields_of("deal"))
    named = [Decimal(3), Decimal(5)]
    monkeypatch.setattr("soconnective.core.conditions.impossible._numbers", lambda _asked: named)
    assert never_holds([(asked, True)], fields_of("deal")) and evaluate(asked, fields_of("deal"), facts)[0]


BIG, HUGE, SMALL = ("amount", "at_least", "100"), ("amount", "at_least", "1000"), ("amount", "less", "100")
END = ("end_if", {})
ALONE: list[tuple[Definition | Any, str | None]] = [
    (lambda: rule(steps=[("if", asks(BIG)), NOTE, ("otherwise_if", asks(HUGE)), NOTE, END]), "Step 3: this branch is never taken: an earlier"),
    (lambda: rule(steps=[("if", asks(HUGE)), NOTE, ("otherwise_if", asks(BIG)), NOTE, END]), None),
    (lambda: rule(steps=[("if", asks(BIG)), NOTE, ("otherwise_if", asks(BIG)), NOTE, END]), "Step 3: this branch is never taken"),
    (lambda: rule(steps=[("if", asks(BIG, SMALL)), NOTE, END]), "Step 1: its conditions can never all hold"),
    (lambda: rule(steps=[("if", asks(("status", "is", "won"))), NOTE, ("otherwise_if", asks(("status", "is_not", "won"))), NOTE,
                         ("otherwise", {}), NOTE, END]), "Step 5: “otherwise” is never reached"),
    (lambda: rule(steps=[("if", asks(BIG)), NOTE, ("otherwise", {}), NOTE, END]), None),
    (lambda: rule(steps=[("if", asks(SMALL)), NOTE, END], conditions=tree(BIG)), "Step 1: this branch is never taken: the rule's own"),
    (lambda: rule(steps=[NOTE, ("if", asks(SMALL)), NOTE, END], conditions=tree(BIG)), None),  # the note's rules may change it
    (lambda: rule(steps=[("if", asks(HUGE)), NOTE, END], conditions=tree(BIG)), None),
    (lambda: rule(steps=[("if", asks(BIG)), ("if", asks(SMALL)), NOTE, END, END]), None),  # sound, not complete
    (lambda: rule(steps=[("stop", {}), NOTE]), "Step 2 is never reached: step 1 stops"),
    (lambda: rule(steps=[("if", asks(BIG)), ("stop", {}), NOTE, END]), "Step 3 is never reached"),
    (lambda: rule(steps=[("if", asks(BIG)), ("stop", {}), END, NOTE]), None),
    (lambda: rule(steps=[NOTE, ("stop", {})]), None),
    (lambda: rule("deal.updated", [change("source")]), "would start it again"),
    (lambda: rule("deal.updated", [change("source")], field="source"), "would start it again"),
    (lambda: rule("deal.updated", [change("source")], field="amount"), None),
    (lambda: rule("deal.created", [change("source")]), None),
    (lambda: rule("task.created", [("create_task", {"title": "x"})]), "would start it again"),
    (lambda: rule("task.completed", [("create_task", {"title": "x"})]), None),
    (lambda: rule("note.logged", [NOTE]), "would start it again"),
    (lambda: rule("deal.updated", [("assign_owner", {"target": "deal"})], field="owner_id"), None),
    (lambda: rule("deal.updated", [("assign_owner", {"target": "deal", "only_if_empty": False})], field="owner_id"), "would start it again"),
    (lambda: build("broken", "deal.exploded", {}, [NOTE]), None),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), ALONE)
def test_one_rule(inside: Any, make: Any, said: str | None) -> None:
    found = alone(make())
    if said is None:
        assert found == []
    else:
        assert len(found) == 1 and said in found[0], found


def moving(inside: Any, stage: str) -> tuple[str, dict[str, Any]]:
    return "move_stage", {"stage_id": inside.stages[stage], "lost_reason": "price"}


def together(*definitions: Definition, off: int = -1) -> dict[int, list[str]]:
    rules = [Known(n, f"Rule {n}", d, n != off) for n, d in enumerate(definitions)]
    return {rule_id: found for rule_id, found in concerns(rules).items() if found}


def test_rules_that_go_round(inside: Any) -> None:
    one = rule("deal.updated", [change("source")], field="amount")
    other = rule("deal.updated", [change("amount", "5")], field="source")
    found = together(one, other)
    assert set(found) == {0, 1} and "It goes round: “Rule 0” → “Rule 1” → “Rule 0”." in found[0][0]
    assert together(one, other, off=1) == {}
    assert together(one, rule("deal.updated", [change("title")], field="source")) == {}
    three = [
        rule("deal.won", [change("source")]),
        rule("deal.updated", [change("amount", "5")], field="source"),
        rule("deal.updated", [moving(inside, "Won")], field="amount"),
    ]
    assert set(together(*three)) == {0, 1, 2}
    three[2] = rule("deal.updated", [moving(inside, "Lost")], field="amount")  # which is not won
    assert together(*three) == {}


def test_a_circle_that_conditions_or_stages_cut_is_none(inside: Any) -> None:
    lead, won = inside.stages["Lead"], inside.stages["Won"]
    back = rule("deal.stage_changed", [moving(inside, "Lead")], to_stage_id=won)
    forth = rule("deal.stage_changed", [moving(inside, "Won")], to_stage_id=lead)
    assert set(together(back, forth)) == {0, 1}
    aside = rule("deal.stage_changed", [moving(inside, "Proposal")], to_stage_id=lead)
    assert together(back, aside) == {}
    one = rule("deal.updated", [change("source", "Web")], field="amount")
    stopped = rule("deal.updated", [change("amount", "5")], tree(("source", "is", "Fair")), field="source")
    assert together(one, stopped) == {}
    going = rule("deal.updated", [change("amount", "5")], tree(("source", "is", "web")), field="source")
    assert set(together(one, going)) == {0, 1}


def starts(number: int) -> tuple[str, dict[str, Any]]:
    return "start_rule", {"rule_id": number}


BUTTON, STARTED = "deal.picked_by_hand", "deal.rule_started"
OFF_STEP = ("start_rule", {"rule_id": 1}, {"off": True})
# rules by number (their place plus one), and who is told that it goes round
CALLS: list[tuple[str, Any, set[int]]] = [
    ("a rule starts one that changes what it waits for",
     lambda: [rule("deal.updated", [starts(2)], field="source"), rule(STARTED, [change("source")])], {1, 2}),
    ("a chain that comes to an end",
     lambda: [rule("deal.updated", [starts(2)], field="source"), rule(STARTED, [change("title")])], set()),
    ("two buttons that press each other",
     lambda: [rule(BUTTON, [starts(2)]), rule(BUTTON, [starts(1)])], {1, 2}),
    ("one that starts itself by the other's button", lambda: [rule(BUTTON, [starts(1)])], {1}),
    ("three in a row", lambda: [rule("deal.won", [starts(2)]), rule(STARTED, [starts(3)]), rule(STARTED, [NOTE])], set()),
    ("three in a ring, and one that leads into it",
     lambda: [rule(STARTED, [starts(2)]), rule(BUTTON, [starts(3)]), rule(STARTED, [starts(1)]), rule("deal.won", [starts(1)])],
     {1, 2, 3}),
    ("in a branch", lambda: [rule(BUTTON, [("if", asks(BIG)), starts(2), END]), rule(BUTTON, [starts(1)])], {1, 2}),
    ("conditions that exclude each other",
     lambda: [rule(BUTTON, [starts(2)], tree(BIG)), rule(BUTTON, [starts(1)], tree(SMALL))], set()),
    ("unless the record is changed before",
     lambda: [rule(BUTTON, [change("amount", "5"), starts(2)], tree(BIG)), rule(BUTTON, [change("amount", "9999"), starts(1)], tree(SMALL))],
     {1, 2}),
    ("a step that is switched off", lambda: [rule(BUTTON, [OFF_STEP]), rule(BUTTON, [starts(1)])], set()),
    ("a rule that is gone, or is not chosen", lambda: [rule(BUTTON, [starts(99)]), rule(BUTTON, [("start_rule", {})])], set()),
    ("cancelling is not starting",
     lambda: [rule(BUTTON, [("cancel_waiting", {"rule_id": 2})]), rule(BUTTON, [("cancel_waiting", {"rule_id": 1})])], set()),
]  # fmt: skip


@pytest.mark.parametrize(("make", "told"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_rules_that_start_each_other(inside: Any, make: Any, told: set[int]) -> None:
    rules = [Known(n, f"Rule {n}", definition) for n, definition in enumerate(make(), start=1)]
    found = {n: [m for m in said if m.startswith("It goes round")] for n, said in concerns(rules).items()}
    assert {n for n, said in found.items() if said} == told


def test_the_way_round_is_told_and_ends_when_one_of_them_is_off(inside: Any) -> None:
    made = [rule("deal.updated", [starts(2)], field="source"), rule(STARTED, [change("source")])]
    rules = [Known(n, f"Rule {n}", d) for n, d in enumerate(made, start=1)]
    assert concerns(rules)[1][0].startswith("It goes round: “Rule 1” → “Rule 2” → “Rule 1”. Each runs once")
    rules[1] = Known(2, "Rule 2", made[1], is_active=False)
    assert concerns(rules) == {1: [], 2: []}


def test_a_step_that_is_switched_off_writes_nothing(inside: Any) -> None:
    change_off = (*change("source"), {"off": True})
    assert alone(rule("deal.updated", [change_off, NOTE], field="source")) == []


WRITERS: list[tuple[Any, Any, bool]] = [
    ({"steps": [change("source", "a")]}, {"steps": [change("source", "b")]}, True),
    ({"steps": [change("source", "a")]}, {"steps": [NOTE, change("source", "a")]}, False),  # the same value
    ({"steps": [change("source", "a")]}, {"steps": [change("title", "b")]}, False),
    ({"steps": [change("source", "a")]}, {"steps": [change("source", "b")], "trigger": "deal.lost"}, False),
    ({"steps": [change("source", "a")], "conditions": tree(BIG)}, {"steps": [change("source", "b")], "conditions": tree(SMALL)}, False),
    ({"steps": [change("source", "a")], "conditions": tree(BIG)}, {"steps": [change("source", "b")], "conditions": tree(HUGE)}, True),
    ({"steps": [change("source", "a")]}, {"steps": [("if", asks(BIG)), change("source", "b"), END]}, False),
    ({"steps": [change("source", "a")]}, {"steps": [("wait", {}), change("source", "b")]}, False),
    ({"steps": [change("source", "a")], "trigger": "deal.stage_changed", "to_stage_id": 1},
     {"steps": [change("source", "b")], "trigger": "deal.stage_changed", "to_stage_id": 2}, False),
    ({"steps": [("create_task", {"title": "a"})]}, {"steps": [("create_task", {"title": "b"})]}, False),
    ({"steps": [("assign_owner", {"target": "deal"})]}, {"steps": [("assign_owner", {"target": "deal", "how": "least_busy"})]}, False),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "is_clash"), WRITERS)
def test_two_rules_that_write_one_field(inside: Any, one: Any, other: Any, is_clash: bool) -> None:
    found = together(rule(**one), rule(**other))
    assert bool(found) is is_clash, found
    if is_clash:
        assert "“Rule 0” writes the deal's source at the same moment" in found[1][0]


def test_duplicates(inside: Any) -> None:
    one = rule(steps=[change("source", "a")], conditions=tree(BIG))
    assert "“Rule 0” does exactly the same" in together(one, one)[1][0]
    assert together(one, one, off=0) == {}
    assert together(one, rule(steps=[NOTE], conditions=tree(BIG))) == {}


def test_every_piece_says_what_it_reads_and_writes(app: Flask) -> None:
    for cls in trigger_types().values():
        assert cls.reads or cls.heard is not Trigger.heard, cls
    writers = [cls for cls in action_types().values() if not issubclass(cls, Control)]
    for action in writers:
        assert action.writes or "written" in vars(action), action
    assert len(writers) >= 7


def test_the_pages_say_it_and_saving_goes_on(app: Flask, team: Any, owner: FlaskClient) -> None:
    with app.app_context(), acting_in(team.id):
        make_rule("deal.updated", [change("source")], name="Self")
        fine = make_rule(name="Fine").id
    page = owner.get("/dashboard/automations").text
    assert page.count('class="concern"') == 1 and "would start it again" in page
    assert "would start it again" in owner.get("/dashboard/automations/1").text
    assert "notice warning" not in owner.get(f"/dashboard/automations/{fine}").text
    twin = {"name": "Twin", "trigger": "deal.updated", "is_active": "y", "on_failure": "undo", "steps-0-kind": "change_field",
            "steps-0-target": "deal", "steps-0-field": "source", "steps-0-value": "x"}  # fmt: skip
    answer = owner.post("/dashboard/automations/new", data=twin, follow_redirects=True)
    assert answer.status_code == 200 and "The rule is saved." in answer.text
    assert "Look at it again: “Self” does exactly the same" in answer.text

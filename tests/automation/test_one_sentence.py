"""Two rules that do different things never read the same: over random definitions of the registered pieces."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soconnective.automation.definition import Definition, build
from soconnective.automation.registry import action_types
from soconnective.core.conditions import Group, normal
from soconnective.core.db import write_transaction
from soconnective.core.words import quoted, told
from soconnective.webhooks.models import WebhookEndpoint
from soconnective.webhooks.operations import create_endpoint
from soconnective.webhooks.queries import endpoints
from tests.automation.test_flow import note

TEXTS = st.one_of(
    st.sampled_from(
        ["x", "y", "x”, log note “y", "x””", "”", "“", "a\nb", "a b", "a ⏎ b", "x" * 170, "x" * 169 + "y", "stop",
         "{{ deal.title }}", "x” due in 2 days for the record's owner"]
    ),
    st.text(alphabet="xy”“,()→ ", min_size=1, max_size=6).filter(str.strip),
)  # fmt: skip
DAYS = st.integers(0, 3)


def fixed(**parts: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(parts)


def questions() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        fixed(field=st.sampled_from(["title", "source"]), operator=st.sampled_from(["is", "contains", "is_not"]), value=TEXTS),
        fixed(field=st.just("source"), operator=st.just("one_of"), value=st.lists(TEXTS, min_size=1, max_size=2, unique=True)),
        fixed(field=st.just("amount"), operator=st.sampled_from(["at_least", "at_most"]), value=st.sampled_from(["1", "10"])),
        fixed(field=st.sampled_from(["title", "amount", "owner_id"]), operator=st.sampled_from(["empty", "changed"])),
    )  # fmt: skip


GROUPS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    fixed(match=st.sampled_from(["all", "any", "none"]), items=st.lists(questions(), min_size=1, max_size=3)),
    lambda inner: fixed(
        match=st.sampled_from(["all", "any", "none"]),
        items=st.lists(st.one_of(questions(), inner), min_size=1, max_size=3),
    ),
    max_leaves=4,
)


def _endpoints() -> list[WebhookEndpoint]:
    """Two, made once."""
    if not endpoints():
        with write_transaction():
            for name in ("One", "Two"):
                create_endpoint(name, f"https://{name.lower()}.example/hook")
    return list(endpoints())


def strategies(inside: Any) -> dict[str, st.SearchStrategy[dict[str, Any]]]:
    """Settings of each kind of step, the ones that a mode does not ask for among them."""
    stage = st.sampled_from(sorted(inside.stages.values()))
    person = st.sampled_from([inside.owner.id, inside.member.id])
    endpoint = st.sampled_from([known.id for known in _endpoints()])
    return {
        "create_task": fixed(title=TEXTS, due_in_days=DAYS, assign_to=st.sampled_from(["owner", "person"]), person_id=person),
        "log_note": fixed(body=TEXTS),
        "move_stage": fixed(stage_id=stage, lost_reason=st.none() | TEXTS),
        "create_deal": st.one_of(
            fixed(title=TEXTS, stage_id=stage, amount=st.sampled_from([None, Decimal(0), Decimal(1), Decimal("1.5")])),
            fixed(title=st.just("x"), stage_id=stage, amount_from=st.none() | TEXTS, currency_from=st.none() | TEXTS,
                  close_from=st.none() | TEXTS, source_from=st.none() | TEXTS),
        ),
        "create_appointment": fixed(title=TEXTS, in_days=DAYS, at=st.sampled_from([time(9), time(9, 30)]),
                                    minutes=st.sampled_from([5, 30]), place=st.none() | TEXTS),
        "assign_owner": fixed(target=st.sampled_from(["deal", "contact"]), how=st.sampled_from(["person", "in_turn", "least_busy"]),
                              person_id=person, person_ids=st.lists(person, max_size=2, unique=True), only_if_empty=st.booleans()),
        "change_field": st.one_of(
            fixed(target=st.just("deal"), field=st.sampled_from(["title", "source"]), value=st.none() | TEXTS),
            fixed(target=st.just("deal"), field=st.just("expected_close_on"), value=st.sampled_from([None, "0", "1", "-1", "5"])),
            fixed(target=st.just("deal"), field=st.just("amount"), value=st.sampled_from([None, "1", "1.5"])),
        ),
        "wait": fixed(mode=st.sampled_from(["time", "date", "event"]), amount=st.integers(1, 3),
                      unit=st.sampled_from(["minutes", "hours", "days"]), field=st.just("expected_close_on"),
                      days=st.integers(-2, 2), at=st.sampled_from([None, time(9), time(10)]),
                      event=st.sampled_from(["deal.won", "deal.lost"])),
        "stop": fixed(),
        "send_email": fixed(to=st.sampled_from(["contact", "owner"]), subject=TEXTS, body=st.none() | TEXTS,
                            html=st.sampled_from([None, "<p>a</p>", "<p>b</p>"])),
        "notify_user": fixed(who=st.sampled_from(["owner", "admins"]), text=TEXTS),
        "call_webhook": st.one_of(fixed(endpoint_id=endpoint), fixed(endpoint_id=endpoint, content=st.just("own"),
                                  template=st.sampled_from(['{"a": 1}', '{"a": 2}', "[1, 2]"]))),
    }  # fmt: skip


@st.composite
def steps(draw: Any, kinds: dict[str, Any], deep: int = 2) -> list[Any]:
    found: list[Any] = []
    for _ in range(draw(st.integers(1, 2))):
        marks = draw(st.sampled_from([{}, {}, {"off": True}]))
        if deep and draw(st.integers(0, 3)) == 0:
            found.append(("if", {"conditions": draw(GROUPS)}, marks))
            found += draw(steps(kinds, deep - 1))
            if draw(st.booleans()):
                found.append(("otherwise_if", {"conditions": draw(GROUPS)}, {}))
                found += draw(steps(kinds, deep - 1))
            if draw(st.booleans()):
                found.append(("otherwise", {}, {}))
                found += draw(steps(kinds, deep - 1))
            found.append(("end_if", {}, {}))
        else:
            kind = draw(st.sampled_from(sorted(kinds)))
            found.append((kind, draw(kinds[kind]), marks))
    return found


def meaning(definition: Definition) -> str:
    """The canonical text without the name and the notes."""
    found = json.loads(replace(definition, name="").to_text())
    for step in found["steps"]:
        step.pop("note", None)
    return json.dumps(found, sort_keys=True)


def sentences(inside: Any, number: int) -> None:
    """Fails as soon as two random rules that differ read the same."""
    seen: dict[str, str] = {}
    kinds = strategies(inside)
    triggers = st.one_of(
        st.tuples(st.sampled_from(["deal.won", "deal.lost", "deal.created"]), st.just({})),
        st.tuples(st.just("deal.updated"), fixed(field=st.sampled_from([None, "amount", "title"]))),
        st.tuples(st.just("deal.stage_changed"),
                  fixed(from_stage_id=st.sampled_from([None, *inside.stages.values()]),
                        to_stage_id=st.sampled_from([None, *inside.stages.values()]))),
    )  # fmt: skip

    @settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(triggers, steps(kinds), st.none() | GROUPS, st.sampled_from(["undo", "undo", "keep"]))
    def check(trigger: Any, found: Any, conditions: Any, on_failure: str) -> None:
        definition = build("x", trigger[0], trigger[1], found, on_failure, conditions)
        assert definition.broken is None, definition.broken
        said, meant = definition.sentence(), meaning(definition)
        other = seen.setdefault(said, meant)
        assert other == meant, f"{said}\n{other}\n{meant}"

    check()


def test_two_rules_that_differ_never_read_the_same(inside: Any) -> None:
    sentences(inside, 400)


@pytest.mark.parametrize("kind", ["create_task", "log_note", "move_stage", "create_deal", "create_appointment",
                                  "assign_owner", "change_field", "wait", "send_email", "notify_user", "call_webhook"])  # fmt: skip
def test_no_piece_hides_a_setting(inside: Any, kind: str) -> None:
    every_setting_is_said(kind, inside)


def every_setting_is_said(kind: str, inside: Any) -> None:
    seen: dict[str, str] = {}

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(strategies(inside)[kind])
    def check(found: dict[str, Any]) -> None:
        piece = action_types()[kind].load(found)
        said, meant = (
            piece.say(build("x", "deal.won", {}, [note("x")]).scope),
            json.dumps(piece.stored(), default=str),
        )  # type: ignore[attr-defined]
        assert seen.setdefault(said, meant) == meant, said

    check()


def test_every_kind_of_step_that_came_with_the_engine_is_looked_at(inside: Any) -> None:
    markers = {"if", "otherwise_if", "otherwise", "end_if"}
    assert set(strategies(inside)) <= set(action_types()) - markers


def test_a_piece_that_hides_a_setting_is_found(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a wait that does not say how long."""
    monkeypatch.setattr(action_types()["wait"], "say", lambda _self, _scope: "wait")
    with pytest.raises(AssertionError, match="wait"):
        every_setting_is_said("wait", inside)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a”, log note “b", "a"), ("a\nb", "a b"), ("x" * 161, "x" * 160 + "y"), ("a”", "a””")],
)
def test_quoted_texts_differ(one: str, other: str) -> None:
    assert told(one) != told(other) and quoted(one) != quoted(other)


@settings(max_examples=300, deadline=None)
@given(GROUPS)
def test_a_tree_in_its_normal_form_is_normal(tree: dict[str, Any]) -> None:
    found = normal(Group.model_validate(tree))
    assert normal(found) == found

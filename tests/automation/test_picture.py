"""The picture of a rule: where its parts stand, and what a run made of each."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.automation.picture import Node, Picture, Told, draw
from soconnective.automation.wrapping import MOST_LINES, ROOM, wide, wrapped
from soconnective.core.db import db
from soconnective.core.tenancy import acting_in
from tests.automation.test_flow import BIG, LADDER, MIDDLE, branches, last, note, wait
from tests.factories.records import make_deal, make_rule, move


def picture(steps: Any, told: Told | None = None, conditions: Any = None) -> Picture:
    rule = build("x", "deal.won", {}, branches(*steps), "undo", conditions)
    return draw(rule.trigger, rule.conditions.describe(), rule.steps, rule.scope, told, lambda key: f"#{key}")


def node(drawn: Picture, key: str) -> Node:
    return next(n for n in drawn.nodes if n.key == key)


def outcomes(drawn: Picture) -> dict[str, str]:
    return {n.key: n.outcome for n in drawn.nodes}


def test_branches_stand_side_by_side_and_what_follows_below_all_of_them(inside: Any) -> None:
    drawn = picture(LADDER)
    heads = [node(drawn, key) for key in ("1", "3", "5")]
    assert len({n.y for n in heads}) == 1 and heads[0].x < heads[1].x < heads[2].x
    assert node(drawn, "2").y > heads[0].y + heads[0].height and node(drawn, "2").x == heads[0].x
    after = node(drawn, "8")
    assert after.y > max(n.y + n.height for n in drawn.nodes if n.key in "246")
    assert after.x == node(drawn, "when").x
    assert [n.key for n in drawn.nodes] == ["when", "1", "2", "3", "4", "5", "6", "8"]  # as they are read


@pytest.mark.parametrize(
    "steps",
    [
        LADDER,
        [BIG, note("x"), "end_if"],
        [BIG, "stop", "end_if", note("y")],
        [BIG, BIG, note("a"), "otherwise", "end_if", MIDDLE, BIG, "end_if", "end_if"],
        [BIG, "stop", "otherwise", "stop", "end_if", note("never")],
        [note(str(n)) for n in range(50)],
        [BIG, BIG, BIG, BIG, BIG, note("deep"), "end_if", "end_if", "end_if", "end_if", "end_if"],
        [BIG, note("x")],
        ["end_if"],
    ],
    ids=str,
)
def test_no_two_boxes_touch_and_all_lie_inside(inside: Any, steps: Any) -> None:
    drawn = picture(steps)
    for n in drawn.nodes:
        assert n.x > 0 and n.x + n.width < drawn.width and n.y > 0 and n.y + n.height < drawn.height
    for at, a in enumerate(drawn.nodes):
        for b in drawn.nodes[at + 1 :]:
            apart_x = a.x + a.width <= b.x or b.x + b.width <= a.x
            apart_y = a.y + a.height <= b.y or b.y + b.height <= a.y
            assert apart_x or apart_y, (a.key, b.key)


def test_a_step_that_is_off_says_so_and_so_does_all_inside_an_if_that_is(inside: Any) -> None:
    drawn = picture([("if", BIG[1], {"off": True, "note": "Ask Ana"}), note("x"), "end_if", note("y")])
    assert [n.is_off for n in drawn.nodes] == [False, True, True, False]
    assert "switched off" in node(drawn, "1").said and "note: Ask Ana" in node(drawn, "1").said


RUNS = [
    ("5000", {"1": "yes", "2": "succeeded", "3": "unreached", "4": "unreached", "5": "unreached", "8": "succeeded"}),
    ("500", {"1": "no", "2": "unreached", "3": "yes", "4": "succeeded", "5": "unreached", "8": "succeeded"}),
    ("5", {"1": "no", "3": "no", "4": "unreached", "5": "yes", "6": "succeeded", "8": "succeeded"}),
]  # fmt: skip


def of_run(steps: Any, on_failure: str = "undo", conditions: Any = None) -> Picture:
    run = last()
    return picture(steps, Told.of(run.outcome, run.trace, on_failure == "keep"), conditions)


@pytest.mark.parametrize(("amount", "wanted"), RUNS)
def test_the_way_a_run_took(inside: Any, amount: str, wanted: dict[str, str]) -> None:
    make_rule(steps=LADDER)
    move(make_deal(inside.stages["Lead"], amount=amount), inside.stages["Won"])
    drawn = of_run(LADDER)
    assert outcomes(drawn).items() >= wanted.items() and drawn.end[2]
    assert sum(line.is_taken for line in drawn.lines) == 5  # in, head to step, out, on, end
    assert node(drawn, "8").href == "#8" and all(
        n.href == "" for n in drawn.nodes if n.outcome == "unreached"
    )


def test_a_failure_ends_the_way_and_what_was_before_is_undone(inside: Any) -> None:
    steps = [note("x"), ("change_field", {"target": "company", "field": "name", "value": "x"}), note("y")]
    make_rule(steps=steps)
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    drawn = of_run(steps)
    assert [n.outcome for n in drawn.nodes] == ["yes", "undone", "failed", "unreached"] and not drawn.end[2]
    make_rule(steps=steps, on_failure="keep", name="Keeps")
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    drawn = of_run(steps, "keep")
    assert [n.outcome for n in drawn.nodes] == ["yes", "succeeded", "failed", "succeeded"] and drawn.end[2]


def test_a_wait_and_a_stop_end_it_too(inside: Any) -> None:
    steps = [BIG, note("x"), wait(), note("y"), "otherwise", "stop", "end_if", note("z")]
    make_rule(steps=branches(*steps))
    move(make_deal(inside.stages["Lead"], amount="5000"), inside.stages["Won"])
    drawn = of_run(steps)
    assert outcomes(drawn).items() >= {"3": "waiting", "4": "unreached", "8": "unreached"}.items()
    assert not drawn.end[2]
    move(make_deal(inside.stages["Lead"], amount="5"), inside.stages["Won"])
    drawn = of_run(steps)
    assert outcomes(drawn).items() >= {"5": "yes", "6": "succeeded", "8": "unreached"}.items()
    assert not drawn.end[2]


def test_conditions_that_said_no_have_no_way_behind_them(inside: Any) -> None:
    tree = {"match": "all", "items": [{"field": "source", "operator": "is", "value": "Web"}]}
    told = Told("not_matched", [{"path": "if-0", "passed": False}], {})
    drawn = picture([note("x")], told, tree)
    assert [n.outcome for n in drawn.nodes] == ["yes", "no", "unreached"]
    told = Told("not_matched", [{"path": "to", "passed": False}], {})
    assert [n.outcome for n in picture([note("x")], told, tree).nodes] == ["no", "unreached", "unreached"]
    told = Told("failed", [], {})
    assert [n.outcome for n in picture([note("x")], told, tree).nodes] == ["yes", "failed", "unreached"]
    told = Told("skipped", [], {})
    assert [n.outcome for n in picture([note("x")], told).nodes] == ["yes", "unreached"]


def test_off_in_a_run(inside: Any) -> None:
    steps = [("if", BIG[1], {"off": True}), note("x"), "end_if", ("log_note", {"body": "y"}, {"off": True}), note("z")]  # fmt: skip
    make_rule(steps=branches(*steps))
    move(make_deal(inside.stages["Lead"], amount="5000"), inside.stages["Won"])
    drawn = of_run(steps)
    assert outcomes(drawn) == {"when": "yes", "1": "off", "2": "unreached", "4": "off", "5": "succeeded"}
    assert drawn.end[2]


@pytest.mark.parametrize(
    "text",
    ["", "word", "a few words that need more than the one line there is", "x" * 400, "漢字" * 80, "W" * 100,
     " ".join(["word"] * 200)],
)  # fmt: skip
def test_text_is_wrapped(text: str) -> None:
    lines = wrapped(text)
    assert 1 <= len(lines) <= MOST_LINES and all(lines)
    assert all(wide(line.removesuffix(" …")) <= ROOM for line in lines)
    if len(text) < 100:
        assert "".join(" ".join(lines).split()) == ("".join(text.split()) or "…")


def test_the_pages_hold_the_picture_with_links(
    app: Flask, team: Any, owner: FlaskClient, sign_in: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        rule_id = make_rule(steps=LADDER).id
        move(make_deal(team.stages["Lead"], amount="5"), team.stages["Won"])
        run_id = db.session.query(AutomationRun.id).order_by(AutomationRun.id.desc()).first()[0]
        db.session.rollback()
    url = f"/dashboard/automations/{rule_id}"
    shown, edit = owner.get(url).text, owner.get(f"{url}/edit").text
    for key in ("when", "step-1", "step-8"):
        assert f'href="{url}/edit#{key}"' in shown and f'href="#{key}"' in edit and f'id="{key}"' in edit
    assert "<title>Step 2: Log note “big”</title>" in shown
    viewer = sign_in(team.viewer).get(url).text
    assert f"{url}/edit" not in viewer and "flow-svg" in viewer
    run = owner.get(f"/dashboard/automations/runs/{run_id}").text
    linked = set(re.findall(r'href="#trace-(\d+)"', run))
    assert linked and linked <= set(re.findall(r'id="trace-(\d+)"', run))
    assert "<title>Step 2: Log note “big”, not reached</title>" in run
    assert "<title>Step 6: Log note “small”, done</title>" in run

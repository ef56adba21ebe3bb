"""Rules as text: export, plan and apply through the command; each way back gives the same bytes."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from soconnective.automation.definition import build
from soconnective.automation.keys import free_key, slug
from soconnective.automation.models import Automation, AutomationVersion
from soconnective.automation.operations import (
    create_automation,
    definition_of,
    delete_automation,
    duplicate_automation,
    set_state,
    update_automation,
)
from soconnective.automation.plan import apply, export_rules, plan
from soconnective.automation.registry import action_types, trigger_types
from soconnective.automation.text import BadText, read_rules
from soconnective.automation.toml import NotToml, read_toml, write_tables
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.pipeline_operations import create_pipeline
from tests.factories.records import make_company, make_rule


def group(match: str, *items: Any) -> dict[str, Any]:
    return {"match": match, "items": list(items)}


def asks(field: str, operator: str, value: Any = None) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def fill(team: Any) -> None:
    """Rules with everything that a text has to say."""
    lead, won = team.stages["Lead"], team.stages["Won"]
    many = group(
        "all",
        asks("amount", "at_least", "1000.50"),
        asks("stage_id", "one_of", sorted([str(lead), str(won)], key=int)),
        group("any", asks("owner_id", "is", str(team.member.id)), asks("source", "contains", 'a "b" \\c')),
        group("none", asks("expected_close_on", "before", "2026-12-31"), asks("expected_close_on", "last_days", "7"),
              asks("lost_reason", "not_empty"), asks("amount", "between", ["1", "2"]), asks("actor_kind", "is_not", "import"),
              asks("amount", "changed")),
    )  # fmt: skip
    big = {"conditions": group("all", asks("amount", "greater", "5"))}
    with write_transaction():
        create_automation(
            build("Größe über 5", "deal.stage_changed", {"from_stage_id": lead, "to_stage_id": won}, [
                ("log_note", {"body": 'First\nsecond """quoted""" {{ deal.title }} \\ "'}),
                ("if", big),
                ("create_task", {"title": "Call", "due_in_days": 3, "assign_to": "person", "person_id": team.member.id}),
                ("wait", {"mode": "date", "field": "expected_close_on", "days": -2, "at": "08:30"}),
                ("otherwise", {}),
                ("create_deal", {"title": "Next", "stage_id": lead, "amount": "12.50"}),
                ("move_stage", {"stage_id": won}),
                ("stop", {}, {"off": True}),
                ("end_if", {}),
                ("log_note", {"body": "Later"}, {"off": True, "note": 'Not "before" May\nsays Ana'}),
                ("log_note", {"body": "Now"}, {"note": "why"}),
                ("assign_owner", {"target": "deal", "person_ids": [team.owner.id, team.member.id]}),
                ("create_appointment", {"title": "Hand over", "at": "14:15"}),
                ("change_field", {"target": "deal", "field": "source", "value": "Web"}),
            ], "keep", many), is_active=True)  # fmt: skip
        twin = create_automation(
            build("Größe über 5", "deal.updated", {"field": "amount"}, [("log_note", {"body": "x"})])
        )
        set_state(twin, "shadow")


@pytest.fixture
def run(app: Flask) -> Any:
    def invoke(*words: str, code: int = 0) -> str:
        result = app.test_cli_runner().invoke(args=["automations", *words])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return str(result.output)

    return invoke


@pytest.fixture
def inside_once(app: Flask, team: Any) -> Any:
    """What a function says inside the workspace, its work saved."""

    def ask(question: Any) -> Any:
        with app.app_context(), acting_in(team.id):
            found = question()
            db.session.remove()
        return found

    return ask


def test_the_text_reads_well(inside: Any) -> None:
    fill(inside)
    text = export_rules().text
    assert text.startswith("# The rules of Acme. ")
    for part in (
        'key = "grosse-uber-5"\nname = "Größe über 5"\nactive = true\non_failure = "keep"\n',
        '[rule.when]\ntrigger = "deal.stage_changed"\nfrom_stage = "Sales/Lead"\nto_stage = "Sales/Won"\n',
        '  { field = "amount", at_least = 1000.50 },\n  { field = "stage", one_of = ["Sales/Lead", "Sales/Won"] },\n  { any = [\n',
        '{ field = "owner", is = "member@acme.example" }',
        '{ field = "expected_close_on", before = 2026-12-31 }',
        'assign_to = "person"\nperson = "member@acme.example"\n',
        '[[rule.steps]]\ndo = "if"\nall = [\n  { field = "amount", greater = 5 },\n]\n',
        'persons = ["owner@acme.example", "member@acme.example"]', "at = 08:30:00", "amount = 12.50",
        'key = "grosse-uber-5-2"', '[rule.when]\ntrigger = "deal.updated"\nfield = "amount"\n',
    ):  # fmt: skip
        assert part in text, (part, text)
    assert "_id" not in text and "due_in_days = 3" in text and "only_if_empty" not in text


def test_export_apply_export_is_byte_identical(inside: Any, rivals: Any) -> None:
    fill(inside)
    before = [definition_of(rule).to_text() for rule in db.session.scalars(select(Automation))]
    text = export_rules().text
    assert not plan(text).has_changes
    with write_transaction():
        apply(text)
    assert export_rules().text == text
    assert [definition_of(rule).to_text() for rule in db.session.scalars(select(Automation))] == before
    assert db.session.scalar(select(func.max(AutomationVersion.number))) == 1
    db.session.rollback()
    elsewhere = text.replace("@acme.example", "@globex.example").replace("rules of Acme", "rules of Globex")
    with acting_in(rivals.id):
        with write_transaction():
            made = apply(elsewhere)
        assert [change.what for change in made.changes] == ["create", "create"]
        assert export_rules().text == elsewhere
        assert not plan(elsewhere).has_changes
        db.session.rollback()


def test_every_setting_has_a_form_in_text(app: Flask) -> None:
    """TOML has no null: what may be None must be None where it is left out; and no setting is called like the head."""
    for cls in [*trigger_types().values(), *action_types().values()]:
        for name, info in cls.Settings.model_fields.items():
            if "None" in str(info.annotation):
                assert not info.is_required() and info.get_default(call_default_factory=True) is None, (
                    cls,
                    name,
                )
            assert name not in ("do", "trigger", "all", "any", "none", "off", "note"), (cls, name)
        assert set(cls.refers()) <= set(cls.Settings.model_fields), cls
    for cls in action_types().values():  # what holds an id says of what
        ids = {n for n in cls.Settings.model_fields if n.endswith(("_id", "_ids"))}
        assert ids <= set(cls.refers()), cls


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
scalars = st.one_of(
    texts, st.booleans(), st.integers(-(10**12), 10**12), st.dates(date(1900, 1, 1), date(2199, 1, 1)),
    st.times().map(lambda t: t.replace(microsecond=0)), st.decimals("-9999", "9999", places=2),
)  # fmt: skip
tables = st.recursive(
    st.dictionaries(texts, scalars, max_size=4),
    lambda inner: st.dictionaries(
        texts, st.one_of(scalars, inner, st.lists(scalars, max_size=3), st.lists(inner, min_size=1, max_size=3)), max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.lists(tables, min_size=1, max_size=3))
def test_what_the_writer_writes_reads_the_same(written: list[dict[str, Any]]) -> None:
    text = write_tables("rule", written)
    assert read_toml(text) == {"rule": written}
    assert write_tables("rule", read_toml(text)["rule"]) == text


KICK = """
# by hand
[[rule]]
name = "Kick-off"
active = true
when = "deal.won"  # the short form

[[rule.steps]]
do = "create_task"
title = "Kick off {{ deal.title }}"
"""


def test_a_new_rule_comes_from_a_text_with_comments(inside: Any) -> None:
    with write_transaction():
        made = apply(KICK)
    rule = db.session.scalars(select(Automation)).one()
    assert (rule.name, rule.key, rule.is_active, made.summary) == ("Kick-off", "kick-off", True, "1 new")
    assert not plan(KICK).has_changes


def test_plan_says_what_apply_does(inside: Any) -> None:
    make_rule(name="Other")
    with write_transaction():
        apply(KICK)
    changed = KICK.replace('"deal.won"', '"deal.lost"').replace(
        'name = "Kick-off"', 'key = "kick-off"\nname = "Start"'
    )
    made = plan(changed)
    first, other = made.changes
    assert (first.what, first.notes) == ("change", ["renamed from “Kick-off” to “Start”"])
    assert first.before.startswith("When a deal is won →") and first.after.startswith("When a deal is lost →")
    assert (other.what, other.name) == ("alone", "Other")
    assert db.session.scalars(select(Automation.name).where(Automation.key == "kick-off")).one() == "Kick-off"
    with write_transaction():
        apply(changed)
    rule = db.session.scalars(select(Automation).where(Automation.key == "kick-off")).one()
    assert (rule.name, rule.trigger, rule.definition_number) == ("Start", "deal.lost", 2)


def test_prune_deletes_what_the_text_does_not_name_and_a_text_brings_it_back(inside: Any) -> None:
    make_rule(name="Other")
    text = export_rules().text
    gone = plan(KICK, prune=True)
    assert [change.what for change in gone.changes] == ["create", "delete"]
    with write_transaction():
        apply(KICK, prune=True)
    assert db.session.scalars(
        select(Automation.name).where(Automation.deleted_at.is_(None)).order_by(Automation.position)
    ).all() == ["Kick-off"]
    back = plan(text)
    assert [change.what for change in back.changes] == ["restore", "alone"]
    with write_transaction():
        apply(text)
    assert db.session.scalars(
        select(Automation.name).where(Automation.deleted_at.is_(None)).order_by(Automation.position)
    ).all() == [
        "Other",
        "Kick-off",
    ]


def test_the_order_of_the_text_is_the_order_of_the_rules(inside: Any) -> None:
    for name in ("One", "Two", "Three"):
        make_rule(name=name)
    head, *rules = export_rules().text.split("[[rule]]")
    turned = head + "".join(f"[[rule]]{rule.rstrip()}\n\n" for rule in reversed(rules)).rstrip() + "\n"
    assert plan(turned).is_reordered and "another order" in plan(turned).summary
    with write_transaction():
        apply(turned)
    assert export_rules().text == turned and not plan(turned).has_changes
    with write_transaction():
        apply(KICK + turned)
    assert [rule.definition.name for rule in read_rules(export_rules().text)] == [
        "Kick-off",
        "Three",
        "Two",
        "One",
    ]


def test_what_cannot_be_told_to_others_is_left_out_and_never_pruned(inside: Any) -> None:
    make_rule()
    company = make_company("Initech")
    named = {"match": "all", "items": [asks("company_id", "is", str(company.id))]}
    with write_transaction():
        create_automation(
            build("About Initech", "deal.won", {}, [("log_note", {"body": "x"})], conditions=named)
        )
    made = export_rules()
    assert made.left_out == [
        ("About Initech", "it names one company, and such a record has no name that other workspaces know")
    ]
    assert "# Left out: About Initech: it names one company" in made.text and "Won kickoff" in made.text
    assert not plan(made.text).has_changes
    pruned = plan(KICK, prune=True)
    assert [(c.name, c.what) for c in pruned.changes] == [
        ("Kick-off", "create"),
        ("Won kickoff", "delete"),
        ("About Initech", "alone"),
    ]


def test_stages_of_one_name_are_told_apart(inside: Any) -> None:
    with write_transaction():
        twin = create_pipeline("Sales")
        lead = next(stage.id for stage in twin.stages if stage.name == "Lead")
        create_automation(
            build("Twin", "deal.stage_changed", {"to_stage_id": lead}, [("log_note", {"body": "x"})])
        )
    text = export_rules().text
    assert 'to_stage = "Sales/Lead #2"' in text and not plan(text).has_changes


def test_a_key_stays_when_the_rule_is_renamed_and_no_two_are_alike(inside: Any) -> None:
    rule = make_rule(name="One")
    with write_transaction():
        update_automation(rule, build("Another", "deal.won", {}, [("log_note", {"body": "x"})]))
        copy = duplicate_automation(rule)
        delete_automation(rule)
        again = create_automation(build("One", "deal.won", {}, [("log_note", {"body": "x"})]))
    assert (rule.key, copy.key, again.key, free_key("One")) == ("one", "another-copy", "one-2", "one-3")
    assert (slug("???"), slug("x" * 300)) == ("rule", "x" * 120)


STEP = '\n[[rule.steps]]\ndo = "log_note"\nbody = "x"\n'
HEAD = '[[rule]]\nname = "R"\nwhen = "deal.won"\n'
BAD = [
    ("[[rule]\n", "at line 1"),
    ("x = 1\n", "“x” is not known"),
    ("rule = 5\n", "two brackets"),
    ("[rule]\nname = 'x'\n", "two brackets"),
    (HEAD, "line 1, rule “R”: a rule needs at least one step"),
    (HEAD + "wenn = 1\n" + STEP, "“wenn” is not known"),
    (HEAD.replace("deal.won", "deal.exploded") + STEP, "line 1, rule “R”, when: there is no trigger “deal.exploded”"),
    (HEAD.replace('"R"', '""') + STEP, "rule 1: a rule has a name"),
    (HEAD.replace('"R"', f'"{"x" * 121}"') + STEP, "120 characters"),
    (HEAD + 'active = "yes"\n' + STEP, "active is true or false"),
    (HEAD + 'on_failure = "cry"\n' + STEP, "on_failure is one of"),
    (HEAD + 'key = "No Key"\n' + STEP, "small letters"),
    (HEAD + '[rule.if]\nall = [{ field = "wealth", is = 1 }]\n' + STEP, "rule “R”, if: there is no field “wealth”"),
    (HEAD + '[rule.if]\nall = [{ field = "amount", contains = "x" }]\n' + STEP, "stands one comparison"),
    (HEAD + '[rule.if]\nall = [{ field = "amount", at_least = "many" }]\n' + STEP, "if: Write a number"),
    (HEAD + '[rule.if]\nall = [{ field = "stage", is = "Sales/Nowhere" }]\n' + STEP, "no stage “Sales/Nowhere” here. There is “Sales/Lead”"),
    (HEAD + '[rule.if]\nall = [{ field = "amount", at_least = nan }]\n' + STEP, "finite"),
    (HEAD + "[rule.if]\nall = [1]\n" + STEP, "one list called all, any or none"),
    (HEAD + "[rule.if]\nnone = [{ all = [] }]\n" + STEP, "a group inside another needs one condition"),
    (HEAD + "[rule.if]\nall = []\nany = []\n" + STEP, "one list called"),
    (HEAD + '\n[[rule.steps]]\ndo = "rm_rf"\n', "step 1: there is no action “rm_rf”"),
    (HEAD + STEP + "color = 1\n", "step 1: “color” is no setting of “Log a note”. Its settings: body"),
    (HEAD + '\n[[rule.steps]]\ndo = "create_task"\ntitle = "T"\ndue_in_days = 999\n', "step 1, due_in_days: Input should be less"),
    (HEAD + '\n[[rule.steps]]\ndo = "create_task"\n', "step 1, title: Field required"),
    (HEAD + '\n[[rule.steps]]\ndo = "create_task"\ntitle = "T"\nassign_to = "person"\nperson = "eve@x.example"\n', "no person “eve@x.example”"),
    (HEAD + '\n[[rule.steps]]\ndo = "move_stage"\nstage = 5\n', "no stage “5”"),
    (HEAD + STEP.replace('"x"', '"{{ deal.nothing }}"'), "step 1: "),
    (HEAD + STEP + '\n[[rule.steps]]\ndo = "end_if"\n', "step 2: "),
    (HEAD + STEP * 51, "at most 50 steps"),
    (HEAD + STEP + HEAD + STEP, "another rule has the key “r”"),
    (HEAD + STEP.replace('"x"', '"\\u0000"'), "cannot be stored"),
    ("x = " + "[" * 5000 + "\n", "nested too deep"),
    ("x = " + "9" * 5000 + "\n", "too long"),
    ("# " + "x" * 1_000_000, "1,000,000 characters"),
    (HEAD + STEP + '\n[[rule.examples]]\nruns = "maybe"\n', "example 1: runs is true or false"),
    (HEAD + STEP + '\n[[rule.examples]]\n[rule.examples.record]\namount = "lots"\n', "example 1: amount cannot be “lots”"),
    (HEAD + STEP + "\n[[rule.examples]]\nchanges = { amount = 5 }\n", "what it was and what it became"),
    (HEAD + STEP + "\n[[rule.examples]]\nexpect = 5\n", "“expect” is not known"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BAD, ids=lambda value: value[:40])
def test_a_bad_text_is_told_with_its_place_and_changes_nothing(inside: Any, text: str, said: str) -> None:
    with pytest.raises(BadText) as bad, write_transaction():
        apply(text + (KICK if text.startswith("[[rule]]") else ""))
    assert any(said in problem for problem in bad.value.problems), bad.value.problems
    assert db.session.scalar(select(func.count()).select_from(Automation)) == 0


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_table_whatever_breaks_the_reader(inside: Any, data: Any) -> None:
    """Any values in the places of a rule: told in words, never an exception of another kind."""
    junk = st.one_of(scalars, st.lists(scalars, max_size=2), tables)
    keys = st.sampled_from(["key", "name", "active", "on_failure", "when", "if", "steps", "examples", "do", "trigger", "field",
                            "all", "record", "changes", "runs", "at", "is", "stage", "person", "body", "title"])  # fmt: skip
    table = st.recursive(
        st.dictionaries(keys, junk, max_size=5),
        lambda inner: st.dictionaries(
            keys, st.one_of(junk, inner, st.lists(inner, min_size=1, max_size=2)), max_size=5
        ),
        max_leaves=8,
    )
    rule = {"name": "R", "when": "deal.won", "steps": [{"do": "log_note", "body": "x"}], **data.draw(table)}
    with suppress(BadText):
        read_rules(write_tables("rule", [rule]))


def test_the_commands(run: Any, team: Any, inside_once: Any, tmp_path: Path) -> None:
    inside_once(lambda: fill(team))
    file = tmp_path / "rules.toml"
    run("export", str(file))
    assert file.read_text() == run("export") == run("export", "--workspace", "Acme")
    assert "2 as it is" in run("plan", str(file))
    file.write_text(
        file.read_text().replace('trigger = "deal.updated"\nfield = "amount"', 'trigger = "deal.won"')
    )
    said = run("plan", str(file), code=2)
    assert "change: Größe über 5 [grosse-uber-5-2]" in said
    assert (
        "  - When the amount of a deal is changed → log note “x”\n  + When a deal is won → log note “x”\n"
        in said
    )
    assert "1 change, 1 as it is" in run("apply", str(file))
    assert file.read_text() == run("export")
    saved = inside_once(
        lambda: db.session.scalars(
            select(AutomationVersion.saved_by_name).order_by(AutomationVersion.id.desc())
        ).first()
    )
    assert saved == "soconnective automations apply"
    file.write_text("[[rule]]")
    for command in ("plan", "apply", "test"):
        assert "Nothing was changed" in run(command, str(file), code=1)
    file.write_bytes(b"\xff\xfe")
    assert "UTF-8" in run("plan", str(file), code=1)


def test_the_workspace_must_be_clear(run: Any, team: Any, rivals: Any) -> None:
    assert "Say which workspace" in run("export", code=1)
    assert "rules of Globex" in run("export", "--workspace", "Globex")
    assert "rules of Globex" in run("export", "--workspace", str(rivals.id))
    assert "There is no workspace" in run("export", "--workspace", "Nowhere", code=1)


def test_the_reader_keeps_numbers_exact() -> None:
    assert (
        read_toml("x = 1000.50")["x"] == Decimal("1000.50")
        and str(read_toml("x = 1000.50")["x"]) == "1000.50"
    )
    assert read_toml("x = 08:30:00")["x"] == time(8, 30)
    with pytest.raises(NotToml):
        read_toml("x = ")

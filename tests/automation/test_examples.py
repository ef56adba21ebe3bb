"""Examples inside a rule: they hold or say why not, run as tests, guard apply, and are exported again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from soconnective.automation.examples import failures
from soconnective.automation.models import Automation
from soconnective.automation.plan import apply, export_rules, plan
from soconnective.automation.text import BadText, read_rules
from soconnective.core.db import db, write_transaction

RULE = """
[[rule]]
key = "moves"
name = "Moves"
active = true

[rule.when]
trigger = "deal.stage_changed"
to_stage = "Sales/Won"

[rule.if]
all = [
  { field = "amount", at_least = 1000 },
  { field = "actor_kind", is = "person" },
]

[[rule.steps]]
do = "if"
all = [
  { field = "source", is = "Web" },
]

[[rule.steps]]
do = "log_note"
body = "from the web"

[[rule.steps]]
do = "stop"

[[rule.steps]]
do = "otherwise_if"
all = [
  { field = "expected_close_on", next_days = 7 },
]

[[rule.steps]]
do = "create_task"
title = "Hurry"

[[rule.steps]]
do = "end_if"

[[rule.steps]]
do = "wait"

[[rule.steps]]
do = "log_note"
body = "the end"
"""
EXAMPLE = """
[[rule.examples]]
name = "x"
{head}

[rule.examples.record]
{record}

[rule.examples.changes]
{changes}
"""
MOVE = 'stage = ["Sales/Lead", "Sales/Won"]'
CASES = [
    ("", "amount = 5000", MOVE, None),
    ('steps = ["wait", "log_note"]', "amount = 5000", MOVE, None),
    ('steps = ["wait 1 day", "log note “the end”"]', "amount = 5000", MOVE, None),
    ('steps = ["log_note", "stop"]', 'amount = 5000\nsource = "web"', MOVE, None),
    ('at = 2026-03-01T12:00:00\nsteps = ["create_task", "wait", "log_note"]', "amount = 5000\nexpected_close_on = 2026-03-05", MOVE, None),
    ('at = 2026-02-01T12:00:00\nsteps = ["wait", "log_note"]', "amount = 5000\nexpected_close_on = 2026-03-05", MOVE, None),
    ("runs = false", "amount = 5", MOVE, None),
    ("runs = false", "amount = 5000", 'stage = ["Sales/Won", "Sales/Lead"]', None),
    ('by = "import"\nruns = false', "amount = 5000", MOVE, None),
    ("", "amount = 5", MOVE, "it does not run: amount is at least 1000, was 5"),
    ("", 'owner = "owner@acme.example"', 'stage = ["", "Sales/Lead"]', "it does not run: To stage: wanted Won, was Lead"),
    ("runs = false", "amount = 5000", MOVE, "it runs, and should not"),
    ('steps = ["log_note"]', "amount = 5000", MOVE, "the steps that run are wait, log_note, and should be log_note"),
    ('steps = ["wait", "log note “another"]', "amount = 5000", MOVE, "the steps that run are"),
]  # fmt: skip


def with_example(head: str, record: str, changes: str) -> str:
    return RULE + EXAMPLE.format(head=head, record=record, changes=changes)


@pytest.mark.parametrize(("head", "record", "changes", "said"), CASES)
def test_an_example_holds_or_says_why_not(
    inside: Any, head: str, record: str, changes: str, said: str | None
) -> None:
    (rule,) = read_rules(with_example(head, record, changes))
    found = failures(rule.definition, rule.examples)
    if said is None:
        assert found == []
    else:
        assert len(found) == 1 and found[0].startswith("example 1 “x”: ") and said in found[0]


def test_examples_are_kept_with_the_rule_and_exported_again(inside: Any) -> None:
    text = "".join(with_example(*CASES[4][:3])) + EXAMPLE.format(
        head='by = "import"\nruns = false',
        record='owner = "owner@acme.example"\ntitle = "T"',
        changes="amount = [10, 2000.50]",
    )
    with write_transaction():
        apply(text)
    exported = export_rules().text
    assert exported.count("[[rule.examples]]") == 2 and "at = 2026-03-01T12:00:00\n" in exported
    assert 'title = "T"\nowner = "owner@acme.example"\n' in exported and "amount = [10, 2000.50]" in exported
    assert not plan(exported).has_changes
    with write_transaction():
        apply(exported)
    assert export_rules().text == exported


def test_other_examples_are_a_change_without_a_new_version(inside: Any) -> None:
    with write_transaction():
        apply(RULE)
    made = plan(with_example(*CASES[0][:3]))
    assert [(change.what, change.notes) for change in made.changes] == [("change", ["other examples"])]
    with write_transaction():
        apply(with_example(*CASES[0][:3]))
    assert db.session.scalars(select(Automation.definition_number)).one() == 1


def test_apply_refuses_when_an_example_does_not_hold_unless_forced(inside: Any) -> None:
    text = with_example(*CASES[9][:3])
    assert plan(text).failed == [
        "line 2, rule “Moves”, example 1 “x”: it does not run: amount is at least 1000, was 5"
    ]
    with pytest.raises(BadText, match="example 1"), write_transaction():
        apply(text)
    assert db.session.scalar(select(func.count()).select_from(Automation)) == 0
    with write_transaction():
        apply(text, force=True)
    assert db.session.scalar(select(func.count()).select_from(Automation)) == 1


def test_the_command_runs_them(app: Flask, team: Any, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(with_example(*CASES[0][:3]))
    said = app.test_cli_runner().invoke(args=["automations", "test", str(file)])
    assert (said.exit_code, said.output) == (0, "1 examples of 1 rules hold.\n")
    file.write_text(with_example(*CASES[9][:3]))
    said = app.test_cli_runner().invoke(args=["automations", "test", str(file)])
    assert said.exit_code == 1 and "example 1 “x”: it does not run" in said.output
    said = app.test_cli_runner().invoke(args=["automations", "apply", str(file)])
    assert said.exit_code == 1 and "Nothing was changed" in said.output
    assert app.test_cli_runner().invoke(args=["automations", "apply", "--force", str(file)]).exit_code == 0

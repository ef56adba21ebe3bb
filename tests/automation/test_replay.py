"""`soconnective automations replay`: the past judged anew says the same, or says what it says now."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from soconnective.automation.definition import build
from soconnective.automation.operations import create_automation, set_state
from soconnective.core.conditions import OPERATORS
from soconnective.core.db import db, write_transaction
from soconnective.deals.operations import delete_deal
from tests.automation.test_backtest import TREE, live_a_life, rule_on
from tests.factories.records import make_deal
from tests.proofs.digests import digest_now


def replay(app: Flask, *words: str) -> tuple[int, str]:
    db.session.rollback()
    result = app.test_cli_runner().invoke(args=["automations", "replay", *words])
    return result.exit_code, result.output


def test_what_was_said_is_said_again(app: Flask, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rule_on("deal.updated", TREE)
    failing = rule_on(
        "deal.created", steps=[("change_field", {"target": "company", "field": "name", "value": "x"})]
    )
    live_a_life(inside, 60)
    with write_transaction():
        set_state(failing, "shadow")
        delete_deal(make_deal(inside.stages["Lead"]))
    db.session.rollback()
    before = digest_now(app)
    code, said = replay(app)
    assert code == 0, said
    assert "runs judged anew, 0 come out otherwise" in said and digest_now(app) == before
    assert "Acme: 5 runs judged anew" in replay(app, "--number", "5")[1]
    at_least = OPERATORS["at_least"]
    monkeypatch.setitem(OPERATORS, "greater", at_least)
    code, said = replay(app)
    assert code == 1 and "then: did not match: none of: amount is more than 500, was 500.00" in said
    assert "now:  success: title set to" in said


def test_only_what_lives_at_this_version_is_replayed(app: Flask, inside: Any) -> None:
    rule = rule_on("deal.created")
    make_deal(inside.stages["Lead"])
    with write_transaction():
        create_automation(build("Off", "deal.created", {}, [("log_note", {"body": "x"})]))
        set_state(rule, "off")
    assert "Acme: 0 runs judged anew" in replay(app)[1]

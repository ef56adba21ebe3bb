"""What was mapped can be asked in Python and in SQL, with the same answer."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from soconnective.core import clock
from soconnective.core.conditions import Facts, Group, Now, evaluate, fields_of, operators_of, where
from soconnective.core.db import db, write_transaction
from soconnective.webhooks.events import snapshot
from soconnective.webhooks.hook_operations import create_hook, receive
from soconnective.webhooks.models import WebhookCall

PLANS = ["pro", "Pro", "", None, "ÀÉß", "100%", "x'y", "free plan", 7, True]


@pytest.fixture
def calls(inside: Any) -> list[WebhookCall]:
    with write_transaction():
        hook, _token = create_hook("Form", mapping="plan = plan")
        db.session.flush()
        for number, plan in enumerate(PLANS):
            receive(hook, {"id": f"call {number}", "plan": plan}, "{}", f"call {number}", None)
        other, _token = create_hook("Other")
        db.session.flush()
        receive(other, {"plan": "pro"}, "{}", None, None)
    return list(db.session.scalars(select(WebhookCall)))


@pytest.mark.parametrize("name", ["plan", "external_id", "hook_id", "received_at", "contact_id"])
def test_both_back_ends_agree(calls: list[WebhookCall], name: str) -> None:
    fields, now, asked = fields_of("webhook"), Now(clock.now(), "Europe/Madrid"), 0
    field = fields[name]
    values = {"text": ["pro", "ÀÉß", "100%", "x'y", "call 1", "7", "true"], "choice": ["1", "2"], "moment": ["2026-11-24"], "record": ["1"]}[field.kind]  # fmt: skip
    for operator in operators_of(field):
        if operator.sql is None:
            continue
        for value in values:
            wanted: Any = {"nothing": None, "many": [value], "two": [value, value], "days": "3"}.get(
                operator.takes, value
            )
            tree = Group.model_validate({"match": "all", "items": [{"field": name, "operator": operator.id, "value": wanted}]})  # fmt: skip
            found = set(db.session.scalars(select(WebhookCall.id).where(where(tree, fields, now))))
            held = {call.id for call in calls if evaluate(tree, fields, Facts(snapshot(call), now, {}))[0]}
            assert found == held, (operator.id, value)
            asked += 1
    assert asked >= 2

"""A form's key, where its post saves nothing: nobody waits, nothing is remembered."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from soconnective.core import once, sqlite
from soconnective.core.db import db, read_transaction
from soconnective.core.tenancy import acting_in
from tests.factories.records import make_rule

SAVES_NOTHING = {
    "signing out": ("/logout", {}, 302),
    "picking a rule for nothing": ("/dashboard/automations/pick", {"type": "deal", "ids": "-1"}, 200),
    "publishing a draft that is none": ("/dashboard/automations/1/draft/publish", {"version": "1"}, 302),
}


@pytest.mark.parametrize("kind", SAVES_NOTHING)
def test_a_post_that_saves_nothing_waits_for_nobody(
    app: Flask, team: Any, owner: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any, kind: str
) -> None:
    """The request still holds the write lock when its answer would be kept: it once waited 15 s for itself."""
    with app.app_context(), acting_in(team.id):
        make_rule("deal.picked_by_hand", name="By hand")
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.5)
    url, data, status = SAVES_NOTHING[kind]
    began = time.monotonic()
    with caplog.at_level(logging.ERROR):
        answer = owner.post(url, data={**data, "form_key": "crafted"})
    assert answer.status_code == status
    assert not [r.message for r in caplog.records if "could not be kept" in r.message]
    assert time.monotonic() - began < 10  # no measurement: a hang is what this finds
    with app.app_context(), read_transaction():
        assert db.session.scalar(select(func.count()).select_from(once.posts)) == 0

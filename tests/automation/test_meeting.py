"""Where the parts meet: what one does is minded by the others."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from soconnective.automation.undo_run import undo_run
from soconnective.core import clock
from soconnective.core.db import write_transaction
from soconnective.deals.operations import update_deal
from soconnective.events import rules
from tests.automation.test_due_dates import DUE, NOW, change, deal, rule
from tests.automation.timed import notes, rows, runs, tick
from tests.factories.records import make_rule


@pytest.mark.parametrize("mode", ["skip", "log"])
def test_a_change_that_no_rule_is_to_look_at_moves_what_is_due_all_the_same(inside: Any, mode: Any) -> None:
    rule()
    record, other = deal(inside), deal(inside, None, title="Other")
    with clock.at(NOW), write_transaction(), rules(mode):
        update_deal(record.row, expected_close_on=date(2026, 3, 25))
        update_deal(other.row, expected_close_on=date(2026, 3, 20))
    assert [(row[0], row[1], row[3]) for row in rows()] == [
        (record.id, "2026-03-25", "planned"),
        (other.id, "2026-03-20", "planned"),
    ]
    tick(DUE)
    assert notes() == ["Other closes"]


def test_undoing_a_run_that_moved_a_date_moves_what_is_due_back(inside: Any) -> None:
    rule()
    with clock.at(NOW):
        taken = ("change_field", {"target": "deal", "field": "expected_close_on", "value": "365"})
        make_rule("deal.updated", [taken], "Move it", settings={"field": "source"})
    record = deal(inside)
    change(record, source="Fair")
    assert [row[1] for row in rows()] != ["2026-03-20"]
    with clock.at(NOW), write_transaction():
        undo_run(next(run for run in runs() if run.outcome == "succeeded"))
    assert [row[1] for row in rows()] == ["2026-03-20"]
    tick(DUE)
    assert notes() == ["Roll-out closes"]

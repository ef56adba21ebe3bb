"""How a rule fares: counted by outcome and by the workspace's days, timed, drawn, and in a bounded number of statements."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, select

from soconnective.automation.models import AutomationRun
from soconnective.automation.statistics import Day, Statistics, percentile, statistics_of
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from tests.factories.records import make_deal, make_rule

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)  # 14:00 in Madrid, where the team's days begin


@pytest.fixture
def rule_id(inside: Any) -> int:
    with clock.at(NOON - timedelta(days=400)):
        rule = make_rule("deal.created", [("log_note", {"body": "x"})])
        make_deal(inside.stages["Lead"])
    with write_transaction():
        db.session.delete(db.session.scalars(select(AutomationRun)).one())
    found = rule.id
    db.session.rollback()
    return found


def runs(team: Any, rule_id: int, *ages: tuple[str, timedelta, float]) -> None:
    """(outcome, how long before noon, milliseconds)"""
    event_id = db.session.execute(db.text("SELECT min(id) FROM events")).scalar()
    before = db.session.query(AutomationRun).count()
    rows = [
        {"tenant_id": team.id, "automation_id": rule_id, "event_id": event_id, "attempt": before + n + 1, "record_type": "deal",
         "record_id": 1, "outcome": outcome, "detail": f"{outcome} {n}", "trace": {}, "started_at": NOON - age,
         "milliseconds": ms}
        for n, (outcome, age, ms) in enumerate(ages)
    ]  # fmt: skip
    with write_transaction():
        db.session.connection().execute(insert(AutomationRun.__table__), rows)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def test_spans_and_days(inside: Any, rule_id: int) -> None:
    runs(
        inside, rule_id,
        ("succeeded", hours(0), 1), ("succeeded", hours(13.9), 1), ("failed", hours(14.1), 1), ("succeeded", hours(23.9), 1),
        ("not_matched", hours(1), 1), ("skipped", hours(1), 1), ("succeeded", hours(24.1), 1), ("partly_succeeded", hours(167), 1),
        ("succeeded", hours(169), 1), ("succeeded", hours(719), 1), ("succeeded", hours(721), 1),
    )  # fmt: skip
    with clock.at(NOON):
        found = statistics_of(rule_id)
    assert found.spans == {
        "24 hours": {"succeeded": 3, "failed": 1, "not_matched": 1, "skipped": 1},
        "7 days": {"succeeded": 4, "failed": 1, "not_matched": 1, "skipped": 1, "partly_succeeded": 1},
        "30 days": {"succeeded": 6, "failed": 1, "not_matched": 1, "skipped": 1, "partly_succeeded": 1},
    }
    assert found.outcomes == ["succeeded", "partly_succeeded", "failed", "not_matched", "skipped"]
    assert len(found.days) == 30 and found.days[-1] == Day(date(2026, 5, 4), 2, 0, 1)
    assert found.days[-2] == Day(date(2026, 5, 3), 2, 1, 0)  # midnight is Madrid's
    assert found.days[0].day == date(2026, 4, 5) and found.most == 3


def test_another_rule_is_not_counted(inside: Any, rule_id: int) -> None:
    other = make_rule("deal.created", [("log_note", {"body": "y"})], "Other").id
    runs(inside, other, ("failed", hours(1), 5))
    with clock.at(NOON):
        found = statistics_of(rule_id)
    assert not found.outcomes and found.last_failure is None and found.median is None and not found.bars()


def test_times_are_of_the_newest_runs(inside: Any, rule_id: int) -> None:
    slow = [("succeeded", hours(500 + n), 1000.0) for n in range(200)]
    quick = [(("failed" if n % 10 == 0 else "succeeded"), hours(n / 10), float(n % 100)) for n in range(1000)]
    looked = [("not_matched", hours(0), 0.01)] * 50
    runs(inside, rule_id, *slow, *quick, *looked)
    with clock.at(NOON):
        found = statistics_of(rule_id)
    assert (found.measured, found.median, found.slow) == (1000, 49.0, 94.0)
    assert found.last_failure is not None and found.last_failure.detail == "failed 200"


PERCENTILES = [
    ([5.0], 5.0, 5.0),
    ([1.0, 2.0], 1.0, 2.0),
    ([1.0, 2.0, 3.0], 2.0, 3.0),
    ([float(n) for n in range(1, 101)], 50.0, 95.0),
]


@pytest.mark.parametrize(("times", "median", "slow"), PERCENTILES)
def test_percentiles_by_the_nearest_rank(times: list[float], median: float, slow: float) -> None:
    assert (percentile(times, 50), percentile(times, 95)) == (median, slow)


def test_the_bars_stand_on_the_ground_and_fit(inside: Any) -> None:
    day = date(2026, 5, 4)
    made = Statistics({}, [Day(day, 2, 1, 1), Day(day, 0, 0, 0), Day(day, 1000, 1, 0)])
    for bar in made.bars():
        assert bar.y >= 0 and bar.y + bar.height <= 103 and bar.height >= 2
    assert [bar.look for bar in made.bars()] == ["good", "bad", "other", "good", "bad"]
    assert Statistics({}, [Day(day, 0, 0, 0)]).bars() == []


def test_few_statements_by_an_index(inside: Any, rule_id: int, database_kind: str) -> None:
    runs(inside, rule_id, *[("succeeded", hours(n), 1.0) for n in range(300)])
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        asked.append((statement, values))

    event.listen(db.engine, "before_cursor_execute", note)
    with clock.at(NOON):
        statistics_of(rule_id)
    event.remove(db.engine, "before_cursor_execute", note)
    mine = [pair for pair in asked if "automation_runs" in pair[0]]
    assert len(mine) == 3
    if database_kind == "sqlite":
        for statement, values in mine:
            plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            said = [row[3] for row in plan]
            assert not [line for line in said if re.match(r"SCAN automation_runs", line)], said
            assert any("ix_automation_runs_outcomes" in line for line in said), said


def test_the_page_shows_them_also_without_the_picture(inside: Any, rule_id: int, owner: Any) -> None:
    page = owner.get(f"/dashboard/automations/{rule_id}").text
    assert "No runs in the last 30 days" in page and '<svg class="bars"' not in page
    now = clock.now()
    runs(
        inside, rule_id,
        ("succeeded", NOON - now, 2.0), ("succeeded", NOON - now + hours(30), 4.0), ("failed", NOON - now + hours(40), 30.0),
    )  # fmt: skip
    page = owner.get(f"/dashboard/automations/{rule_id}").text
    bars = page[page.index('<svg class="bars"') :]
    assert bars[: bars.index("</svg>")].count("<rect") == 3 and 'aria-hidden="true"><line' in page
    assert "The days as a table" in page and "failed 2" in page
    assert "at most 4.0 ms" in page and "at most 30.0 ms" in page

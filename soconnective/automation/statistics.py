"""How a rule fares: its runs by outcome and day, the time they take, its last failure. Three statements, by one index."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, literal, select, union_all
from sqlalchemy.orm import aliased

from soconnective.automation.models import OUTCOMES, AutomationRun
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.model import UtcDateTime
from soconnective.core.workspace import current_workspace, workspace_today

DAYS = 30
MEASURED = 1000  # the newest runs whose times are looked at
SPANS = {"24 hours": timedelta(hours=24), "7 days": timedelta(days=7), "30 days": timedelta(days=30)}
FAILED = ("failed", "partly_succeeded")
TIMED = ("succeeded", *FAILED)
HEIGHT, WIDTH = 100, 10  # of the picture: the highest bar, and one day


@dataclass(frozen=True, slots=True)
class Day:
    """The runs of one day on the workspace's calendar; those whose rule only looked are not among them."""

    day: date
    good: int
    bad: int
    other: int

    @property
    def total(self) -> int:
        return self.good + self.bad + self.other


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a day's bar in the picture."""

    look: str
    x: int
    y: float
    height: float


@dataclass
class Statistics:
    """`spans`: for each span of time the runs by outcome. Times are of the newest `measured` runs, in milliseconds."""

    spans: dict[str, dict[str, int]]
    days: list[Day]
    measured: int = 0
    median: float | None = None
    slow: float | None = None  # 95 of 100 took no longer
    last_failure: AutomationRun | None = None
    outcomes: list[str] = field(default_factory=list)

    @property
    def most(self) -> int:
        """The runs of the busiest day."""
        return max(day.total for day in self.days)

    def bars(self) -> list[Bar]:
        """The picture: a bar for each day, its parts from the ground up."""
        found = []
        for place, day in enumerate(self.days):
            top = float(HEIGHT)
            for look, number in (("good", day.good), ("bad", day.bad), ("other", day.other)):
                if number:
                    height = max(number / self.most * HEIGHT, 2.0)
                    top = max(top - height, 0.0)
                    found.append(Bar(look, place * WIDTH, round(top, 2), round(height, 2)))
        return found


def statistics_of(automation_id: int) -> Statistics:
    days = [workspace_today() - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    counts = _counts(automation_id, days)
    spans = {name: counts.get(name, {}) for name in SPANS}
    made = Statistics(spans, [_day(day, counts.get(day.isoformat(), {})) for day in days])
    made.outcomes = [name for name in OUTCOMES if any(name in span for span in spans.values())]
    times = _times(automation_id)
    if times:
        made.measured, made.median = len(times), percentile(times, 50)
        made.slow = percentile(times, 95)
    made.last_failure = _last_failure(automation_id)
    return made


def _day(day: date, counts: dict[str, int]) -> Day:
    bad = sum(counts.get(name, 0) for name in FAILED)
    good = counts.get("succeeded", 0)
    return Day(day, good, bad, sum(counts.values()) - counts.get("not_matched", 0) - good - bad)


def _counts(automation_id: int, days: list[date]) -> dict[str, dict[str, int]]:
    """Runs by outcome in each span and on each day: a row for each, joined to the index."""
    now, zone = clock.now(), current_workspace().timezone
    ranges = [(name, now - span, now + timedelta(days=1)) for name, span in SPANS.items()]
    ranges += [(day.isoformat(), *clock.day_bounds(day, zone)) for day in days]
    spans = union_all(
        *(
            select(
                literal(name).label("name"),
                literal(start, UtcDateTime).label("start"),
                literal(end, UtcDateTime).label("end"),
            )
            for name, start, end in ranges
        )
    ).cte("spans")
    run = aliased(AutomationRun)
    rows = db.session.execute(
        select(spans.c.name, run.outcome, func.count())
        .join_from(
            spans,
            run,
            (run.automation_id == automation_id)
            & run.outcome.in_(list(OUTCOMES))
            & (run.started_at >= spans.c.start)
            & (run.started_at < spans.c.end),
        )
        .group_by(spans.c.name, run.outcome)
    )
    found: dict[str, dict[str, int]] = {}
    for name, outcome, number in rows:
        found.setdefault(name, {})[outcome] = number
    return found


def _times(automation_id: int) -> list[float]:
    """What the newest runs took, in order."""
    parts = [
        select(AutomationRun.started_at, AutomationRun.milliseconds)
        .where(AutomationRun.automation_id == automation_id, AutomationRun.outcome == outcome)
        .order_by(AutomationRun.started_at.desc())
        .limit(MEASURED)
        .subquery()
        for outcome in TIMED
    ]
    newest = union_all(*(select(part.c.started_at, part.c.milliseconds) for part in parts)).subquery()
    rows = db.session.execute(
        select(newest.c.milliseconds).order_by(newest.c.started_at.desc()).limit(MEASURED)
    )
    return sorted(row[0] for row in rows)


def percentile(times: list[float], part: int) -> float:
    """The value that `part` of 100 do not exceed, by the nearest rank; `times` are in order."""
    return times[max(-(-len(times) * part // 100) - 1, 0)]


def _last_failure(automation_id: int) -> AutomationRun | None:
    newest: list[Any] = [
        select(AutomationRun.id)
        .where(AutomationRun.automation_id == automation_id, AutomationRun.outcome == outcome)
        .order_by(AutomationRun.started_at.desc())
        .limit(1)
        .scalar_subquery()
        for outcome in FAILED
    ]
    return db.session.scalars(
        select(AutomationRun).where(AutomationRun.id.in_(newest)).order_by(AutomationRun.started_at.desc())
    ).first()

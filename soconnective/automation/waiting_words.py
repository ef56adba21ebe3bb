"""What a waiting run waits for, in words that are true when they are read: its moment, or what keeps it since then."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.waiting import CATCH_UP
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.formats import datetime_text
from soconnective.jobs import Job

HELD = "held: the rule is paused"
NEXT = "next in line"
LATE = "late, is run within a minute"


def waiting_words(runs: Sequence[AutomationRun]) -> dict[int, str]:
    """By the id of each run that waits; asks the database only if the moment of one is over."""
    now = clock.now()
    waiting = {run.id: run for run in runs if run.outcome == "waiting" and run.planned_at is not None}
    over = {run.automation_id for run in waiting.values() if run.planned_at and run.planned_at <= now}
    paused, caught_up = (_paused(over), _caught_up()) if over else (set(), set())
    found = {}
    for run_id, run in waiting.items():
        if run.planned_at is not None and run.planned_at > now:
            found[run_id] = f"waiting until {datetime_text(run.planned_at)}"
        elif run.automation_id in paused:
            found[run_id] = HELD
        else:
            found[run_id] = NEXT if run.automation_id in caught_up else LATE
    return found


def _paused(rule_ids: set[int | None]) -> set[int | None]:
    rows = select(Automation.id).where(
        Automation.id.in_([one for one in rule_ids if one is not None]),
        Automation.paused_at.is_not(None),
        Automation.deleted_at.is_(None),
    )
    return set(db.session.scalars(rows))


def _caught_up() -> set[int | None]:
    """The rules that go on with what they held."""
    jobs = select(Job).where(Job.kind == CATCH_UP, Job.state.in_(("ready", "running")))
    return {job.payload["automation_id"] for job in db.session.scalars(jobs)}

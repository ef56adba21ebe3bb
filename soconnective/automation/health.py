"""The engine's line on the Health page: when it last looked at something, and what failed since yesterday."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from soconnective.automation.models import AutomationRun
from soconnective.core import clock
from soconnective.core.db import db
from soconnective.jobs.health import Sign, add_sign

MOST = 1000


def _look() -> Sign:
    """Bad if the engine itself failed within a day; that a rule failed is its owner's business, and said."""
    last = db.session.scalar(select(AutomationRun.started_at).order_by(AutomationRun.id.desc()).limit(1))
    newest = (
        select(AutomationRun.automation_id, AutomationRun.started_at)
        .where(AutomationRun.outcome == "failed")
        .order_by(AutomationRun.id.desc())
        .limit(MOST)
        .subquery()
    )
    of_the_day = newest.c.started_at > clock.now() - timedelta(days=1)
    failed, of_rules = db.session.execute(
        select(func.count(), func.count(newest.c.automation_id)).select_from(newest).where(of_the_day)
    ).one()
    if last is None:
        return Sign("Automation engine", True, "no rule has looked at anything yet")
    if failed > of_rules:
        return Sign("Automation engine", False, "it failed itself within the last day: see the runs", last)
    number = f"{MOST:,} or more" if failed >= MOST else f"{failed:,}" if failed else "none"
    return Sign("Automation engine", True, f"at work; failed runs of the last day: {number}", last)


add_sign("automation", _look)

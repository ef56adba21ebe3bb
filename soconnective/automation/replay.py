"""Replay: the last runs of the rules that are live, judged anew by trial; what comes out otherwise is a difference."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import or_, select

from soconnective.automation.backtest import BREATH, SLICE, is_gone
from soconnective.automation.candidates import Rule
from soconnective.automation.definition import parse
from soconnective.automation.models import OUTCOMES, Automation, AutomationRun, AutomationVersion
from soconnective.automation.trial import Busy, Trial, judge, try_rule
from soconnective.core.db import db, discarded_transaction, read_transaction
from soconnective.events import DomainEvent, EventRow

TRIES = 20  # of one whose record somebody is changing


@dataclass(frozen=True, slots=True)
class Past:
    """A recorded run, with what is needed to judge it anew."""

    run_id: int
    name: str
    outcome: str
    detail: str
    rule: Rule
    event: DomainEvent


@dataclass(frozen=True, slots=True)
class Difference:
    run_id: int
    name: str
    then: str
    now: str


def replay(number: int) -> tuple[int, list[Difference]]:
    """Judge the last `number` runs of the current workspace's live rules anew: how many, and what differs."""
    with read_transaction():
        waiting = _last(number)
    count, found = len(waiting), []
    waiting.reverse()
    while waiting:
        with discarded_transaction():
            until = time.monotonic() + SLICE
            while waiting and time.monotonic() < until:
                if (difference := _judge(waiting.pop())) is not None:
                    found.append(difference)
            db.session.expunge_all()
        time.sleep(BREATH)
    return count, found


def _last(number: int) -> list[Past]:
    """Newest first. Skipped ones are left out: the chain around them cannot be repeated."""
    rows = db.session.execute(
        select(AutomationRun, EventRow, Automation.name, AutomationVersion.definition)
        .join(EventRow, EventRow.id == AutomationRun.event_id)
        .join(Automation, Automation.id == AutomationRun.automation_id)
        .join(
            AutomationVersion,
            (AutomationVersion.automation_id == Automation.id)
            & (AutomationVersion.number == Automation.definition_number),
        )
        .where(
            AutomationRun.attempt == 0,
            AutomationRun.automation_number == Automation.definition_number,
            AutomationRun.outcome != "skipped",
            or_(Automation.is_active.is_(True), Automation.is_shadow.is_(True)),
            Automation.deleted_at.is_(None),
        )
        .order_by(AutomationRun.id.desc())
        .limit(number)
    )
    return [
        Past(
            run.id,
            name,
            run.outcome,
            run.detail,
            Rule(run.automation_id or 0, run.automation_number or 0, parse(definition)),
            event.as_event(),
        )
        for run, event, name, definition in rows
    ]


def _judge(past: Past) -> Difference | None:
    """What a matching rule did depends on the records as they are now; whether it worked should not."""
    gone = is_gone(past.event)  # its steps cannot be tried: the verdict alone, then
    now = judge(db.session(), past.rule, past.event) if gone else _patiently(past).run
    then, fresh = _said(past.outcome, past.detail, gone), _said(now.outcome, now.detail, gone)
    if then == fresh:
        return None
    return Difference(
        past.run_id, past.name, _told(past.outcome, past.detail), _told(now.outcome, now.detail)
    )


def _said(outcome: str, detail: str, gone: bool) -> tuple[str, str]:
    """What is compared: why it did not match, else whether it worked."""
    if outcome == "not_matched":
        return outcome, detail
    if gone:
        return "matched", ""
    if outcome == "shadowed":
        outcome = "failed" if detail.startswith("would have failed") else "succeeded"
    return (outcome if outcome in ("failed", "partly_succeeded") else "succeeded"), ""


def _told(outcome: str, detail: str) -> str:
    label = {**OUTCOMES, "": "matched"}[outcome]
    return f"{label}: {detail}" if detail else label


def _patiently(past: Past) -> Trial:
    for _ in range(TRIES):
        try:
            return try_rule(db.session(), past.rule, past.event)
        except Busy:
            time.sleep(BREATH * 10)
    return try_rule(db.session(), past.rule, past.event)

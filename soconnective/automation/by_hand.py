"""Rules that people run: by a button on a record's page, or on a selection of a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import g, has_request_context
from sqlalchemy import select

from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.queries import rule_in_words
from soconnective.automation.timed import addressed_event
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.events import DomainEvent, tell
from soconnective.jobs import Again, GiveUp, Job, JobKind, enqueue, register_job

BY_HAND = ".picked_by_hand"
SELECTION = "automation.run_on_selection"
SLICE = 20  # records in one transaction
MOST = 500  # records in one selection
OFF = "This rule is switched off."


def hand_rules(record_type: str) -> list[tuple[int, str]]:
    """(id, name) of the rules at work that have a button on this kind of record; read once a request."""
    kept: dict[str, list[tuple[int, str]]] = {}
    if has_request_context():
        kept = g.setdefault("hand_rules", kept)
    if record_type not in kept:
        rows = db.session.execute(
            select(Automation.id, Automation.name)
            .where(
                Automation.trigger == record_type + BY_HAND,
                Automation.is_active | Automation.is_shadow,
                Automation.deleted_at.is_(None),
            )
            .order_by(Automation.position, Automation.id)
        )
        kept[record_type] = [(row.id, row.name) for row in rows]
    return kept[record_type]


def press(rule: Automation, record_id: int) -> DomainEvent:
    """Let `rule` look at the record, as the person who asks. Raises `Refused`."""
    if not rule.looks or not rule.trigger.endswith(BY_HAND):
        raise Refused(OFF)
    event = addressed_event(rule.trigger, record_id, rule.id, current_actor())
    if event is None:
        raise Refused("The record is gone.")
    tell(db.session(), [event])
    return event


def run_of(event: DomainEvent) -> AutomationRun | None:
    """What came of it."""
    return db.session.scalars(select(AutomationRun).where(AutomationRun.event_id == event.id)).first()


def run_on(rule: Automation, ids: Sequence[int]) -> Job:
    """Let a job run `rule` on each of these records. Raises `Refused`."""
    if not rule.looks:
        raise Refused(OFF, "automation_id")
    return enqueue(SELECTION, {"automation_id": rule.id, "ids": list(dict.fromkeys(ids)), "done": 0})


@register_job
class RunOnSelection(JobKind):
    """A slice at a time, as the person who chose; records that are gone by then are passed over."""

    kind = SELECTION
    label = "Run a rule on a selection"

    def describe(self, payload: Mapping[str, Any]) -> str:
        return (
            f"{rule_in_words(payload)}, {payload.get('done', 0):,} of {len(payload.get('ids', ())):,} records"
        )

    def run(self, job: Job) -> Again | None:
        rule = db.session.get(Automation, job.payload["automation_id"])
        if rule is None or not rule.looks:
            raise GiveUp("The rule was switched off before all records were done.")
        ids, done = job.payload["ids"], job.payload["done"]
        for record_id in ids[done : done + SLICE]:
            event = addressed_event(rule.trigger, record_id, rule.id, current_actor())
            if event is not None:
                tell(db.session(), [event])
        payload = {**job.payload, "done": min(done + SLICE, len(ids))}
        if payload["done"] < len(ids):
            return Again(payload)
        job.payload = payload
        return None

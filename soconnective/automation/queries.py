"""Reads of rules and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import abort, g, url_for
from sqlalchemy import func, select, tuple_

from soconnective.automation.definition import Definition, parse
from soconnective.automation.models import Automation, AutomationDraft, AutomationRun, AutomationVersion
from soconnective.automation.registry import trigger_types
from soconnective.core import clock
from soconnective.core.counts import count_of, count_with
from soconnective.core.db import db
from soconnective.core.registry import registry
from soconnective.events import EventRow

MOST_VERSIONS = 200
FAILED = ("failed", "partly_succeeded")
NOT_ASKED = "Whoever made this change asked that no rule looks."


@dataclass
class Listed:
    """A rule as the list shows it."""

    rule: Automation
    definition: Definition
    problem: str | None
    last: AutomationRun | None
    recent: int
    has_draft: bool = False

    @property
    def sentence(self) -> str:
        return self.definition.sentence()


def get_automation(automation_id: int) -> Automation:
    """A rule that is not deleted, or 404."""
    rule = get_rule_or_draft(automation_id)
    return rule if rule.is_published else abort(404)


def get_rule_or_draft(automation_id: int) -> Automation:
    """The same, also one that nobody has published yet."""
    rule = db.session.get(Automation, automation_id)
    return rule if rule is not None and rule.deleted_at is None else abort(404)


def get_any_automation(automation_id: int) -> Automation:
    return db.session.get(Automation, automation_id) or abort(404)


def get_run(run_id: int) -> AutomationRun:
    return db.session.get(AutomationRun, run_id) or abort(404)


def listed() -> list[Listed]:
    """Every rule in the order in which they run, drafts among them; five statements however many there are."""
    rows = db.session.execute(
        select(Automation, AutomationVersion.definition)
        .outerjoin(
            AutomationVersion,
            (AutomationVersion.automation_id == Automation.id)
            & (AutomationVersion.number == Automation.definition_number),
        )
        .where(Automation.deleted_at.is_(None))
        .order_by(Automation.position, Automation.id)
    ).all()
    ids = [row[0].id for row in rows]
    since = clock.now() - timedelta(days=30)
    counts = {
        row[0]: row[1]
        for row in db.session.execute(
            select(AutomationRun.automation_id, func.count())
            .where(
                AutomationRun.automation_id.in_(ids),
                AutomationRun.started_at >= since,
                AutomationRun.outcome != "not_matched",
            )
            .group_by(AutomationRun.automation_id)
        )
    }
    last_ids = (
        select(func.max(AutomationRun.id))
        .where(AutomationRun.automation_id.in_(ids), AutomationRun.outcome != "not_matched")
        .group_by(AutomationRun.automation_id)
    )
    last = {
        run.automation_id: run
        for run in db.session.scalars(select(AutomationRun).where(AutomationRun.id.in_(last_ids)))
    }
    found = []
    drafted = {
        row.automation_id: row.definition
        for row in db.session.execute(select(AutomationDraft.automation_id, AutomationDraft.definition))
    }
    for rule, text in rows:
        definition = parse(text or drafted[rule.id])
        problems = definition.problems()
        problem = definition.broken or (problems[0][2] if problems else None)
        found.append(
            Listed(rule, definition, problem, last.get(rule.id), counts.get(rule.id, 0), rule.id in drafted)
        )
    return found


def rule_names(but: int | None = None) -> list[tuple[int, str]]:
    """(id, name) of the rules, by name, one left out."""
    rows = db.session.execute(
        select(Automation.id, Automation.name)
        .where(Automation.deleted_at.is_(None), Automation.id != (but or 0))
        .order_by(Automation.name, Automation.id)
        .limit(500)
    )
    return [(row.id, row.name) for row in rows]


def deleted() -> list[Automation]:
    """The rules deleted last, newest first: each can be taken back."""
    return list(
        db.session.scalars(
            select(Automation)
            .where(Automation.deleted_at.is_not(None))
            .order_by(Automation.deleted_at.desc(), Automation.id.desc())
            .limit(20)
        )
    )


def recent_runs(limit: int = 10, automation_id: int | None = None) -> list[AutomationRun]:
    """The newest runs that did or tried something; `not_matched` ones are on the runs page."""
    statement = select(AutomationRun).where(AutomationRun.outcome != "not_matched")
    if automation_id is not None:
        statement = statement.where(AutomationRun.automation_id == automation_id)
    return list(db.session.scalars(statement.order_by(AutomationRun.id.desc()).limit(limit)))


def subjects_of(runs: Sequence[AutomationRun]) -> dict[int, str]:
    """What each run is about, by its id: the name of its record; one statement for each kind. What is gone is left out."""
    found: dict[int, str] = {}
    for kind in {run.record_type for run in runs}:
        known = registry.record_types.get(kind)
        mine = [run for run in runs if run.record_type == kind]
        titles = known.titles({run.record_id for run in mine}) if known else {}
        found.update({run.id: titles[run.record_id] for run in mine if run.record_id in titles})
    return found


def names_of(runs: Sequence[AutomationRun]) -> dict[int | None, str]:
    """The names of the rules behind `runs`, deleted ones too."""
    ids = {run.automation_id for run in runs if run.automation_id}
    rows = (
        db.session.execute(select(Automation.id, Automation.name).where(Automation.id.in_(ids)))
        if ids
        else ()
    )
    return {None: "the engine", **{row.id: row.name for row in rows}}


def unseen_failures() -> int | None:
    """How many failed runs nobody has marked as seen (None for none)."""
    return count_of("unseen_failures") or None


def _unseen_failures() -> Any:
    if g.get("role") not in ("owner", "admin"):
        return None
    unseen = AutomationRun.outcome.in_(FAILED) & AutomationRun.seen_at.is_(None)
    return select(func.count(AutomationRun.id)).where(unseen).scalar_subquery()


count_with("unseen_failures", _unseen_failures)


def run_urls(pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """(cause event id, rule id) -> the page of the run, for entries that a rule made; one statement."""
    if not pairs:
        return {}
    rows = db.session.execute(
        select(AutomationRun.id, AutomationRun.event_id, AutomationRun.automation_id).where(
            tuple_(AutomationRun.event_id, AutomationRun.automation_id).in_(set(pairs)),
            AutomationRun.attempt == 0,
        )
    )
    return {(r.event_id, r.automation_id): url_for("automations.run", run_id=r.id) for r in rows}


def versions(automation_id: int, most: int = 20) -> list[AutomationVersion]:
    """The versions of a rule, newest first."""
    return list(
        db.session.scalars(
            select(AutomationVersion)
            .where(AutomationVersion.automation_id == automation_id)
            .order_by(AutomationVersion.number.desc())
            .limit(most)
        )
    )


def version_of(run: AutomationRun) -> AutomationVersion | None:
    return db.session.scalar(
        select(AutomationVersion).where(
            AutomationVersion.automation_id == run.automation_id,
            AutomationVersion.number == run.automation_number,
        )
    )


def neighbours(run: AutomationRun) -> tuple[int | None, int | None]:
    """The runs of the same rule before and after this one, those aside that did not match."""
    mine = (AutomationRun.automation_id == run.automation_id, AutomationRun.outcome != "not_matched")
    if run.automation_id is None:
        return None, None
    before = db.session.scalar(select(func.max(AutomationRun.id)).where(*mine, AutomationRun.id < run.id))
    after = db.session.scalar(select(func.min(AutomationRun.id)).where(*mine, AutomationRun.id > run.id))
    return before, after


@dataclass
class Link:
    """One link of a cause chain: an event, and the run that made it (None at the person's end)."""

    event: EventRow
    run: AutomationRun | None


def causes(event_id: int) -> list[Link]:
    """From `event_id` back to the root, each event with the run that made it. Bounded by the chain depth."""
    chain: list[Link] = []
    current: int | None = event_id
    while current is not None and len(chain) < 80:
        event = db.session.get(EventRow, current)
        if event is None:
            break
        made_by = None
        if event.parent_id is not None and event.actor_kind == "automation":
            made_by = db.session.scalars(
                select(AutomationRun)
                .where(
                    AutomationRun.event_id == event.parent_id,
                    AutomationRun.automation_id == event.actor_id,
                    AutomationRun.started_at <= event.occurred_at,
                )
                .order_by(AutomationRun.attempt.desc())
            ).first()
        chain.append(Link(event, made_by))
        current = event.parent_id
    return chain


def caused_by(run: AutomationRun) -> list[EventRow]:
    """What the run changed: the events below its event that its rule acted in, between this attempt and the next."""
    next_one = db.session.scalar(
        select(func.min(AutomationRun.started_at)).where(
            AutomationRun.event_id == run.event_id,
            AutomationRun.automation_id == run.automation_id,
            AutomationRun.attempt > run.attempt,
        )
    )
    statement = select(EventRow).where(
        EventRow.parent_id == run.event_id,
        EventRow.actor_kind == "automation",
        EventRow.actor_id == run.automation_id,
        EventRow.occurred_at >= run.started_at,
    )
    if next_one is not None:
        statement = statement.where(EventRow.occurred_at < next_one)
    return list(db.session.scalars(statement.order_by(EventRow.id).limit(100)))


def attempts_of(run: AutomationRun) -> list[AutomationRun]:
    """Every attempt of the same rule at the same event, the live one first."""
    if run.automation_id is None:
        return [run]
    return list(
        db.session.scalars(
            select(AutomationRun)
            .where(AutomationRun.event_id == run.event_id, AutomationRun.automation_id == run.automation_id)
            .order_by(AutomationRun.attempt)
        )
    )


@dataclass
class Why:
    name: str
    automation_id: int | None  # None: the engine itself, before it got to a rule
    looked: AutomationRun | None
    reason: str


def why(event: EventRow) -> list[Why]:
    """Every rule about this kind of record: what it said of the event, or why it did not look."""
    triggers = [name for name, cls in trigger_types().items() if cls.record_type == event.record_type]
    runs = {
        run.automation_id: run
        for run in db.session.scalars(select(AutomationRun).where(AutomationRun.event_id == event.id))
    }
    looked = [rule_id for rule_id in runs if rule_id is not None]  # their trigger may be another one now
    rules = db.session.scalars(
        select(Automation)
        .where(Automation.trigger.in_(triggers) | Automation.id.in_(looked))
        .order_by(Automation.id.in_(looked).desc(), Automation.position, Automation.id)
        .limit(200)
    ).all()
    found = [Why("the engine", None, runs[None], "")] if None in runs else []
    for rule in rules:
        run = runs.get(rule.id)
        deleted_at = rule.deleted_at
        if run is None and deleted_at and (rule.trigger != event.name or deleted_at < event.occurred_at):
            continue
        is_meant = event.snapshot.get("rule_id", rule.id) == rule.id or rule.trigger != event.name
        reason = _why_not(rule, event) if is_meant else "This was meant for another rule alone."
        reason = NOT_ASKED if event.rules == "skip" else reason
        found.append(Why(rule.name, rule.id, run, "" if run else reason))
    return found


def _why_not(rule: Automation, event: EventRow) -> str:
    if rule.trigger != event.name:
        label = trigger_types()[rule.trigger].label
        return f"It waits for something else: {label}."
    if rule.created_at > event.occurred_at:
        return "It is newer than this change."
    if rule.deleted_at is not None:
        return "It has been deleted since."
    if rule.activated_at is None or not rule.is_active:
        return _why_off(rule)
    if rule.activated_at > event.occurred_at:
        return "It was switched on after this change."
    return "Its run is no longer kept, or it was changed since."


def _why_off(rule: Automation) -> str:
    if rule.paused_at:
        return f"It is paused: {rule.paused_why}."
    now = "in the shadow" if rule.is_shadow else "switched off"
    was_never_on = rule.activated_at is None and not rule.is_shadow
    return f"It is {now}." if was_never_on else f"It is {now} now; it may have been off then."


def rule_in_words(payload: Mapping[str, Any], more: str = "") -> str:
    """The rule of a job, with `more` behind its name, for the lists of jobs."""
    rule = db.session.get(Automation, payload.get("automation_id") or 0)
    return f"“{rule.name}”{more}" if rule else "a rule that is gone"

"""Every write to a rule. Each save keeps its version; deleting hides the rule and keeps its history."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import func, select

from soconnective.automation.definition import Definition, build, parse
from soconnective.automation.due_plan import rule_changed
from soconnective.automation.keys import free_key
from soconnective.automation.models import (
    Automation,
    AutomationRun,
    AutomationStep,
    AutomationVersion,
)
from soconnective.automation.switching import finish_held, switch
from soconnective.core import clock
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused


def create_automation(definition: Definition, is_active: bool = False) -> Automation:
    """A new rule, last in order; raises `Refused` when the definition does not make sense."""
    _require_sense(definition)
    rule = fresh_rule(definition.name)
    rule.key = free_key(definition.name)
    _apply(rule, definition)
    if is_active:
        switch(rule, "on")
    db.session.add(rule)
    db.session.flush()
    _write_steps(rule, definition)
    _keep_version(rule, definition)
    rule_changed(rule)
    return rule


def fresh_rule(name: str) -> Automation:
    """The row of a new rule, last in order, made by whoever acts now. It does nothing yet."""
    last = db.session.scalar(select(func.max(Automation.position)))
    actor = current_actor()
    return Automation(
        name=name,
        trigger="",
        position=(last or 0) + 1,
        created_by_kind=actor.kind,
        created_by_id=actor.id,
        created_by_name=actor.name,
        definition_number=0,
    )


def update_automation(rule: Automation, definition: Definition, is_active: bool | None = None) -> Automation:
    """Save `rule` anew. What it does gets a new number only if it does something else than before."""
    _require_sense(definition)
    before, trigger_before, marks = current_version(rule), rule.trigger, {}
    settings_before = rule.trigger_settings
    _apply(rule, definition)
    if rule.off_since and (rule.trigger, rule.trigger_settings) != (trigger_before, settings_before):
        rule.off_since = clock.now()  # what it was due for until now was something else
    if is_active is not None and is_active != rule.is_active:
        marks = switch(rule, "on" if is_active else "off")
    if before is None or parse(before.definition).to_text() != definition.to_text():
        for step in _steps_of(rule):
            db.session.delete(step)
        db.session.flush()
        _write_steps(rule, definition)
        _keep_version(rule, definition)
    rule_changed(rule, trigger_before, **marks)
    return rule


def set_active(rule: Automation, is_active: bool) -> Automation:
    """Switch a rule on or off. One that is broken cannot be switched on."""
    return set_state(rule, "on" if is_active else "off")


def set_state(rule: Automation, state: str) -> Automation:
    """Switch a rule "off", into the "shadow" or "on". One that is broken, or only a draft, can only be off."""
    if not rule.is_published:
        raise Refused("This is a draft. Publish it, then it can be switched on.")
    if state != "off":
        _require_sense(definition_of(rule))
    rule_changed(rule, **switch(rule, state))
    return rule


def let_finish(rule: Automation) -> Automation:
    """Let go on what a paused rule holds; the rule itself is off then. Raises `Refused` if it holds nothing."""
    if rule.paused_at is None:
        raise Refused("The rule is not paused any more: what waits goes on by itself.")
    rule_changed(rule, **finish_held(rule))
    return rule


def duplicate_automation(rule: Automation) -> Automation:
    """A copy, switched off, named "... (copy)"."""
    old = definition_of(rule)
    copy = replace(old, name=f"{old.name[:110]} (copy)")
    fresh = fresh_rule(copy.name)
    fresh.key = free_key(copy.name)
    _apply(fresh, copy)
    db.session.add(fresh)
    db.session.flush()
    _write_steps(fresh, copy)
    _keep_version(fresh, copy)
    return fresh


def delete_automation(rule: Automation) -> None:
    """Hide the rule and switch it off; its versions and runs stay."""
    switch(rule, "off")
    rule.deleted_at = clock.now()
    rule_changed(rule)


def restore_automation(rule: Automation) -> None:
    """Take a deletion back; the rule stays switched off."""
    rule.deleted_at = None


def move_automation(rule: Automation, step: int) -> None:
    """Change the order in which rules run: `step` -1 is earlier, 1 later."""
    rules = list(
        db.session.scalars(
            select(Automation)
            .where(Automation.deleted_at.is_(None))
            .order_by(Automation.position, Automation.id)
        )
    )
    here = rules.index(rule)
    there = here + step
    if 0 <= there < len(rules):
        rules[here], rules[there] = rules[there], rules[here]
        for position, other in enumerate(rules, start=1):
            if other.position != position:
                other.position = position


def mark_failures_seen() -> int:
    """Note that somebody has looked at the failed runs; returns how many were new."""
    failed = db.session.scalars(
        select(AutomationRun).where(
            AutomationRun.outcome.in_(("failed", "partly_succeeded")), AutomationRun.seen_at.is_(None)
        )
    ).all()
    for run in failed:
        run.seen_at = clock.now()
    return len(failed)


def rewrite(rule: Automation, definition: Definition) -> None:
    """A new version of what `rule` does, made because something that it names goes; not asked whether it makes sense."""
    _apply(rule, definition)
    for step in _steps_of(rule):
        db.session.delete(step)
    db.session.flush()
    _write_steps(rule, definition)
    _keep_version(rule, definition)


def current_version(rule: Automation) -> AutomationVersion | None:
    return db.session.scalar(
        select(AutomationVersion).where(
            AutomationVersion.automation_id == rule.id, AutomationVersion.number == rule.definition_number
        )
    )


def definition_of(rule: Automation) -> Definition:
    """What the rule does now, read from its steps."""
    from_steps = [(s.kind, s.settings, {"off": s.is_off, "note": s.note}) for s in _steps_of(rule)]
    return build(rule.name, rule.trigger, rule.trigger_settings, from_steps, rule.on_failure, rule.conditions)


def _steps_of(rule: Automation) -> list[AutomationStep]:
    return list(
        db.session.scalars(
            select(AutomationStep)
            .where(AutomationStep.automation_id == rule.id)
            .order_by(AutomationStep.position)
        )
    )


def _apply(rule: Automation, definition: Definition) -> None:
    rule.name = definition.name
    rule.trigger = definition.trigger.type_id
    rule.trigger_settings = definition.trigger.stored()
    rule.on_failure = definition.on_failure
    rule.conditions = definition.conditions.stored()
    rule.updated_at = clock.now()


def _write_steps(rule: Automation, definition: Definition) -> None:
    for position, step in enumerate(definition.steps):
        db.session.add(
            AutomationStep(
                automation_id=rule.id,
                position=position,
                kind=step.type_id,
                settings=step.stored(),
                is_off=step.is_off or None,
                note=step.note or None,
            )
        )


def _keep_version(rule: Automation, definition: Definition) -> None:
    actor = current_actor()
    rule.definition_number += 1
    db.session.add(
        AutomationVersion(
            automation_id=rule.id,
            number=rule.definition_number,
            definition=definition.to_text(),
            sentence=definition.sentence(),
            saved_by_kind=actor.kind,
            saved_by_id=actor.id,
            saved_by_name=actor.name,
        )
    )
    db.session.flush()


def _require_sense(definition: Definition) -> None:
    for path, field, message in definition.problems():
        where = path if path in ("trigger", "if") else f"steps-{path}"
        raise Refused(message, f"{where}-{field}" if field else where)
    if not definition.steps:
        raise Refused("A rule needs at least one action.", "steps")

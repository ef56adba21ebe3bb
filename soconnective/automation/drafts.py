"""Drafts: what somebody is making of a rule. The published version goes on working until the draft takes its place.

A new rule can be a draft, too: its row names no trigger, no version and no key, so that nothing which looks for
rules to run, to write as text or to compare finds it before it is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm.attributes import flag_modified

from soconnective.automation.contracts import Action
from soconnective.automation.definition import Definition, parse
from soconnective.automation.keys import free_key
from soconnective.automation.models import Automation, AutomationDraft, AutomationVersion
from soconnective.automation.operations import (
    definition_of,
    delete_automation,
    duplicate_automation,
    fresh_rule,
    update_automation,
)
from soconnective.core import clock
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused

MOST_STEPS = 50


def draft_of(rule: Automation) -> AutomationDraft | None:
    return db.session.scalars(
        select(AutomationDraft).where(AutomationDraft.automation_id == rule.id)
    ).one_or_none()


def in_the_making(rule: Automation) -> Definition:
    """What the builder shows: the draft, if there is one, else what the rule does."""
    draft = draft_of(rule)
    return parse(draft.definition) if draft else definition_of(rule)


def begin_draft(definition: Definition) -> Automation:
    """A new rule that is only a draft: it stands in the list, and does nothing until it is published."""
    rule = fresh_rule(definition.name)
    db.session.add(rule)
    db.session.flush()
    save_draft(rule, definition)
    return rule


def save_draft(rule: Automation, definition: Definition) -> AutomationDraft:
    """Keep `definition` beside the rule. It need not make sense yet: that is looked at when it is published."""
    if rule.deleted_at is not None:
        raise Refused("The rule was deleted. Take the deletion back first.")
    draft = draft_of(rule)
    if draft is None:
        draft = AutomationDraft(automation_id=rule.id)
        db.session.add(draft)
    actor = current_actor()
    draft.definition = definition.to_text()
    draft.saved_at = clock.now()
    if not rule.is_published:
        rule.name = definition.name
    draft.saved_by_kind, draft.saved_by_id, draft.saved_by_name = actor.kind, actor.id, actor.name
    _touch(rule)
    return draft


def publish(rule: Automation, definition: Definition, is_active: bool | None = None) -> Automation:
    """Make `definition` what the rule does; a draft has served its purpose then."""
    update_automation(rule, definition, is_active)
    if rule.key is None:
        rule.key = free_key(definition.name)
    draft = draft_of(rule)
    if draft is not None:
        db.session.delete(draft)
    return rule


def publish_draft(rule: Automation) -> Automation:
    """Make the draft what the rule does. Raises `Refused` when it does not make sense yet."""
    return publish(rule, parse(_require_draft(rule).definition))


def discard_draft(rule: Automation) -> None:
    """A rule that is nothing but this draft is deleted, and can be taken back as any other."""
    draft = _require_draft(rule)
    if not rule.is_published:
        return delete_automation(rule)
    db.session.delete(draft)
    _touch(rule)
    return None


def duplicate(rule: Automation) -> Automation:
    """A copy, switched off; of a draft another draft."""
    if rule.is_published:
        return duplicate_automation(rule)
    made = in_the_making(rule)
    return begin_draft(replace(made, name=f"{made.name[:110]} (copy)"))


def restore_version(rule: Automation, number: int) -> Automation:
    """A new version that does what version `number` did. A draft stays beside it."""
    version = db.session.scalars(
        select(AutomationVersion).where(
            AutomationVersion.automation_id == rule.id, AutomationVersion.number == number
        )
    ).one_or_none()
    if version is None:
        raise Refused("The rule has no such version.")
    if number == rule.definition_number:
        raise Refused("This version is what the rule does now.")
    return update_automation(rule, parse(version.definition))


def add_to_draft(rule: Automation, steps: Sequence[Action]) -> AutomationDraft:
    """Put copies of `steps` at the end of what is in the making of a rule."""
    definition = in_the_making(rule)
    if len(definition.steps) + len(steps) > MOST_STEPS:
        raise Refused(f"“{rule.name}” has no room left: a rule has at most {MOST_STEPS} steps.")
    return save_draft(rule, replace(definition, steps=(*definition.steps, *steps)))


def _require_draft(rule: Automation) -> AutomationDraft:
    draft = draft_of(rule)
    if draft is None:
        raise Refused("There is no draft any more: somebody has published or discarded it.")
    return draft


def _touch(rule: Automation) -> None:
    """Count the rule's version up, so that two people who write at once notice each other."""
    rule.updated_at = clock.now()
    flag_modified(rule, "updated_at")

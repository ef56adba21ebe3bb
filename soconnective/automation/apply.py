"""Applying a rule to what exists already: each matching record is told to that rule, and it runs as for any event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.contracts import Trigger
from soconnective.automation.definition import Definition, parse
from soconnective.automation.models import Automation
from soconnective.automation.operations import definition_of
from soconnective.automation.registry import register_trigger
from soconnective.automation.sweep_models import Sweep
from soconnective.automation.sweeps import begin, end, held, sweeps_of
from soconnective.core import clock
from soconnective.core.access import current_actor
from soconnective.core.conditions import Now, where
from soconnective.core.conditions.evaluate import CannotTell
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.registry import RecordType, registry
from soconnective.core.tenancy import current_tenant_id
from soconnective.core.workspace import current_workspace
from soconnective.events import DomainEvent, declare, snapshot_now, tell, watches_of
from soconnective.jobs import Again, Job, JobKind, register_job

AT_ONCE = 20  # records in one transaction


class ByHand(Trigger):
    """Nobody chooses it in the builder: the event is addressed to a rule, whatever its own trigger is."""

    is_offered: ClassVar[bool] = False
    is_addressed = True
    label, icon = "the rule is applied to it by hand", "player-play"

    def heard(self) -> Sequence[str]:
        """No change starts it."""
        return ()


def offer_by_hand() -> None:
    """Declare the event, with its trigger, for each kind of record that rules can be about."""
    for kind in registry.record_types.values():
        if not watches_of(kind.name):
            continue
        name = _event_name(kind)
        declare(
            name,
            kind.name,
            "Rule applied",
            sent_when="Somebody applied one rule to records that exist already, and this was one of them.",
            not_when="Not when the rule runs because of something that happened.",
        )
        parts = {"type_id": name, "record_type": kind.name, "group": kind.plural}
        register_trigger(type(f"{kind.name.capitalize()}RuleApplied", (ByHand,), parts))


def _event_name(kind: RecordType) -> str:
    return f"{kind.name}.rule_applied"


def why_not(rule: Automation, definition: Definition) -> str | None:
    """Why a rule cannot be applied to existing records, or None."""
    if definition.broken:
        return f"It cannot be applied: {definition.broken}."
    if definition.scope.is_gone:
        return "It is about records that were deleted: there is nothing left to apply it to."
    if definition.scope.record_type not in registry.record_types:
        return "It is about no kind of record."
    try:
        matching(definition)
    except CannotTell as error:
        return f"Its conditions cannot be asked of records as they are: {error}."
    if rule.state == "off":
        return "It is switched off. Switch it on first, or into the shadow to only see what it would do."
    return None


def matching(definition: Definition) -> Select[Any]:
    """The ids of the records that the conditions hold for now. Raises `CannotTell`."""
    kind = registry.record_types[definition.scope.record_type or ""]
    now = Now(clock.now(), current_workspace().timezone)
    return select(kind.model.id).where(where(definition.conditions.tree, definition.conditions.fields, now))


def preview(definition: Definition, limit: int = 20) -> tuple[int, list[tuple[int, str]]]:
    """How many records match now, and the first of them as (id, name)."""
    kind = registry.record_types[definition.scope.record_type or ""]
    ids = matching(definition)
    total = db.session.scalar(select(func.count()).select_from(ids.subquery())) or 0
    first = list(db.session.scalars(ids.order_by(kind.model.id).limit(limit)))
    titles = kind.titles(first)
    return total, [(record_id, titles[record_id]) for record_id in first]


def start_applying(rule: Automation) -> Sweep:
    """Begin to apply `rule`, as it is now, to the records that match and exist now. Raises `Refused`.

    While that goes on, asking again leads to the same.
    """
    definition = definition_of(rule)
    if reason := why_not(rule, definition):
        raise Refused(reason)
    if (last := sweeps_of(rule.id, "apply", 1)) and last[0].state == "running":
        return last[0]
    found = matching(definition).subquery()
    total, last = db.session.execute(select(func.count(), func.max(found.c.id)).select_from(found)).one()
    if not total:
        raise Refused("No record matches its conditions now.")
    return begin(Apply.kind, "apply", definition, rule, asked="existing records", total=total, until_id=last)


@register_job
class Apply(JobKind):
    """A few records in each transaction, each an event of its own, addressed to the rule."""

    kind = "automation.apply"
    label = "Apply a rule to existing records"

    def describe(self, payload: Mapping[str, Any]) -> str:
        sweep = db.session.get(Sweep, payload.get("sweep_id") or 0)
        return parse(sweep.definition).name if sweep else "a rule that is gone"

    def run(self, job: Job) -> Again | None:
        sweep = held(job.payload["sweep_id"])
        if sweep is None:
            return None
        rule = db.session.get(Automation, sweep.automation_id)
        if rule is None or rule.deleted_at or rule.state == "off" or rule.definition_number != sweep.number:
            end(sweep, "failed", "The rule was changed, switched off or deleted meanwhile.")
            return None
        definition = parse(sweep.definition)
        kind = registry.record_types[definition.scope.record_type or ""]
        ids = list(
            db.session.scalars(
                matching(definition)
                .where(kind.model.id > sweep.last_id, kind.model.id <= sweep.until_id)
                .order_by(kind.model.id)
                .limit(AT_ONCE)
            )
        )
        _tell(db.session(), rule.id, kind, ids)
        sweep.done += len(ids)
        if len(ids) < AT_ONCE:
            end(sweep, "done")
            return None
        sweep.last_id = ids[-1]
        return Again(job.payload)

    def gave_up(self, job: Job, reason: str) -> None:
        sweep = held(job.payload["sweep_id"])
        if sweep is not None:
            end(sweep, "failed", reason)


def _tell(session: OrmSession, rule_id: int, kind: RecordType, ids: list[int]) -> None:
    events = []
    for record_id in ids:
        snapshot = snapshot_now(kind.name, record_id)
        if snapshot is not None:
            events.append(
                DomainEvent(
                    _event_name(kind),
                    current_tenant_id(),
                    kind.name,
                    record_id,
                    current_actor(),
                    clock.now(),
                    {},
                    snapshot,
                    ((kind.name, record_id),),
                    rule_id=rule_id,
                )
            )
    tell(session, events)

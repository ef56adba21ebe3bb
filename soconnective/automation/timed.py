"""Triggers that no change starts: what is declared for a kind of record, and what such a trigger must say.

    register_timed("deal", "a deal", "Deals")

Their events are addressed to one rule (`DomainEvent.rule_id`), carry the record as it is now, and are told by
whoever finds that it is time: a due row, a schedule, a person's button, another rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from soconnective.automation.contracts import Check, Trigger, Verdict
from soconnective.automation.registry import trigger_types
from soconnective.core import clock
from soconnective.core.access import Actor
from soconnective.core.db import plain
from soconnective.core.formats import datetime_text
from soconnective.core.tenancy import current_tenant_id
from soconnective.core.workhours import WorkHours
from soconnective.events import DomainEvent, declare, snapshot_now

LATE = timedelta(minutes=2)  # the scheduler looks every half minute; what comes later than this says so
Due = tuple[str, datetime]  # the value it is due for, and the moment


class Addressed(Trigger):
    """Its events are meant for one rule each."""

    is_addressed = True
    article: ClassVar[str]  # "a deal"

    def heard(self) -> Sequence[str]:
        """No change starts it."""
        return ()

    def match(self, event: DomainEvent) -> Verdict:
        planned = event.snapshot.get("due_at")
        if not planned:
            return Verdict(True)
        at = datetime.fromisoformat(planned)
        late = event.occurred_at - at
        came = f"{datetime_text(event.occurred_at)}, {span_text(late)} late" if late > LATE else "on time"
        return Verdict(True, (Check("due", "Due", datetime_text(at), came, True),))


class Timed(Addressed):
    """An addressed trigger that is due at a moment which can be planned for each record."""

    def due(self, value: Any, hours: WorkHours) -> datetime | None:
        """When a record with this value (the date, the moment of the last activity) is due; None for never."""
        raise NotImplementedError


class PickedByHand(Addressed):
    def describe(self) -> str:
        return f"somebody presses this rule's button on {self.article}"


class RuleStarted(Addressed):
    def describe(self) -> str:
        return f"another rule starts this one on {self.article}"


def declare_timed(name: str, record_type: str, article: str) -> None:
    """The event that `name` means for a kind of record."""
    title, sent_when, not_when = _FACTS[name]
    declare(
        f"{record_type}.{name}",
        record_type,
        title,
        sent_when=sent_when.format(article),
        not_when=not_when.format(article),
    )


def made(
    base: type[Addressed], name: str, record_type: str, article: str, group: str, icon: str, label: str
) -> Any:
    """The trigger class of one kind of record, its event declared."""
    declare_timed(name, record_type, article)
    parts = {
        "type_id": f"{record_type}.{name}",
        "record_type": record_type,
        "article": article,
        "label": label,
        "group": group,
        "icon": icon,
    }
    return type(f"{record_type.capitalize()}{base.__name__}", (base,), parts)


def addressed_event(
    name: str,
    record_id: int,
    rule_id: int,
    actor: Actor,
    due_at: datetime | None = None,
    is_shown: bool = True,
) -> DomainEvent | None:
    """The event that lets rule `rule_id` look at a record as it is now; None if the record is gone."""
    record_type = name.partition(".")[0]
    snapshot = snapshot_now(record_type, record_id)
    if snapshot is None:
        return None
    now = clock.now()
    snapshot = {**snapshot, "rule_id": rule_id, **({"due_at": plain(due_at)} if due_at else {})}
    is_late = due_at is not None and now - due_at > LATE
    return DomainEvent(
        name,
        current_tenant_id(),
        record_type,
        record_id,
        actor,
        now,
        {"due_at": [plain(due_at), plain(now)]} if is_late else {},
        snapshot,
        ((record_type, record_id),) if is_shown else (),
        rule_id=rule_id,
    )


def below(event: DomainEvent, cause: DomainEvent) -> DomainEvent:
    """`event` as caused by a rule that looked at `cause`."""
    return replace(event, parent_id=cause.id, root_id=cause.root_id or cause.id, depth=cause.depth + 1)


def schedule_actor(rule_id: int, name: str) -> Actor:
    return Actor("schedule", rule_id, f"Schedule of “{name}”")


def names_ending(ending: str, record_types: Iterable[str]) -> list[str]:
    """The triggers of one sort that exist for these kinds of record."""
    known = trigger_types()
    return [name for kind in sorted(record_types) if (name := f"{kind}.{ending}") in known]


def span_text(span: timedelta) -> str:
    """A length of time in its two largest units: "2 d 3 h"."""
    minutes = max(int(span.total_seconds() // 60), 0)
    parts = [(minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min")]
    return " ".join(f"{number} {unit}" for number, unit in [part for part in parts if part[0]][:2]) or "0 min"


_FACTS = {
    "date_reached": (
        "Date reached",
        "The moment that a rule counts from a date of {} has come. It is addressed to that rule; its timeline shows it.",
        "Not for a moment that was over when the date was set or the rule switched on; not twice for one value of it.",
    ),
    "went_silent": (
        "No activity",
        "Nothing has happened to {} for as long as a rule says. It is addressed to that rule; its timeline shows it.",
        "Once for each silence: what rules do does not end it. Not for one that was over when the rule was switched on.",
    ),
    "schedule_due": (
        "Schedule due",
        "The schedule of a rule is due, once for {} that fits its conditions. It is addressed to that rule.",
        "It is not shown on timelines: what the rule does is. Missed times come once, late; not for other rules.",
    ),
    "picked_by_hand": (
        "Rule run by hand",
        "Somebody pressed a rule's button on {}, alone or among a selection; or a rule started it. Its timeline shows it.",
        "Not for other rules; not if the rule was switched off meanwhile.",
    ),
    "rule_started": (
        "Started by a rule",
        "A step of another rule started a rule on {}. It is addressed to that rule.",
        "It is not shown on timelines: what the rule does is. Not for other rules.",
    ),
}

"""The circuit breaker: pauses a rule that runs away or only fails, with the cause, until somebody resumes it.

It counts what is stored (one indexed query for each event that some rule is due for; one more when a run
failed) and adds what this transaction did, which is not stored yet. It never stops the run that tripped it: that
one is kept, and from the next event on the rule is seen as paused. Only runs since the rule was last switched
on count, so that resuming starts anew. What a person, a date or a schedule asks for runs as often as it is asked, once
for each record; only what comes of that by itself is counted. Whatever goes wrong in here, rules and saves go on without it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import bindparam, case, exists, func, or_, select
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.candidates import Rule
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.registry import trigger_types
from soconnective.automation.trace import Run
from soconnective.automation.trouble import Pause
from soconnective.core import clock
from soconnective.core.db import require_alive, savepoint
from soconnective.core.registry import registry
from soconnective.events import DomainEvent, EventRow

log = logging.getLogger(__name__)
MINUTE = timedelta(minutes=1)
LONGEST = 500
ACTED = ("succeeded", "partly_succeeded", "failed", "waiting")
GOOD = ("succeeded", "partly_succeeded")
_a: Any = Automation.__table__.c
_r: Any = AutomationRun.__table__.c
_e: Any = EventRow.__table__.c


@dataclass(frozen=True, slots=True)
class Limits:
    """More runs of a rule within a minute, or as many failures one after the other, pause it. 0 is no limit."""

    per_minute: int = 0
    per_record: int = 0
    failures: int = 0


OFF = Limits()

_since_on = or_(_a.activated_at.is_(None), _r.started_at >= _a.activated_at)
_is_rule = (_a.tenant_id == _r.tenant_id) & (_a.id == _r.automation_id)
_is_record = (_r.record_type == bindparam("kind")) & (_r.record_id == bindparam("record"))
_lately = (
    select(_r.automation_id, func.count(), func.sum(case((_is_record, 1), else_=0)))
    .join_from(AutomationRun.__table__, Automation.__table__, _is_rule)
    .where(
        _r.tenant_id == bindparam("tenant"),
        _r.automation_id.in_(bindparam("rules", expanding=True)),
        _r.outcome.in_(ACTED),
        _r.started_at > bindparam("since"),
        _since_on,
    )
    .group_by(_r.automation_id)
)
_uncalled = _lately.where(  # without those that were asked for, one for each record
    ~exists().where(
        _e.tenant_id == _r.tenant_id,
        _e.id == _r.event_id,
        _e.parent_id.is_(None),
        _e.name.in_(bindparam("asked", expanding=True)),
    )
)


def _last(outcome: str) -> Any:
    """When a rule's last run of `outcome` began: the end of an index."""
    mine = (_r.tenant_id == bindparam("tenant")) & (_r.automation_id == bindparam("rule"))
    last = select(_r.started_at).where(mine, _r.outcome == outcome)
    return last.order_by(_r.started_at.desc()).limit(1).scalar_subquery()


_last_good = select(*(_last(outcome) for outcome in GOOD))
_failed = (
    select(_r.id)
    .join_from(AutomationRun.__table__, Automation.__table__, _is_rule)
    .where(
        _r.tenant_id == bindparam("tenant"),
        _r.automation_id == bindparam("rule"),
        _r.outcome == "failed",
        _r.started_at > bindparam("after"),
        _since_on,
    )
    .limit(bindparam("most"))
)
_BEGINNING = datetime.fromisoformat("1900-01-01T00:00:00+00:00")


@dataclass(slots=True)
class Breaker:
    """What one transaction knows of how often its rules ran and failed."""

    session: OrmSession
    tenant_id: int
    limits: Limits = OFF
    tripped: dict[int, str] = field(default_factory=dict)  # rules paused in this transaction, and why
    _event: DomainEvent | None = None
    _rules: Sequence[Rule] = ()
    _stored: dict[int, tuple[int, int]] | None = None  # of this event: runs, runs for its record
    _runs: Counter[int] = field(default_factory=Counter)
    _records: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    _streaks: dict[int, int] = field(default_factory=dict)

    def expect(self, event: DomainEvent, rules: Sequence[Rule]) -> None:
        """These rules are about to look at this event."""
        self._event, self._rules, self._stored = event, rules, None

    def admit(self, rule: Rule) -> str | None:
        """Why `rule` is paused, or None: then it runs for the event, and that is counted."""
        if self.limits is OFF or not (self._event and rule.id not in self.tripped):
            return self.tripped.get(rule.id)
        self._try(self._count, self._event, rule)
        return None

    def _count(self, event: DomainEvent, rule: Rule) -> None:
        limits = self.limits
        is_asked = event.rule_id is not None and event.parent_id is None
        if (limits.per_minute or limits.per_record) and not is_asked:
            record = (rule.id, event.record_type, event.record_id)
            if self._stored is None:
                self._stored = self._lately(event, _lately, self._rules)
            self._runs[rule.id] += 1
            self._records[record] += 1
            runs, same = self._stored.get(rule.id, (0, 0))
            if (limits.per_minute and runs + self._runs[rule.id] > limits.per_minute) or (
                limits.per_record and same + self._records[record] > limits.per_record
            ):  # hardly ever: only now is it worth a closer look
                runs, same = self._lately(event, _uncalled, [rule]).get(rule.id, (0, 0))
            if limits.per_minute and runs + self._runs[rule.id] > limits.per_minute:
                self._trip(rule.id, f"it ran more than {limits.per_minute} times within a minute")
            elif limits.per_record and same + self._records[record] > limits.per_record:
                kind = registry.record_types[event.record_type].label.lower()
                self._trip(
                    rule.id, f"it ran more than {limits.per_record} times within a minute for the same {kind}"
                )

    def _lately(
        self, event: DomainEvent, statement: Any, rules: Sequence[Rule]
    ) -> dict[int, tuple[int, int]]:
        asked = {
            "tenant": self.tenant_id,
            "rules": [rule.id for rule in rules],
            "kind": event.record_type,
            "record": event.record_id,
            "since": clock.now() - MINUTE,
        }
        if statement is _uncalled:
            asked["asked"] = [name for name, cls in trigger_types().items() if cls.is_addressed]
        return {row[0]: (row[1], row[2]) for row in self.session.connection().execute(statement, asked)}

    def saw(self, runs: Sequence[Run]) -> None:
        """How runs of an event came out: failures one after the other add up."""
        for run in runs:
            if not self.limits.failures or run.automation_id is None or run.automation_id in self.tripped:
                continue
            if run.outcome in GOOD:
                self._streaks[run.automation_id] = 0
            elif run.outcome == "failed":
                self._try(self._failed_again, run.automation_id, run.detail)

    def _failed_again(self, rule_id: int, detail: str) -> None:
        most = self.limits.failures
        before = self._streaks.get(rule_id)
        if before is None:
            before = streak(self.session, self.tenant_id, rule_id, most)
        self._streaks[rule_id] = before + 1
        if before + 1 >= most:
            self._trip(rule_id, _said_of_streak(most, detail))

    def _trip(self, rule_id: int, why: str) -> None:
        self.tripped[rule_id] = why

    def _try(self, count: Callable[..., None], *args: Any) -> None:
        """What cannot be counted stops nobody: for the rest of this transaction there is no limit."""
        try:
            count(*args)
        except Exception:
            log.exception("the breaker cannot count; rules go on without it")
            self.limits = OFF
            require_alive(self.session)


def none() -> Breaker:
    """One that never trips: it asks nothing."""
    return Breaker(cast("OrmSession", None), 0)


def streak(session: OrmSession, tenant_id: int, rule_id: int, most: int) -> int:
    """How many of a rule's stored runs failed since the last good one, counted to `most`."""
    asked = {"tenant": tenant_id, "rule": rule_id}
    good = session.connection().execute(_last_good, asked).one()
    after = max((moment for moment in good if moment is not None), default=_BEGINNING)
    rows = session.connection().execute(_failed, {**asked, "after": after, "most": most})
    return len(rows.all())


def look_at_streak(session: OrmSession, tenant_id: int, rule_id: int, most: int, detail: str) -> list[Pause]:
    """For a run that failed later, in its job, and is stored: pause its rule if it is one too many."""
    try:
        if not most or streak(session, tenant_id, rule_id, most) < most:
            return []
    except Exception:
        log.exception("the breaker cannot count; the rule goes on")
        require_alive(session)
        return []
    return pause(session, {rule_id: _said_of_streak(most, detail)})


def _said_of_streak(most: int, detail: str) -> str:
    why = f"its last {most} runs failed, the last one with: {detail}" if most > 1 else f"it failed: {detail}"
    return why[:LONGEST].rstrip(". ")  # it is told within a sentence


def pause(session: OrmSession, tripped: dict[int, str]) -> list[Pause]:
    """Switch the rules off, with the cause; returns those that were still on. A failure is logged, no more."""
    done = []
    for rule_id, why in tripped.items():
        try:
            with savepoint(session):
                rule = session.get(Automation, rule_id, populate_existing=True)
                if rule is not None and rule.is_active and rule.deleted_at is None:
                    rule.is_active, rule.paused_at, rule.paused_why = False, clock.now(), why
                    session.flush()
                    done.append(Pause(rule_id, why))
        except Exception:
            log.exception("rule %s could not be paused; it goes on", rule_id)
            require_alive(session)
    return done

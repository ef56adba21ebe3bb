"""Tells people of rules that failed or were paused: once for each cause, and not again for a day."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.trouble import Failure, Pause, on_trouble
from soconnective.notifications.audience import admins, answerable_for
from soconnective.notifications.kinds import Kind, register_kind
from soconnective.notifications.operations import notify

FAILED = Kind(
    "rule_failed",
    "A rule failed",
    "When a run of a rule of yours fails: once for each cause, and at most once a day.",
    "alert-triangle",
)
PAUSED = Kind(
    "rule_paused",
    "A rule was paused",
    "When a rule of yours runs away, or only fails, and is paused.",
    "player-pause",
)
AGAIN = timedelta(days=1)
_r: Any = AutomationRun.__table__.c


def tell(session: OrmSession, failures: Sequence[Failure], pauses: Sequence[Pause]) -> None:
    """An observer of trouble. A cause is a rule as it was saved last and the error: mending the rule is a new one."""
    ids = {f.rule_id for f in failures if f.rule_id is not None} | {p.rule_id for p in pauses}
    rules = {rule.id: rule for rule in session.scalars(select(Automation).where(Automation.id.in_(ids)))}
    causes = {cause_of(failure): failure for failure in reversed(failures)}  # the first of each cause
    for key, failure in sorted(causes.items()):
        rule = rules.get(failure.rule_id or 0)
        title = _title(failure, rule)
        persons = answerable_for(rule.created_by_kind, rule.created_by_id) if rule else admins()
        about = ("run", _run_id(session, failure))
        for person in persons:
            notify(person.id, FAILED.name, title, failure.detail, about=about, key=key, again_after=AGAIN)
    for pause in pauses:
        if (rule := rules.get(pause.rule_id)) is not None:
            for person in answerable_for(rule.created_by_kind, rule.created_by_id):
                text = f"Paused because {pause.why}. Look at it, then resume it."
                about = ("automation", rule.id)
                notify(person.id, PAUSED.name, f"The rule “{rule.name}” was paused", text, about=about)


def _title(failure: Failure, rule: Automation | None) -> str:
    if rule is None:
        return "The automation engine itself failed"
    done = "failed" if failure.outcome == "failed" else "did only a part"
    return f"The rule “{rule.name}” {done}"


def cause_of(failure: Failure) -> str:
    """The key of a failure's cause: what is quoted or counted in an error differs from run to run."""
    text = re.sub(r"“[^”]*”|\"[^\"]*\"|'[^']*'", "“”", failure.detail.casefold())
    digest = hashlib.sha256(re.sub(r"\d+", "0", text).encode()).hexdigest()[:16]
    return f"rule-failed-{failure.rule_id or 0}-v{failure.rule_number or 0}-{digest}"


def _run_id(session: OrmSession, failure: Failure) -> int:
    """The run of a failure; the engine's own has no rule."""
    is_rule = _r.automation_id.is_(None) if failure.rule_id is None else _r.automation_id == failure.rule_id
    found = select(AutomationRun.id).where(_r.event_id == failure.event_id, is_rule)
    return int(session.scalars(found.order_by(_r.attempt.desc()).limit(1)).one())  # the last attempt


register_kind(FAILED, PAUSED)
on_trouble(tell)

"""Tells who answers for a rule that something it sent was given up: once a day for each rule and reason."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta

from soconnective.automation.models import Automation
from soconnective.automation.undelivered import Undelivered, on_undelivered
from soconnective.core.db import db
from soconnective.notifications.audience import admins, answerable_for
from soconnective.notifications.kinds import Kind, register_kind
from soconnective.notifications.operations import notify

UNDELIVERED = Kind(
    "undelivered",
    "A message of a rule was given up",
    "When an e-mail or a webhook of a rule of yours could not be delivered: once for each reason, and at most once a day.",
    "alert-triangle",
)
AGAIN = timedelta(days=1)


def tell(what: Undelivered, run_id: int | None) -> None:
    rule = db.session.get(Automation, what.rule_id)
    name = f"“{rule.name}”" if rule else "a rule that is gone"
    persons = answerable_for(rule.created_by_kind, rule.created_by_id) if rule else admins()
    about = ("run", run_id) if run_id is not None else (what.record_type, what.record_id)
    digest = hashlib.sha256(re.sub(r"\d+", "0", what.reason.casefold()).encode()).hexdigest()[:16]
    key = f"undelivered-{what.record_type}-{what.rule_id}-{digest}"
    text = f"{what.title}: {what.reason}"
    for person in persons:
        title = f"What the rule {name} sent was given up"
        notify(person.id, UNDELIVERED.name, title, text, about=about, key=key, again_after=AGAIN)


register_kind(UNDELIVERED)
on_undelivered(tell)

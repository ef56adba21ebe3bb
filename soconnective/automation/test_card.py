"""The card *Test*: one of the last events, or a record as it is now, and what the rule would say and do."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from wtforms import Form, SelectChoice

from soconnective.automation.backtest import title_of
from soconnective.automation.contracts import Trigger
from soconnective.automation.definition import Definition
from soconnective.automation.models import Automation
from soconnective.automation.trial import Busy, Trial, as_rule, made_up, try_rule
from soconnective.core.apart import details_in, first_apart
from soconnective.core.db import db, discarded_transaction
from soconnective.core.errors import Refused
from soconnective.core.fields import IdField
from soconnective.core.formats import datetime_text
from soconnective.core.registry import registry
from soconnective.events import EventRow, event_types

LAST = 20
OFFERED = 200
FOUND = ("contact", "company", "deal")  # kinds whose rows the page finds by their words


class TestCard:
    """What is offered for a trigger, what was chosen, and the trial once `run` was called."""

    __test__ = False  # pytest: no test case

    def __init__(self, trigger: type[Trigger] | None, posted: Any = None) -> None:
        self.trigger = (
            trigger if trigger is not None and trigger.record_type in registry.record_types else None
        )
        self.trial: Trial | None = None
        self.problem = ""
        if self.trigger is None:
            return
        kind = registry.record_types[self.trigger.record_type]
        self.record_label = kind.label.lower()
        events = db.session.scalars(
            select(EventRow)
            .where(EventRow.name == self.trigger.type_id)
            .order_by(EventRow.id.desc())
            .limit(LAST)
        )
        rows = [(event.id, _told(event)) for event in events]
        found = kind.name if kind.name in FOUND else None
        self.form = _form(kind.label, found)(formdata=posted, prefix="test")
        self.form.event_id.offer(rows)
        if not rows:
            self.form.event_id.choices = [SelectChoice("", "none has happened yet")]
        elif posted is None or "test-event_id" not in posted:
            self.form.event_id.data = rows[0][0]
        self.form.record_id.offer((int(key), said) for key, said in first_apart(kind.name, OFFERED))

    def run(self, definition: Definition, rule: Automation | None) -> None:
        """Try `definition` on what was chosen; why it could not be tried is in `problem` or beside the field."""
        if self.trigger is None or not self.form.validate():
            return
        record_id, event_id = self.form.record_id.data, self.form.event_id.data
        if record_id is None and event_id is None:
            self.form.record_id.errors = ["Choose what to test on."]
            return
        try:
            with discarded_transaction():
                session = db.session()
                if record_id is not None:
                    event = made_up(session, definition.trigger, record_id)
                else:
                    event = db.session.get_one(EventRow, event_id).as_event()
                if event is None:
                    self.form.record_id.errors = ["It is gone. Choose another one."]
                    return
                self.trial = try_rule(session, as_rule(definition, rule), event)
        except Busy:
            self.problem = "Somebody is changing this record just now. Test again in a moment."
        except Refused as refused:
            self.problem = refused.message

    @property
    def further(self) -> list[str]:
        """What would have followed, as people call it."""
        kinds = event_types()
        return [kinds[name].title for name in self.trial.further] if self.trial else []

    @property
    def is_made_up(self) -> bool:
        return self.form.record_id.data is not None

    @property
    def status(self) -> int:
        """200, or 422 if nothing was tried."""
        return 200 if self.trial is not None else 422


def _told(event: EventRow) -> str:
    """When, what, and what tells it from others of that name."""
    name = title_of(event.snapshot)[:80]
    return f"{datetime_text(event.occurred_at)}: {' · '.join([name, *details_in(event.record_type, event.snapshot)])}"


def _form(label: str, record_type: str | None) -> type[Form]:
    parts = {
        "event_id": IdField("One of the last events", blank="no event"),
        "record_id": IdField(
            f"Or {'an' if label[:1] in 'AEIO' else 'a'} {label.lower()} as it is now",
            blank="none",
            record_type=record_type,
        ),
    }
    return type("TestForm", (Form,), parts)

"""The actions *Start another rule* and *Cancel waiting runs*.

What can be started are rules of the same kind of record whose trigger is “another rule starts this one” or “somebody
presses its button”. The event stands below that of the rule which starts it, in the same transaction: the bounds hold
over both, each rule runs once for a record in a chain, and after a wait the depth goes on to count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field
from sqlalchemy import select
from wtforms import Form

from soconnective.automation.contracts import Action, ActionFailed, RunContext, Scope, Settings, StepResult
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.registry import register_action
from soconnective.automation.rule_choice import STARTABLE, about, rule_name, startable
from soconnective.automation.timed import addressed_event, below
from soconnective.automation.waiting import cancel_run
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.fields import IdField


class StartRuleSettings(Settings):
    rule_id: int | None = Field(None, ge=1, lt=2**62)


def _form(name: str, label: str, blank: str, offered: Mapping[int, str], chosen: Any) -> type[Form]:
    """A select of rules; one that is chosen and gone stays visible."""
    rows = list(offered.items())

    class RuleForm(Form):  # type: ignore[misc]
        rule_id = IdField(label, blank=blank)

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            data = self.rule_id.data
            gone = [(data, "⚠ a rule that is gone")] if data and data not in offered else []
            self.rule_id.offer([*rows, *gone])

    RuleForm.__name__ = name
    return RuleForm


class StartRule(Action):
    type_id = "start_rule"
    label = "Start another rule"
    group = "Flow"
    icon = "bolt"
    Settings = StartRuleSettings
    references = {"rule_id": "rule"}
    writes = ("run",)

    @classmethod
    def form_for(cls, scope: Scope, values: Mapping[str, Any]) -> type[Form]:
        return _form("StartRuleForm", "Rule", "choose …", startable(scope.record_type), values.get("rule_id"))

    def started(self) -> Sequence[int]:
        return () if self.settings.rule_id is None else (self.settings.rule_id,)

    def run(self, context: RunContext) -> StepResult:
        target = db.session.get(Automation, self.settings.rule_id or 0)
        if target is None or target.deleted_at is not None:
            raise ActionFailed("The rule to start is gone.")
        if not target.looks:
            raise ActionFailed(f"“{target.name}” is switched off, so it was not started.")
        if target.id == context.rule_id:
            raise ActionFailed("A rule cannot start itself.")
        kind, event = context.event.record_type, context.event
        if target.trigger not in {f"{kind}{ending}" for ending in STARTABLE}:
            raise ActionFailed(f"“{target.name}” cannot be started by a rule any more.")
        db.session.flush()  # it is to see what the steps before this one did
        started = addressed_event(target.trigger, event.record_id, target.id, current_actor(), is_shown=False)
        if started is None:
            raise ActionFailed("The record is gone.")
        context.started.append(below(started, event))
        return StepResult(f"started “{target.name}”")

    def describe(self) -> str:
        name = rule_name(self.settings.rule_id)
        return f"start rule “{name}”" if name else "start rule ⚠ that is gone"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        if scope.is_gone:
            return [
                (
                    "",
                    "A rule about a deleted record cannot start another one: there is nothing left to start it on.",
                )
            ]
        if self.settings.rule_id is None:
            return [("rule_id", "Choose which rule to start.")]
        if self.settings.rule_id not in startable(scope.record_type):
            return [("rule_id", "This rule is gone, or nothing may start it any more. Choose another one.")]
        return []


class CancelWaiting(Action):
    """Ends runs that wait about the record: of all rules, or of one. Never the run that says so."""

    type_id = "cancel_waiting"
    label = "Cancel waiting runs"
    group = "Flow"
    icon = "x"
    Settings = StartRuleSettings
    references = {"rule_id": "rule"}
    writes = ("run",)

    @classmethod
    def form_for(cls, scope: Scope, values: Mapping[str, Any]) -> type[Form]:
        return _form("CancelWaitingForm", "Of", "all rules", about(scope.record_type), values.get("rule_id"))

    def run(self, context: RunContext) -> StepResult:
        event = context.event
        statement = select(AutomationRun).where(
            AutomationRun.record_type == event.record_type,
            AutomationRun.record_id == event.record_id,
            AutomationRun.outcome == "waiting",
        )
        if self.settings.rule_id is not None:
            statement = statement.where(AutomationRun.automation_id == self.settings.rule_id)
        ended = 0
        for run in db.session.scalars(statement.order_by(AutomationRun.id).with_for_update()):
            if (run.event_id, run.automation_id) != (event.id, context.rule_id):
                cancel_run(run, f"by rule {context.rule_name}")
                ended += 1
        return StepResult(
            f"{ended} waiting run{'s' * (ended != 1)} cancelled" if ended else "nothing was waiting"
        )

    def describe(self) -> str:
        if self.settings.rule_id is None:
            return "cancel all waiting runs of the record"
        name = rule_name(self.settings.rule_id)
        return f"cancel waiting runs of “{name}”" if name else "cancel waiting runs of ⚠ a rule that is gone"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        rule_id = self.settings.rule_id
        if rule_id is not None and rule_id not in about(scope.record_type):
            return [("rule_id", "This rule is gone. Choose another one, or all.")]
        return []


register_action(StartRule, CancelWaiting)

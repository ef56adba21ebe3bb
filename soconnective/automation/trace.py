"""What a run leaves behind: its outcome, a detail in words, and a trace of each check and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.contracts import (
    Action,
    ActionFailed,
    BrokenPiece,
    Made,
    Scope,
    StepResult,
    Verdict,
)
from soconnective.automation.merge import MergeError
from soconnective.automation.models import AutomationRun
from soconnective.core import clock
from soconnective.core.errors import Refused
from soconnective.events import DomainEvent

MAX_DETAIL = 2000
SILENT = frozenset({"if", "otherwise_if", "otherwise", "end_if"})  # steps that steer: not told in the detail
_insert_runs = insert(AutomationRun.__table__)  # type: ignore[arg-type]


@dataclass(slots=True)
class Run:
    """A run before it is a row."""

    event: DomainEvent
    automation_id: int | None
    automation_number: int | None
    outcome: str = ""  # until it is decided
    detail: str = ""
    checks: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    started_at: datetime = field(default_factory=clock.now)
    milliseconds: float = 0.0
    kept: int = 0  # steps of before a wait: they are committed, whatever happens now
    planned_at: datetime | None = None  # when a waiting run goes on
    waits_for: str | None = None  # the event that lets it go on before
    goes_on_at: int = 0  # the step with which it goes on then
    attempt: int = 0  # 0 is the live run; 1 and more were asked for by a person

    def say_verdict(self, verdict: Verdict) -> None:
        self.checks = [check.as_json() for check in verdict.checks]

    def say_step(
        self,
        index: int,
        action: Action,
        outcome: str,
        result: StepResult | None,
        text: str = "",
        verdict: Verdict | None = None,
    ) -> None:
        """Add a step to the trace: succeeded with its result, failed or undone with the reason."""
        self.steps.append(
            {
                "path": str(index + 1),
                "kind": action.type_id,
                "label": self._said(action),
                "outcome": outcome,
                "text": result.text if result else text,
                "made": result.made if result else (),
                "remarks": list(result.remarks) if result else [],
                **({"checks": [check.as_json() for check in verdict.checks]} if verdict else {}),
            }
        )

    def _said(self, action: Action) -> str:
        try:
            return action.say(Scope(self.event.record_type))
        except (
            SQLAlchemyError
        ):  # its failure has ended the savepoint: names cannot be read before that is left
            return action.label

    def settle(self) -> None:
        """The steps are flushed: the records they made have ids now."""
        for step in self.steps:
            step["made"] = [made.as_json() if isinstance(made, Made) else made for made in step["made"]]

    def start_over(self) -> None:
        """Forget what the steps said: they are taken back and run again."""
        self.steps, self.detail = self.steps[: self.kept], ""
        self.planned_at = self.waits_for = None

    def undo_steps(self) -> None:
        """The rule was rolled back: what its steps made is gone, and the trace says so."""
        self.planned_at = self.waits_for = None
        for step in self.steps[self.kept :]:
            step["made"] = []
            if step["outcome"] == "succeeded":
                step["outcome"] = "undone"

    def summarise(self) -> None:
        """The detail in words from the steps: "task created; note logged"."""
        said = [s["text"] for s in self.steps if s["outcome"] == "succeeded" and s["kind"] not in SILENT]
        self.detail = "; ".join(said)

    def never_came(self) -> None:
        """The engine failed before this rule's turn."""
        self.outcome, self.detail = "failed", "the engine itself failed before this rule could run"

    def as_row(self) -> dict[str, Any]:
        return {
            "tenant_id": self.event.tenant_id,
            "automation_id": self.automation_id,
            "automation_number": self.automation_number,
            "event_id": self.event.id,
            "attempt": self.attempt,
            "record_type": self.event.record_type,
            "record_id": self.event.record_id,
            "outcome": self.outcome,
            "detail": clean(self.detail)[:MAX_DETAIL],
            "trace": clean({"checks": self.checks, "steps": self.steps}),
            "started_at": self.started_at,
            "milliseconds": round(self.milliseconds, 3),
            "planned_at": self.planned_at,
            "waits_for": self.waits_for,
        }


def record(session: OrmSession, runs: Sequence[Run]) -> None:
    """Write the runs as rows, in one executemany."""
    if runs:
        session.connection().execute(_insert_runs, [run.as_row() for run in runs])


def in_words(error: BaseException) -> str:
    """An error as the run log shows it: the words of those that speak to people, the class of the others."""
    if isinstance(error, ActionFailed | BrokenPiece | MergeError):
        return str(error)
    if isinstance(error, Refused):
        return error.message
    original = getattr(error, "orig", None) or error
    lines = str(original).strip().splitlines()
    return f"{type(original).__name__}: {lines[0][:300]}" if lines else type(original).__name__


def clean(value: Any) -> Any:
    """`value` without what no database text can hold: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        if "\x00" in value or not value.isascii():
            return value.replace("\x00", "�").encode("utf-8", "replace").decode("utf-8")
        return value
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value

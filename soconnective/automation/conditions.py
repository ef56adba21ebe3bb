"""Conditions of a rule: asked of the event's snapshot, so that a verdict can be explained and repeated later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from soconnective.automation.contracts import BrokenPiece, Check, Verdict, first_problem
from soconnective.core.conditions import (
    Facts,
    Field,
    Group,
    Now,
    describe,
    each_test,
    evaluate,
    fields_of,
    normal,
    problems,
)
from soconnective.core.conditions.evaluate import CannotTell
from soconnective.core.conditions.form import THE_CHANGE
from soconnective.core.workspace import current_workspace
from soconnective.events import DomainEvent

ACTOR_KINDS = (
    ("person", "a person"),
    ("automation", "an automation"),
    ("import", "an import"),
    ("api", "the API"),
    ("schedule", "the schedule"),
    ("system", "the system"),
)
ACTOR = Field("actor_kind", "done by", "choice", None, choices=lambda: ACTOR_KINDS, heading=THE_CHANGE)


def event_fields(record_type: str | None) -> Mapping[str, Field]:
    """What an event about `record_type` can be asked: the record's fields, and who did it.

    Never cached: some fields differ by workspace.
    """
    return {**fields_of(record_type), ACTOR.name: ACTOR} if record_type else {}


@dataclass(frozen=True, slots=True)
class Conditions:
    """The tree of a rule about `record_type`; `message` says why it cannot be read any more."""

    tree: Group
    record_type: str | None
    kept: Any = None
    message: str | None = None

    @classmethod
    def load(cls, stored: Any, record_type: str | None) -> Conditions:
        """From stored JSON (None: no conditions); what does not read becomes a broken one."""
        if not stored:
            return cls(Group(), record_type)
        try:
            return cls(Group.model_validate(stored), record_type)
        except ValidationError as error:
            return cls(
                Group(), record_type, stored, f"The conditions cannot be read ({first_problem(error)})"
            )

    def stored(self) -> Any:
        """As JSON; None without conditions."""
        if self.message:
            return self.kept
        tree = normal(self.tree)
        return tree.model_dump(mode="json", exclude_none=True) if tree.items else None

    @property
    def fields(self) -> Mapping[str, Field]:
        return event_fields(self.record_type)

    @property
    def broken(self) -> str | None:
        """Why it cannot work any more: unreadable, or asking for a field that is gone."""
        if self.message:
            return self.message
        fields = self.fields if self.tree.items else {}
        for _path, test in each_test(self.tree):
            if test.field not in fields:
                return f"A condition asks for “{test.field}”, which does not exist any more"
        return None

    def problems(self) -> list[tuple[str, str]]:
        """What makes no sense here and now, as (path, message)."""
        return [("", self.message)] if self.message else problems(self.tree, self.fields, with_changes=True)

    def describe(self) -> str:
        if self.message:
            return f"⚠ {self.message}"
        return describe(self.tree, self.fields)

    def match(self, event: DomainEvent) -> Verdict:
        """The verdict on `event`, each test as a check. Raises `BrokenPiece` if it cannot be told."""
        if self.message:
            raise BrokenPiece(self.message)
        now = Now(event.occurred_at, current_workspace().timezone)
        values = {**event.snapshot, ACTOR.name: event.actor.kind}
        try:
            holds, found, why = evaluate(self.tree, self.fields, Facts(values, now, event.changes))
        except CannotTell as error:
            raise BrokenPiece(str(error)) from None
        checks = tuple(Check(f"if-{f.path}", f.label, f.wanted, f.actual, f.passed) for f in found)
        return Verdict(holds, checks, why)

"""What a trigger and an action are: one class each, registered by the area that owns its meaning.

A class has a `type_id` that never changes, `Settings` (a pydantic model: what is stored, typed and
checked), `form` (WTForms fields for the builder, named like the settings), `describe()` for the
sentence, `check()` for what no longer makes sense, and `run()` or `match()`. Stored data that no
longer reads becomes a Broken twin: it shows its message, marks the rule and fails its run.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from wtforms import Form

from soconnective.events import DomainEvent

ANY: Any = "*"  # a value that is not known before it is written


class Settings(BaseModel):
    """What a piece of a rule stores. Unknown keys and wrong types are errors, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class NoSettings(Settings):
    """For a piece that needs none."""


class NoFields(Form):  # type: ignore[misc]
    """The builder's form of a piece without settings."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: its path in the rule, what was wanted and what was seen."""

    path: str
    label: str
    wanted: str
    actual: str
    passed: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "label": self.label,
            "wanted": self.wanted,
            "actual": self.actual,
            "passed": self.passed,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a rule applies to an event, with each check that said so."""

    matched: bool
    checks: tuple[Check, ...] = ()
    why: str = ""  # why not, where the checks alone do not say it

    @property
    def reason(self) -> str:
        """Why not, in words; empty when it matched."""
        return self.why or "; ".join(
            f"{c.label}: wanted {c.wanted}, was {c.actual}" for c in self.checks if not c.passed
        )


@dataclass(frozen=True, slots=True)
class Made:
    """A record that an action made or changed: shown and linked in the trace.

    `record` is the object, or its id; the id of a fresh object is there once the step is flushed.
    """

    record_type: str
    record: Any
    title: str
    verb: str = "created"

    def as_json(self) -> dict[str, Any]:
        record_id = getattr(self.record, "id", self.record)
        return {"type": self.record_type, "id": record_id, "title": self.title, "verb": self.verb}


@dataclass(frozen=True, slots=True)
class StepResult:
    """What an action did: a few words for the run's detail ("task created"), what it made, remarks."""

    text: str
    made: tuple[Made, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class RunContext:
    """What an action may use: the event, the rule, and the texts that merge fields draw from.

    `fields` is a dict of flat dicts, ``{"deal": {"title": ...}}``: never an ORM object.
    """

    event: DomainEvent
    rule_id: int
    rule_name: str
    rule_version: int
    fields: Mapping[str, Mapping[str, Any]]
    remarks: list[str] = field(default_factory=list)
    started: list[DomainEvent] = field(default_factory=list)  # events that a step itself causes

    def see(self, snapshot: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        """The record has changed since: from here on it is seen as it is now."""
        self.event = replace(self.event, snapshot=dict(snapshot))
        self.fields = {**self.fields, self.event.record_type: fields}


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a piece stands while it is checked or drawn: the record type that its trigger is about.

    `is_gone`: the trigger is the deletion of that record.
    """

    record_type: str | None
    is_gone: bool = False


class Piece:
    """What triggers and actions share. Subclasses set the class attributes; instances hold `settings`."""

    type_id: ClassVar[str]
    label: ClassVar[str]  # in the builder's list: "a deal is won", "Create a task"
    group: ClassVar[str]  # the heading it stands under: "Deals", "Tasks"
    icon: ClassVar[str] = "bolt"
    Settings: ClassVar[type[Settings]] = NoSettings
    form: ClassVar[type[Form]] = NoFields
    # what a trigger hears and an action changes: "deal.amount", "deal.status=won", or "task" for a new one
    reads: ClassVar[Sequence[str]] = ()
    writes: ClassVar[Sequence[str]] = ()
    references: ClassVar[Mapping[str, str]] = {}  # setting that holds an id -> the kind of thing it is of

    def __init__(self, settings: Any = None) -> None:
        self.settings: Any = self.Settings() if settings is None else settings

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Piece:
        """From stored JSON; raises pydantic's `ValidationError` when it no longer reads."""
        return cls(cls.Settings.model_validate(dict(stored)))

    def with_settings(self, settings: Any) -> Self:
        """This piece with other settings, and all else as it is."""
        found = copy.copy(self)
        found.settings = settings
        return found

    @classmethod
    def form_for(cls, scope: Scope, values: Mapping[str, Any]) -> type[Form]:
        """The builder's form; one whose inputs depend on what is chosen so far (`values`) makes it here."""
        return cls.form

    @classmethod
    def refers(cls) -> dict[str, str]:
        """The settings that hold ids, and of what: `references`, and the persons."""
        known = cls.Settings.model_fields
        persons = {str(name): "person" for name in ("person_id", "person_ids") if name in known}
        return {**persons, **cls.references}

    @classmethod
    def persons(cls, settings: Any) -> set[int]:
        """The user ids that these settings name."""
        one, many = getattr(settings, "person_id", None), getattr(settings, "person_ids", ())
        return {*many, *([one] if one is not None else [])}

    @classmethod
    def replaced(cls, settings: Any, old_id: int, new_id: int | None) -> dict[str, Any]:
        """The settings to change when a person hands over to another one, or to nobody."""
        found: dict[str, Any] = {}
        if getattr(settings, "person_id", None) == old_id:
            found["person_id"] = new_id
            if new_id is None and hasattr(settings, "assign_to"):
                found["assign_to"] = "owner"
        if old_id in getattr(settings, "person_ids", ()):
            others = [new_id if person_id == old_id else person_id for person_id in settings.person_ids]
            found["person_ids"] = tuple(dict.fromkeys(i for i in others if i is not None))
        return found

    def stored(self) -> dict[str, Any]:
        """The settings as JSON to store."""
        return dict(self.settings.model_dump(mode="json"))

    def describe(self) -> str:
        """This piece in the rule's sentence, lower case, without a full stop: "create task “Call”"."""
        return self.label

    def say(self, scope: Scope) -> str:
        """`describe()`, for one whose words depend on where it stands."""
        return self.describe()

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        """What is wrong with the settings here and now, as (field, message); empty when all is well."""
        return []

    def warnings(self) -> list[str]:
        """What would fail here and now although the settings are right; said by the linter, never in the way."""
        return []

    @property
    def broken(self) -> str | None:
        """The message of a piece that cannot work any more, else None."""
        return None


class Trigger(Piece):
    """When a rule looks: an event by name, and settings that narrow it. `type_id` is the event's name."""

    record_type: ClassVar[str]
    is_offered: ClassVar[bool] = True  # in the builder
    is_addressed: ClassVar[bool] = False  # its events are meant for one rule each

    def match(self, event: DomainEvent) -> Verdict:
        """Whether this event is meant. Pure: it reads the event only."""
        return Verdict(True)

    def heard(self) -> Sequence[str]:
        """What it hears with its settings."""
        return self.reads

    def hears(self, written: Mapping[str, Any]) -> bool:
        """Whether writing `written` (see `Action.written`) may start it. For the linter, which may be wrong."""
        for name in self.heard():
            field, _, value = name.partition("=")
            if field in written and (not value or written[field] in (ANY, value)):
                return True
        return False


class Action(Piece):
    """What a rule does, inside its savepoint. It uses operations, never commits, never opens a session.

    It need not flush: the engine does, and what it raises then is told of the right step. An action
    that only adds records, and reads nothing that another rule of the same moment may write, says
    `only_adds`: then many such rules share one flush.
    """

    only_adds: ClassVar[bool] = False
    is_off: bool = False  # a person switched this step off: it is kept, and the run passes it by
    note: str = ""  # what a person wrote beside it

    def marked(self, is_off: bool, note: str) -> Self:
        """This step, switched off or not, with a note."""
        found = copy.copy(self)
        found.is_off, found.note = is_off, note
        return found

    @property
    def marks(self) -> dict[str, Any]:
        """What is stored beside the settings; empty for most steps."""
        return {**({"off": True} if self.is_off else {}), **({"note": self.note} if self.note else {})}

    def written(self, scope: Scope) -> Mapping[str, Any]:
        """What it writes with its settings, and the value where it is known, else `ANY`. For the linter.

        What is only filled when it is empty is left out: it cannot go round, and overwrites nothing.
        """
        return dict.fromkeys(self.writes, ANY)

    def started(self) -> Sequence[int]:
        """The rules that it starts, by id. For the linter."""
        return ()

    def run(self, context: RunContext) -> StepResult:
        raise NotImplementedError(type(self).__name__)


class _Broken:
    """Stands where a piece was that cannot be read; keeps its stored form untouched.

    `words` say one that is only not complete yet (in a draft) as what it is going to be.
    """

    words = ""

    def __init__(self, type_id: str, stored: Mapping[str, Any], message: str) -> None:
        self.type_id = type_id
        self.kept = dict(stored)
        self.message = message

    def stored(self) -> dict[str, Any]:
        return self.kept

    def describe(self) -> str:
        return self.words or f"⚠ {self.message}"

    def say(self, scope: Scope) -> str:
        return self.describe()

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        return [("", self.message)]

    @property
    def broken(self) -> str | None:
        return self.message


class BrokenTrigger(_Broken, Trigger):
    label, group, record_type = "something that is gone", "Broken", ""

    def match(self, event: DomainEvent) -> Verdict:
        raise BrokenPiece(self.message)


class BrokenAction(_Broken, Action):
    label, group = "something that is gone", "Broken"

    def run(self, context: RunContext) -> StepResult:
        raise BrokenPiece(self.message)


class BrokenPiece(Exception):
    """A rule was asked to use a piece that no longer reads; its message is for the person who reads the run."""


class ActionFailed(Exception):
    """An action says why it cannot do its work, in words for the person who reads the run."""


def first_problem(error: ValidationError) -> str:
    """The first complaint of a pydantic error as one short line."""
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'settings'}: {problem['msg']}"

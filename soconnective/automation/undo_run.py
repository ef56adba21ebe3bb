"""Taking back what a run did, where nobody has touched it since.

Each area says how a record of its kind is deleted and how old values are put back (`Undoable`), by its own
operations. The person who undoes acts; no rule looks at it, since it puts back what was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from soconnective.automation.models import AutomationRun
from soconnective.automation.queries import caused_by
from soconnective.core import clock
from soconnective.core.db import db, plain
from soconnective.core.errors import Refused
from soconnective.core.registry import registry
from soconnective.events import EventRow, event_types, rules

MAKING = ("created", "logged", "scheduled")
Values = dict[tuple[str, int, str], Any]


@dataclass(frozen=True)
class UndoableList:
    """How a list of a record is undone: `holds(record)` are its members now; what left comes back if `exists` says so."""

    holds: Callable[[Any], Collection[Any]]
    exists: Callable[[Any], bool]
    put_back: Callable[[Any, Sequence[Any], Sequence[Any]], Any]  # record, what left, what came


@dataclass(frozen=True)
class Undoable:
    """How one kind of record is undone: `delete(record)`, and `put_back(record, values)` for these fields.

    `values` are the old ones, of the columns' own types. Fields in `follow` follow from others and are left to them.
    `lists` are fields of many members.
    """

    record_type: str
    delete: Callable[[Any], Any]
    put_back: Callable[[Any, Mapping[str, Any]], Any]
    fields: Sequence[str]
    follow: Sequence[str] = ()
    lists: Mapping[str, UndoableList] = field(default_factory=dict)


@dataclass
class Effect:
    """One thing that a run did: what undoing it means, or why it stays as it is."""

    event: EventRow
    title: str
    text: str
    why_not: str = ""
    undo: Callable[[], Any] | None = None


_undoable: dict[str, Undoable] = {}


def register_undoable(*items: Undoable) -> None:
    for item in items:
        _undoable[item.record_type] = item


def undoable() -> dict[str, Undoable]:
    return dict(_undoable)


def effects(run: AutomationRun) -> list[Effect]:
    """What `run` did, the last first, each with how it is taken back or why not."""
    done = _changes(caused_by(run))
    mine = {event.id for events in done for event in events}
    before: Values = {}  # what fields hold once the later effects are taken back
    return [_effect(events, mine, before) for events in reversed(done)]


def _changes(events: Sequence[EventRow]) -> list[list[EventRow]]:
    """One list for each change: a deal that is won tells it by several events."""
    found: dict[tuple[Any, ...], list[EventRow]] = {}
    for event in events:
        key = (event.record_type, event.record_id, event.occurred_at, repr(event.changes))
        found.setdefault(key, []).append(event)
    return list(found.values())


def sent(run: AutomationRun) -> list[str]:
    """What left the house, or is about to: the titles of the messages of `run`. They cannot be taken back."""
    made = [one for step in run.trace.get("steps", ()) for one in step["made"]]
    return [str(one["title"]) for one in made if one["verb"] == "sent"]


def undo_run(run: AutomationRun) -> int:
    """Take back what can be; returns how many things were. Raises `Refused` if there is nothing to take back."""
    db.session.refresh(run, with_for_update=True)  # two may ask for it in this moment
    if run.undone_at is not None:
        raise Refused("It was undone already.")
    if run.outcome == "waiting":
        raise Refused("It still waits. Cancel it first.")
    steps = [effect.undo for effect in effects(run) if effect.undo is not None]
    if not steps:
        raise Refused("There is nothing left of it that could be taken back.")
    with rules("skip"):
        for step in steps:
            step()
            db.session.flush()
    run.undone_at = clock.now()
    return len(steps)


def _effect(events: Sequence[EventRow], mine: set[int], before: Values) -> Effect:
    verbs = {event.name.rsplit(".", 1)[-1]: event for event in events}
    made = next((verbs[verb] for verb in MAKING if verb in verbs), None)
    if made is not None and any(old for old, _new in made.changes.values()):
        made = None  # scheduled anew, not made
    event = made or events[0]
    declared = event_types().get(event.name)
    title = event.snapshot.get("title") or event.snapshot.get("name") or event.snapshot.get("body") or ""
    effect = Effect(event, str(title)[:120], declared.title if declared else event.name)
    kind, how = registry.record_types.get(event.record_type), _undoable.get(event.record_type)
    record = kind.get(event.record_id) if kind else None
    if "deleted" in verbs:
        effect.why_not = "what was deleted cannot be brought back"
    elif record is None:
        effect.why_not = "it is gone already"
    elif how is None:
        effect.why_not = "this kind of record cannot be put back"
    elif made is not None:
        _undo_creation(effect, how, record, mine)
    else:
        _undo_change(effect, how, record, before)
    return effect


def _undo_creation(effect: Effect, how: Undoable, record: Any, mine: set[int]) -> None:
    later = db.session.scalars(
        select(EventRow.id)
        .where(
            EventRow.record_type == effect.event.record_type,
            EventRow.record_id == effect.event.record_id,
            EventRow.id > effect.event.id,
        )
        .limit(101)
    ).all()
    if set(later) - mine:
        effect.why_not = "it was changed since"
    else:
        effect.undo = lambda: how.delete(record)


def _undo_change(effect: Effect, how: Undoable, record: Any, before: Values) -> None:
    changes = {name: both for name, both in effect.event.changes.items() if name not in how.follow}
    place = (effect.event.record_type, effect.event.record_id)
    lists = {name: changes.pop(name) for name in how.lists if name in changes}
    unknown = [name for name in changes if name not in how.fields]
    if unknown or not (changes or lists):
        effect.why_not = f"{', '.join(unknown) or 'this'} cannot be put back"
    elif any(
        before.get((*place, name), plain(getattr(record, name))) != new
        for name, (_old, new) in changes.items()
    ):
        effect.why_not = "it was changed since"
    elif why_not := _lists_changed(how, record, place, lists, before):
        effect.why_not = why_not
    else:
        before.update({(*place, name): old for name, (old, _new) in changes.items()})
        values = {name: _typed(record, name, old) for name, (old, _new) in changes.items()}
        effect.undo = lambda: _put_back(how, record, values, lists)


def _lists_changed(
    how: Undoable, record: Any, place: tuple[str, int], lists: Mapping[str, Any], before: Values
) -> str:
    """Why lists cannot be put back as they were; empty if they can, with `before` telling how they then are."""
    fresh: Values = {}
    for name, (left, came) in lists.items():
        now = set(before.get((*place, name), how.lists[name].holds(record)))
        if not now.issuperset(came) or now.intersection(left):
            return "it was changed since"
        if not all(how.lists[name].exists(member) for member in left):
            return "what was taken off does not exist any more"
        fresh[(*place, name)] = now.difference(came).union(left)
    before.update(fresh)
    return ""


def _put_back(how: Undoable, record: Any, values: Mapping[str, Any], lists: Mapping[str, Any]) -> None:
    if values:
        how.put_back(record, values)
    for name, (left, came) in lists.items():
        how.lists[name].put_back(record, left, came)


def _typed(record: Any, name: str, value: Any) -> Any:
    """A value of an event as its column holds it."""
    if not isinstance(value, str):
        return value
    kind = type(record).__mapper__.columns[name].type.python_type
    return kind.fromisoformat(value) if hasattr(kind, "fromisoformat") else kind(value)

"""The due rows of records: planned in the transaction of the change that sets, moves or clears a date.

A row is wanted for a moment to come. A row that is due already is left as it is (it fires, late); a moment that was
over before it was planned is not planned; a value that has fired for this rule and record never fires again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as OrmSession

from soconnective.automation.candidates import Rule, candidates
from soconnective.automation.due_models import LIVE, due
from soconnective.automation.hours import work_hours
from soconnective.automation.timed import Due, Timed, names_ending
from soconnective.automation.timed_dates import DateReached
from soconnective.automation.timed_silence import is_activity
from soconnective.core import clock
from soconnective.core.db import plain, require_alive
from soconnective.core.errors import TransactionLost
from soconnective.events import DomainEvent
from soconnective.jobs import enqueue

log = logging.getLogger(__name__)
PLAN, FIRE, SCHEDULE = "automation.plan_due", "automation.fire_due", "automation.run_schedule"
Wants = dict[tuple[int, int], Due | None]  # (rule, record) -> when it is due, if it is
_c = due.c


def follow(session: OrmSession, events: Sequence[DomainEvent]) -> None:
    """Plan what these events set, move or clear. One indexed query while no rule waits for time; never breaks the save.

    If it fails, a job plans the same again, so that nothing is missed in silence.
    """
    kinds = {kind for event in events for kind, _id in event.links}
    names = [*names_ending("date_reached", kinds), *names_ending("went_silent", kinds)]
    if not names:
        return
    rules: dict[str, list[Rule]] = {}
    try:
        rules = candidates(session, events[0].tenant_id, names)
        if rules:
            with session.connection().begin_nested():
                _follow(session, events, rules)
    except TransactionLost:
        raise
    except Exception:
        log.exception("the due rows could not be planned; a job does it again")
        require_alive(session)
        for rule in [rule for found in rules.values() for rule in found]:
            enqueue(PLAN, {"automation_id": rule.id, "since": plain(clock.now())})


def _follow(session: OrmSession, events: Sequence[DomainEvent], rules: Mapping[str, Sequence[Rule]]) -> None:
    wants: dict[str, Wants] = {}
    hours = work_hours()
    for event in events:
        for rule in rules.get(f"{event.record_type}.date_reached", ()):
            trigger = rule.definition.trigger
            if isinstance(trigger, DateReached) and trigger.settings.field in event.changes:
                want = due_of(trigger, event.snapshot.get(trigger.settings.field), hours)
                wants.setdefault(event.record_type, {})[rule.id, event.record_id] = want
        for kind, record_id in event.links if is_activity(event) else ():
            for rule in rules.get(f"{kind}.went_silent", ()):
                want = due_of(rule.definition.trigger, event.occurred_at, hours)
                wants.setdefault(kind, {})[rule.id, record_id] = want
    _let_go(events, rules, wants)
    numbers = {rule.id: rule.number for found in rules.values() for rule in found}
    for kind, wanted in sorted(wants.items()):
        settle(session, events[0].tenant_id, kind, wanted, numbers)


def _let_go(
    events: Sequence[DomainEvent], rules: Mapping[str, Sequence[Rule]], wants: dict[str, Wants]
) -> None:
    """What was deleted is due for nothing, whatever else happened to it in this transaction."""
    for event in events:
        if event.name.endswith(".deleted"):
            for name, found in rules.items():
                for rule in found if name.startswith(f"{event.record_type}.") else ():
                    wants.setdefault(event.record_type, {})[rule.id, event.record_id] = None


def due_of(trigger: Any, value: Any, hours: Any) -> Due | None:
    """What a record with this value is due for, and when; None for never."""
    at = trigger.due(value, hours) if isinstance(trigger, Timed) else None
    return None if at is None else (value_text(value), at)


def value_text(value: Any) -> str:
    """A date or moment as it is kept, however it was written."""
    if isinstance(value, str) and len(value) > 10:
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        value = value.astimezone(UTC).isoformat()
    return str(value)


def settle(
    session: OrmSession,
    tenant_id: int,
    record_type: str,
    wants: Wants,
    numbers: Mapping[int, int],
    since: datetime | None = None,
) -> None:
    """Let the rows of these rules and records be as wanted; moments after `since` (None: now) are to come."""
    if not wants:
        return
    connection, now = session.connection(), clock.now()
    since = since or now
    rows = _rows(connection, tenant_id, record_type, wants)
    live = {(row.automation_id, row.record_id): row for row in rows if row.state != "fired"}
    fired = {(row.automation_id, row.record_id, row.due_value) for row in rows if row.state == "fired"}
    in_hand = _in_hand(connection, tenant_id, [row.id for key, row in live.items() if key in wants])
    gone: list[int] = []
    moved: list[dict[str, Any]] = []
    fresh: list[dict[str, Any]] = []
    for key, want in sorted(wants.items()):
        row, number = live.get(key), numbers[key[0]]
        is_meant = want is not None and want[1] > since and (*key, want[0]) not in fired
        if row is None:
            fresh += [_row(tenant_id, record_type, key, want, number)] if want and is_meant else []
        elif row.id in in_hand:
            enqueue(PLAN, {"automation_id": key[0], "record_id": key[1], "since": plain(since)})
        elif want and _stays(row, want, now):
            moved += [_moved(row.id, want[0], row.at, row.state, number)] if row.number != number else []
        elif want and is_meant:
            moved.append(_moved(row.id, *want, "planned", number))
        else:
            gone.append(row.id)
    if gone:
        connection.execute(delete(due).where(_c.tenant_id == tenant_id, _c.id.in_(gone)))
    if moved:
        connection.execute(_move, [{"tenant": tenant_id, **one} for one in moved])
    if fresh:
        connection.execute(_insert(connection), fresh)


def _stays(row: Any, want: Due, now: datetime) -> bool:
    """Whether a row is as wanted: due for the same, at the same moment or at one that has come already."""
    return bool(want[0] == row.due_value and (row.at <= now or want[1] == row.at))


_move = (
    update(due)
    .where(_c.tenant_id == bindparam("tenant"), _c.id == bindparam("row"))
    .values(
        due_value=bindparam("new_value"),
        at=bindparam("new_at"),
        state=bindparam("new_state"),
        number=bindparam("new_number"),
    )
)


def _moved(row_id: int, value: str, at: datetime, state: str, number: int) -> dict[str, Any]:
    return {"row": row_id, "new_value": value, "new_at": at, "new_state": state, "new_number": number}


def _rows(connection: Any, tenant_id: int, record_type: str, wants: Iterable[tuple[int, int]]) -> list[Any]:
    rules, records = ({key[place] for key in wants} for place in (0, 1))
    statement = select(_c.id, _c.automation_id, _c.record_id, _c.due_value, _c.at, _c.state, _c.number).where(
        _c.tenant_id == tenant_id,
        _c.record_type == record_type,
        _c.automation_id.in_(rules),
        _c.record_id.in_(records),
    )
    return list(connection.execute(statement))


def _in_hand(connection: Any, tenant_id: int, ids: list[int]) -> set[int]:
    """Those of the rows that a worker holds: to wait for it, while it may wait for us, would be a deadlock."""
    if not ids or connection.dialect.name == "sqlite":
        return set()
    mine = select(_c.id).where(_c.tenant_id == tenant_id, _c.id.in_(ids)).with_for_update(skip_locked=True)
    return set(ids) - set(connection.execute(mine).scalars())


def _row(tenant_id: int, record_type: str, key: tuple[int, int], want: Due, number: int) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "automation_id": key[0],
        "number": number,
        "record_type": record_type,
        "record_id": key[1],
        "due_value": want[0],
        "at": want[1],
        "state": "planned",
        "planned_at": clock.now(),
    }


def _insert(connection: Any) -> Any:
    """What another transaction planned in the same moment stays as that one planned it."""
    build: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return build(due).on_conflict_do_nothing()


def plan_one(
    session: OrmSession, tenant_id: int, record_type: str, record_id: int, rule: Rule, want: Due
) -> None:
    """Plan one row, whatever moment it is for."""
    connection = session.connection()
    connection.execute(
        _insert(connection), [_row(tenant_id, record_type, (rule.id, record_id), want, rule.number)]
    )


def forget(
    session: OrmSession, tenant_id: int, record_type: str, ids: Sequence[int], rule: Rule, until: datetime
) -> None:
    """Delete what is still due for these records at a moment up to `until`."""
    mine = (_c.tenant_id == tenant_id, _c.automation_id == rule.id, _c.record_type == record_type)
    session.connection().execute(delete(due).where(*mine, _c.record_id.in_(ids), LIVE, _c.at <= until))


def plan_again(session: OrmSession, tenant_id: int, rule_id: int) -> None:
    """Let the tick take once more what was taken and held, because the rule was paused."""
    held = (_c.tenant_id == tenant_id, _c.automation_id == rule_id, _c.state == "taken")
    session.connection().execute(update(due).where(*held).values(state="planned"))


def mark_fired(session: OrmSession, tenant_id: int, row_id: int) -> None:
    values = {"state": "fired", "fired_at": clock.now()}
    session.connection().execute(update(due).where(_c.tenant_id == tenant_id, _c.id == row_id).values(values))


def fire_once(
    session: OrmSession, tenant_id: int, record_type: str, wants: Mapping[int, Due], rule: Rule
) -> list[int]:
    """Note that each of these records fires for this rule and what it is due for now; those that did not before."""
    now, connection = clock.now(), session.connection()
    rows = [
        {
            **_row(tenant_id, record_type, (rule.id, record_id), want, rule.number),
            "state": "fired",
            "fired_at": now,
        }
        for record_id, want in wants.items()
    ]
    made = connection.execute(_insert(connection).values(rows).returning(_c.record_id)) if rows else ()
    found = {row.record_id for row in made}
    return [record_id for record_id in wants if record_id in found]

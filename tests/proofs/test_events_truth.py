"""Proof 2, events tell the truth: what is stored equals the difference of the tables before and after.

Random work of the real operations, in savepoints within savepoints of which some are undone, in
transactions of which some are rolled back, with rules that make records of their own. After each commit
every watched table and list is compared, over another connection, with what the new events say.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, select, text

from soconnective.appointments import operations as appointments
from soconnective.appointments.models import Appointment
from soconnective.contacts import operations as contacts
from soconnective.contacts.models import Company, Contact
from soconnective.contacts.operations import Identity
from soconnective.core import clock
from soconnective.core.db import db, plain, write_transaction
from soconnective.core.errors import Refused
from soconnective.deals import operations as deals
from soconnective.deals.models import Deal, Stage
from soconnective.events import capture, pending
from soconnective.events.watch import watches
from soconnective.tags import operations as tags
from soconnective.tags.queries import every_tag
from soconnective.tasks import operations as tasks
from soconnective.tasks.models import Task
from soconnective.timeline import operations as notes
from soconnective.timeline.models import Note
from tests.factories.records import make_rule

NAME = "2 Events tell the truth"
State = dict[tuple[str, int], dict[str, Any]]
CREATED = {"appointment": "appointment.scheduled", "note": "note.logged"}


class Office:
    """Somebody who does all kinds of things at random, and an auditor who reads the tables."""

    def __init__(self, app: Flask, team: Any, seed: int) -> None:
        self.team, self.chance = team, random.Random(seed)
        self.reader = create_engine(app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool)
        self.people = [None, team.owner.id, team.member.id]
        self.number = 0

    # --- work -------------------------------------------------------------------------------------

    def one(self, model: Any) -> Any:
        ids = list(db.session.scalars(select(model.id).order_by(model.id)))
        return db.session.get(model, self.chance.choice(ids)) if ids else None

    def an_id(self, model: Any) -> int | None:
        found = self.one(model)
        return found.id if found is not None and self.chance.random() < 0.7 else None

    def word(self) -> str:
        self.number += 1
        return self.chance.choice(["Ana", "Bo", "Cy", f"No {self.number}"])

    def addresses(self) -> list[Identity]:
        names = self.chance.sample(range(60), self.chance.randint(0, 3))
        return [Identity("email", f"p{name}@x.example") for name in names]

    def add_contact(self) -> None:
        contacts.create_contact(self.word(), self.word(), identities=self.addresses(), company_id=self.an_id(Company),
                                owner_id=self.chance.choice(self.people))  # fmt: skip

    def change_contact(self) -> None:
        if (found := self.one(Contact)) is not None:
            contacts.update_contact(found, self.addresses() if self.chance.random() < 0.5 else None, job_title=self.word(),
                                    first_name=self.word(), company_id=self.an_id(Company))  # fmt: skip

    def delete_contact(self) -> None:
        if (found := self.one(Contact)) is not None:
            contacts.delete_contact(found)

    def add_company(self) -> None:
        contacts.create_company(self.word(), about=self.word(), owner_id=self.chance.choice(self.people))

    def change_company(self) -> None:
        if (found := self.one(Company)) is not None:
            contacts.update_company(
                found, name=self.word(), phone=self.chance.choice([None, "+34 600 000 000"])
            )

    def delete_company(self) -> None:
        if (found := self.one(Company)) is not None:
            contacts.delete_company(found)

    def stage(self) -> int:
        return self.chance.choice(list(self.team.stages.values()))

    def add_deal(self) -> None:
        deals.create_deal(self.word(), self.stage(), amount=Decimal(self.chance.randint(0, 5)) / 4, company_id=self.an_id(Company),
                          contact_ids=[i for i in {self.an_id(Contact), self.an_id(Contact)} if i])  # fmt: skip

    def change_deal(self) -> None:
        if (found := self.one(Deal)) is not None:
            deals.update_deal(
                found,
                title=self.word(),
                amount=Decimal(self.chance.randint(0, 3)),
                expected_close_on=date(2026, 12, self.chance.randint(1, 3)),
            )

    def move_deal(self) -> None:
        if (found := self.one(Deal)) is not None:
            deals.move_deal(
                found, db.session.get_one(Stage, self.stage()), self.chance.choice(["price", "time"])
            )

    def people_of_deal(self) -> None:
        if (found := self.one(Deal)) is not None:
            deals.set_deal_contacts(found, [i for i in {self.an_id(Contact), self.an_id(Contact)} if i])

    def add_tag(self) -> None:
        tags.create_tag(f"Tag {self.chance.randrange(10**9)}")

    def tags_of_one(self) -> None:
        model, update = self.chance.choice(
            [
                (Contact, contacts.update_contact),
                (Company, contacts.update_company),
                (Deal, deals.update_deal),
            ]
        )
        if (found := self.one(model)) is not None:
            update(
                found,
                tag_ids=self.chance.sample(
                    list(every_tag()), self.chance.randint(0, min(3, len(every_tag())))
                ),
            )

    def delete_tag(self) -> None:
        known = list(every_tag().values())
        if len(known) > 1:
            one, other = self.chance.sample(known, 2)
            tags.delete_tag(one, self.chance.choice([None, other]))

    def delete_deal(self) -> None:
        if (found := self.one(Deal)) is not None:
            deals.delete_deal(found)

    def add_task(self) -> None:
        tasks.create_task(self.word(), deal_id=self.an_id(Deal), contact_id=self.an_id(Contact))

    def change_task(self) -> None:
        if (found := self.one(Task)) is not None:
            tasks.update_task(found, title=self.word(), due_on=date(2026, 12, self.chance.randint(1, 3)))

    def switch_task(self) -> None:
        if (found := self.one(Task)) is not None:
            tasks.complete_task(found) if found.is_open else tasks.reopen_task(found)

    def delete_task(self) -> None:
        if (found := self.one(Task)) is not None:
            tasks.delete_task(found)

    def add_appointment(self) -> None:
        starts = clock.now() + timedelta(days=self.chance.randint(0, 3))
        appointments.schedule_appointment(
            self.word(),
            starts,
            starts + timedelta(hours=1),
            people_ids=[i for i in {self.an_id(Contact)} if i],
        )

    def change_appointment(self) -> None:
        if (found := self.one(Appointment)) is not None:
            appointments.update_appointment(
                found, people_ids=[i for i in {self.an_id(Contact)} if i], place=self.word()
            )

    def switch_appointment(self) -> None:
        if (found := self.one(Appointment)) is not None:
            appointments.set_status(found, self.chance.choice(["cancelled", "done", "scheduled"]))

    def add_note(self) -> None:
        if (deal := self.an_id(Deal)) is not None:
            notes.write_note(self.word(), deal_id=deal)

    def delete_note(self) -> None:
        if (found := self.one(Note)) is not None and not found.is_system:
            notes.delete_note(found)

    def look_around(self) -> None:
        self.chance.choice([db.session.flush, db.session.expire_all])()

    def jobs(self) -> list[Callable[[], None]]:
        return [getattr(self, name) for name in sorted(vars(Office)) if name.startswith(
            ("add_", "change_", "delete_", "switch_", "move_", "people_of", "tags_of", "look_around"))]  # fmt: skip

    def work(self, depth: int = 0) -> None:
        for _ in range(self.chance.randint(1, 4)):
            if depth < 3 and self.chance.random() < 0.25:
                inner = db.session.begin_nested()
                self.work(depth + 1)
                inner.rollback() if self.chance.random() < 0.4 else inner.commit()
            else:
                self.chance.choice(self.jobs())()

    def transaction(self) -> None:
        """One transaction; now and then it is rolled back as a whole."""
        with suppress(Refused), write_transaction():
            self.work()
            if self.chance.random() < 0.1:
                db.session.rollback()
        db.session.remove()

    # --- audit ------------------------------------------------------------------------------------

    def state(self) -> State:
        """Every watched field and list of every record."""
        found: State = {}
        with self.reader.connect() as connection:
            for watch in watches.values():
                for row in connection.execute(select(watch.model.__table__)).mappings():
                    fields = {name: same(plain(row[name])) for name in watch.fields if row[name] is not None}
                    fields |= {part.field: Counter() for part in watch.parts}
                    found[watch.record_type, row["id"]] = fields
                for part in watch.parts:
                    for row in connection.execute(select(part.model.__table__)):
                        found[watch.record_type, getattr(row, part.parent)][part.field][
                            plain(part.value(row))
                        ] += 1
        return found

    def events(self, after: int) -> list[Any]:
        with self.reader.connect() as connection:
            columns = "id, name, record_type, record_id, changes, parent_id, root_id, depth, actor_kind"
            rows = connection.execute(
                text(f"SELECT {columns} FROM events WHERE id > :after ORDER BY id"), {"after": after}
            )
            return list(rows.all())


def same(value: Any) -> Any:
    """A number by its worth: 1.5 and 1.50 are one amount."""
    try:
        return (
            str(Decimal(value).normalize())
            if isinstance(value, str) and value.replace(".", "", 1).isdigit()
            else value
        )
    except ArithmeticError:
        return value


def difference(before: State, after: State) -> dict[tuple[str, int], dict[str, Any]]:
    """What changed, by record: old and new of a field, what left and what came of a list."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for key in before.keys() | after.keys():
        was, now, changes = before.get(key, {}), after.get(key, {}), {}
        for name in was.keys() | now.keys():
            old, new = was.get(name), now.get(name)
            if isinstance(old, Counter) or isinstance(new, Counter):
                old, new = old or Counter(), new or Counter()
                if old != new:
                    changes[name] = (sorted((old - new).elements()), sorted((new - old).elements()))
            elif old != new:
                changes[name] = (old, new)
        if changes or (key in before) != (key in after):
            found[key] = changes
    return found


def told(changes: Any) -> dict[str, Any]:
    read = json.loads(changes) if isinstance(changes, str) else changes
    return {
        name: (sorted(old), sorted(new)) if isinstance(old, list) else (same(old), same(new))
        for name, (old, new) in read.items()
    }


def wrong(before: State, after: State, events: list[Any]) -> list[str]:
    """Where the events and the tables disagree."""
    expected, problems = difference(before, after), []
    by_record = defaultdict(list)
    for event in events:
        by_record[event.record_type, event.record_id].append(event)
    for key in expected.keys() | by_record.keys():
        facts, changes = by_record.get(key, []), expected.get(key)
        if changes is None:
            problems.append(f"{key}: told {[f.name for f in facts]}, and nothing changed")
            continue
        if not facts:
            problems.append(f"{key}: changed {changes}, and nothing was told")
            continue
        kind = key[0]
        first = {(False, True): CREATED.get(kind, f"{kind}.created"), (True, False): f"{kind}.deleted"}.get(
            (key in before, key in after)
        )
        if first == "appointment.scheduled" and changes["status"][1] != "scheduled":
            first = "appointment.updated"  # made and already done or cancelled, in one transaction
        names = [fact.name for fact in facts]
        if (first and first not in names) or len(set(names)) != len(names):
            problems.append(f"{key}: told {names} of {'a new one' if key in after else 'one that is gone'}")
        is_again = kind == "appointment" and changes.get("status", ("", ""))[1] == "scheduled"
        if not first and (
            f"{kind}.deleted" in names or (CREATED.get(kind, f"{kind}.created") in names and not is_again)
        ):
            problems.append(f"{key}: told {names} of one that stayed")
        problems += [
            f"{key}: {fact.name} told {told(fact.changes)}, it was {changes}"
            for fact in facts
            if told(fact.changes) != changes
        ]
    known = {event.id for event in events}
    for event in events:
        by_rule = event.actor_kind == "automation"
        if (
            by_rule != (event.parent_id is not None)
            or by_rule != (event.depth > 0)
            or (by_rule and not {event.parent_id, event.root_id} <= known)
        ):
            problems.append(
                f"event {event.id} {event.name} by {event.actor_kind}: parent {event.parent_id}, depth {event.depth}"
            )
    return problems


def audit(office: Office, transactions: int) -> tuple[int, list[str]]:
    """Work and compare after each transaction; how many events were looked at, and what is wrong."""
    before, last, seen, problems = office.state(), max([e.id for e in office.events(0)], default=0), 0, []
    for number in range(transactions):
        try:
            office.transaction()
        except Exception as error:
            db.session.remove()
            problems.append(f"transaction {number} broke: {error!r}")
        after, events = office.state(), office.events(last)
        problems += [f"transaction {number}: {problem}" for problem in wrong(before, after, events)]
        before, last, seen = after, max([e.id for e in events], default=last), seen + len(events)
        if len(problems) > 20:
            break
    return seen, problems


@pytest.fixture
def office(app: Flask, inside: Any) -> Iterator[Office]:
    made = Office(app, inside, 2)
    make_rule("deal.created", [("create_task", {"title": "Call", "due_in_days": 1})], name="New deal")
    make_rule(
        "deal.stage_changed",
        [("log_note", {"body": "moved"}), ("create_task", {"title": "Ask", "due_in_days": 0})],
        name="Moved",
    )
    make_rule("contact.created", [("log_note", {"body": "hello"})], name="New contact")
    make_rule("task.completed", [("log_note", {"body": "done"})], name="Done")
    db.session.remove()
    yield made
    made.reader.dispose()


@pytest.mark.proof(NAME)
def test_the_events_are_the_difference_of_the_tables(office: Office, proof: Any) -> None:
    transactions = proof.scale(150, 5_000)
    seen, problems = audit(office, transactions)
    proof.cases, proof.found = transactions, len(problems)
    assert not problems, "\n".join(problems)
    assert seen > 2 * transactions


def _drop_deals(notes: Any, row: Any) -> None:
    if not isinstance(row, Deal):
        REAL(notes, row)


REAL = capture._note_new


@pytest.mark.control(NAME)
@pytest.mark.parametrize(
    "defect",
    ["a listener that is blind for deals", "a write past the session", "notes of undone savepoints stay"],
)
def test_a_planted_defect_is_found(office: Office, monkeypatch: pytest.MonkeyPatch, defect: str) -> None:
    if defect == "a listener that is blind for deals":
        monkeypatch.setattr(capture, "_note_new", _drop_deals)
    elif defect == "a write past the session":
        monkeypatch.setattr(tasks, "update_task", lambda task, **_v: db.session.connection().execute(
            text("UPDATE tasks SET title = 'past' WHERE id = :id"), {"id": task.id}))  # fmt: skip
    else:
        monkeypatch.setattr(pending.Pending, "__init__", _forgetful)
        db.session.remove()
    _seen, problems = audit(office, 80)
    assert problems


class _Nowhere(dict):  # type: ignore[type-arg]
    """Marks that say of every savepoint that all notes are older than it."""

    def get(self, _key: Any, _default: Any = None) -> int:
        return 10**9


def _forgetful(self: Any) -> None:
    self.notes, self.marks = [], _Nowhere()

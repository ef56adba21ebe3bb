"""What the areas offer each other without knowing each other: abilities go up by registration.

Everything is keyed by name, so building the app twice (tests do) registers nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm.util import identity_key

from soconnective.core.db import db


@dataclass(frozen=True)
class RecordType:
    """A kind of record that pages, events and rules can name.

    `url(id)` is its page; `title(row)` its name.
    `fields` are (name, label) of the snapshot: what merge fields may use. `apart` are names of fields that tell
    records of the same name apart (`core.apart`).
    """

    name: str
    label: str
    plural: str
    icon: str
    model: type[Any]
    url: Callable[[int], str]
    title: Callable[[Any], str]
    fields: Sequence[tuple[str, str]] = ()
    apart: Sequence[str] = ()

    def get(self, record_id: int) -> Any:
        """The row of the current tenant, or None."""
        return db.session.get(self.model, record_id)

    def first(self, limit: int) -> list[tuple[str, str]]:
        """The first rows of the current tenant as (id, name), for lists to choose from."""
        rows = db.session.scalars(select(self.model).order_by(self.model.id.desc()).limit(limit))
        return sorted(((str(row.id), self.title(row)) for row in rows), key=lambda one: one[1].casefold())

    def titles(self, ids: Collection[int]) -> dict[int, str]:
        """The names of many at once; one statement at most, none for rows that are loaded."""
        rows = [db.session.identity_map.get(identity_key(self.model, record_id)) for record_id in ids]
        found = {row.id: row for row in rows if row is not None}
        missing = [record_id for record_id in ids if record_id not in found]
        if missing:
            asked = db.session.scalars(select(self.model).where(self.model.id.in_(missing)))
            found.update({row.id: row for row in asked})
        return {record_id: self.title(row) for record_id, row in found.items()}


@dataclass(frozen=True)
class NavItem:
    """An entry of the sidebar. `badge()` returns a count to show, or None."""

    name: str
    label: str
    endpoint: str
    icon: str
    order: int
    permission: str = "records.view"
    group: str = "main"
    badge: Callable[[], int | None] | None = None


@dataclass(frozen=True)
class NewItem:
    """An entry of the *New* menu, and of a record's *New ...* buttons.

    `for_record(type, id)` gives the URL arguments that fill in the links, or None if it does not belong there.
    """

    name: str
    label: str
    endpoint: str
    icon: str
    order: int
    for_record: Callable[[str, int], dict[str, Any] | None] = lambda _type, _id: {}


@dataclass(frozen=True)
class Panel:
    """A part of a record's page that another area draws: `context(record)` fills `template`."""

    name: str
    record_type: str
    order: int
    template: str
    context: Callable[[Any], dict[str, Any]]
    side: bool = False


@dataclass(frozen=True)
class Dependant:
    """What hangs on a record, and what deleting the record does to it.

    `count(record)` rows of `label`; `release(record)` clears or deletes them through the ORM, so that
    events fire; `effect` says in words what release does ("are kept without the deal").
    """

    name: str
    record_type: str
    label: str
    effect: str
    count: Callable[[Any], int]
    release: Callable[[Any], None]


@dataclass(frozen=True)
class SearchHit:
    title: str
    detail: str
    url: str
    icon: str


@dataclass(frozen=True)
class Search:
    """`find(words, limit)` returns the hits of one area for normalised words."""

    name: str
    label: str
    order: int
    find: Callable[[str, int], list[SearchHit]]


@dataclass(frozen=True)
class SettingsSection:
    name: str
    label: str
    endpoint: str
    icon: str
    order: int
    permission: str
    text: str = ""
    is_shown: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Person:
    """A member of the current workspace as other areas see one. `is_active` False: disabled or removed."""

    id: int
    name: str
    email: str
    role: str
    is_active: bool


@dataclass
class People:
    """Set by accounts: everybody of the current workspace by id, loaded once a request."""

    load: Callable[[], dict[int, Person]] = field(default=dict)


class Registry:
    """All registrations; one instance, `registry`, filled while the app is built."""

    def __init__(self) -> None:
        self.record_types: dict[str, RecordType] = {}
        self.nav: dict[str, NavItem] = {}
        self.new: dict[str, NewItem] = {}
        self.panels: dict[str, Panel] = {}
        self.dependants: dict[str, Dependant] = {}
        self.searches: dict[str, Search] = {}
        self.settings: dict[str, SettingsSection] = {}
        self.people = People()
        # handovers(person_id) -> (label, count); hand_over(person_id, to_id) moves them (to_id None: unassigned)
        self.holdings: dict[str, Holding] = {}

    def add(self, *items: Any) -> None:
        for item in items:
            self._table(item)[item.name] = item

    def _table(self, item: Any) -> dict[str, Any]:
        tables: dict[type, dict[str, Any]] = {
            RecordType: self.record_types,
            NavItem: self.nav,
            NewItem: self.new,
            Panel: self.panels,
            Dependant: self.dependants,
            Search: self.searches,
            SettingsSection: self.settings,
            Holding: self.holdings,
        }
        return tables[type(item)]

    def panels_of(self, record_type: str) -> list[Panel]:
        return sorted(
            (p for p in self.panels.values() if p.record_type == record_type), key=lambda p: p.order
        )

    def dependants_of(self, record_type: str) -> list[Dependant]:
        return [d for d in self.dependants.values() if d.record_type == record_type]

    def in_order(self, items: Iterable[Any]) -> list[Any]:
        return sorted(items, key=lambda item: item.order)


@dataclass(frozen=True)
class Holding:
    """What a person holds (deals, tasks, a rule's fixed person) and how it is handed over when they leave."""

    name: str
    label: str
    count: Callable[[int], int]
    hand_over: Callable[[int, int | None], Any]


registry = Registry()


def people() -> dict[int, Person]:
    """Everybody who is or was a member of the current workspace, by user id."""
    return registry.people.load()


def person(person_id: int | None) -> Person | None:
    """One of them; for nobody nothing is read."""
    return None if person_id is None else people().get(person_id)


def called(person_id: int | None) -> str | None:
    """A person's name, with the address where another one has the same name; None for nobody known."""
    found = people().get(person_id or 0)
    if found is None:
        return None
    is_one = sum(person.name == found.name for person in people().values()) == 1
    return found.name if is_one else f"{found.name} ({found.email})"


def active_people() -> list[Person]:
    """Those who can be given work, by name."""
    return sorted((p for p in people().values() if p.is_active), key=lambda p: p.name.casefold())

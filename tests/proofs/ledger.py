"""All rows of all tables, read by a role that no wall stops; what differs between two looks; and the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Flask
from psycopg.types.json import Json
from sqlalchemy import Table

from soconnective.core.model import Base
from tests.databases import owner_engine

Rows = dict[str, dict[tuple[Any, ...], tuple[Any, ...]]]
# What a new row is known by, beside its table: what does not differ from one time to the next.
KNOWN_BY = frozenset(
    {
        "name", "kind", "title", "body", "subject", "to_address", "outcome", "state", "record_type", "automation_id",
        "actor_name", "created_by_name", "event_name", "person_id", "owner_id", "stage_id", "tag_id", "email",
    }
)  # fmt: skip
PASSING = frozenset({"id", "updated_at", "milliseconds", "version", "started_at"})
NOTICES = frozenset({"rule_failed", "rule_paused"})  # their titles say the rule's name


class Ledger:
    """Read with `rows()`, compare with `difference()`, go back with `restore()`. Values are as the driver gives them."""

    def __init__(self, app: Flask) -> None:
        self.engine = owner_engine(app)
        self.connection = self.engine.connect()
        self.is_postgresql = self.connection.dialect.name == "postgresql"
        self.tables = Base.metadata.sorted_tables
        assert len(self.tables) > 40
        self.columns = {t.name: [column.name for column in t.c] for t in self.tables}
        self.keys = {
            t.name: [c.name for c in (list(t.primary_key.columns) or list(t.c))] for t in self.tables
        }
        self.places = {n: [self.columns[n].index(key) for key in keys] for n, keys in self.keys.items()}
        self.reads = [(t.name, f"SELECT {', '.join(self._quoted(t))} FROM {t.name}") for t in self.tables]

    @staticmethod
    def _quoted(table: Table) -> list[str]:
        return [f'"{column.name}"' for column in table.c]

    def rows(self) -> Rows:
        found: Rows = {}
        for name, statement in self.reads:
            places = self.places[name]
            rows = map(tuple, self.connection.exec_driver_sql(statement).all())
            found[name] = {tuple(row[place] for place in places): row for row in rows}
        self.connection.rollback()
        return found

    def restore(self, wanted: Rows, now: Rows | None = None) -> None:
        """Make the rows what they were: nobody else may be using the database. `now` is how they are."""
        now = now or self.rows()
        touched = [t.name for t in self.tables if now[t.name] != wanted[t.name]]
        for name in reversed(touched):
            surplus = now[name].keys() - wanted[name].keys()
            for key in sorted(surplus, reverse=True):  # the youngest first: they point to older ones
                self._run(f"DELETE FROM {name} WHERE {self._are(self.keys[name], ' AND ')}", key)
        for name in touched:
            columns = self.columns[name]
            for key, row in sorted(wanted[name].items(), key=lambda pair: pair[0]):
                there = now[name].get(key)
                if there is None:
                    names = ", ".join(f'"{column}"' for column in columns)
                    marks = ", ".join([self._mark] * len(columns))
                    self._run(f"INSERT INTO {name} ({names}) VALUES ({marks})", row)
                elif there != row:
                    put, which = self._are(columns, ", "), self._are(self.keys[name], " AND ")
                    self._run(f"UPDATE {name} SET {put} WHERE {which}", (*row, *key))
        self.connection.commit()

    def _run(self, statement: str, values: tuple[Any, ...]) -> None:
        fit = tuple(Json(v) if self.is_postgresql and isinstance(v, dict | list) else v for v in values)
        self.connection.exec_driver_sql(statement, fit)

    @property
    def _mark(self) -> str:
        return "%s" if self.is_postgresql else "?"

    def _are(self, names: list[str], between: str) -> str:
        return between.join(f'"{name}" = {self._mark}' for name in names)

    def difference(self, before: Rows, after: Rows, aliases: Mapping[tuple[str, str], str]) -> Counter[Any]:
        """What is new (known by `KNOWN_BY`), gone, or changed (in which columns), in every table.

        `aliases` stand for what a column says: ("automation_id", "7") or, in any column, ("", "The rule").
        """
        found: Counter[Any] = Counter()
        for name, columns in self.columns.items():
            then, now = before[name], after[name]
            if then == now:
                continue
            for key, row in now.items():
                if key not in then:
                    found[name, "new", known_by(dict(zip(columns, row, strict=True)), aliases)] += 1
                elif row != then[key]:
                    pairs = zip(columns, then[key], row, strict=True)
                    changed = tuple(column for column, a, b in pairs if a != b and column not in PASSING)
                    found[name, "changed", (key, changed)] += 1
            for key in then.keys() - now.keys():
                found[name, "gone", key] += 1
        return found

    @contextmanager
    def refusing(self, table: str, verb: str, way: str, asked: str) -> Iterator[None]:
        """Meanwhile the database itself refuses the rows of `table` that are `asked` for, in its own way."""
        name = f"planted_{table}"
        when = {"new": "INSERT", "changed": "UPDATE", "gone": "DELETE"}[verb]
        asked = asked.replace("NEW.", "OLD.") if verb == "gone" else asked
        if self.is_postgresql:
            body = f"BEGIN IF {asked} THEN RAISE EXCEPTION 'planted'; END IF; RETURN NULL; END"
            made = [
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
                f"CREATE TRIGGER {name} AFTER {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
            ]
            gone = f"DROP FUNCTION {name}() CASCADE"
        else:
            body = f"BEGIN SELECT RAISE({way}, 'planted'); END"
            made = [f"CREATE TRIGGER {name} AFTER {when} ON {table} WHEN {asked} {body}"]
            gone = f"DROP TRIGGER {name}"
        for statement in made:
            self.connection.exec_driver_sql(statement)
        self.connection.commit()
        try:
            yield
        finally:
            self.connection.exec_driver_sql(gone)
            self.connection.commit()

    def close(self) -> None:
        self.connection.close()


def known_by(row: Mapping[str, Any], aliases: Mapping[tuple[str, str], str]) -> tuple[tuple[str, str], ...]:
    said = [(name, str(value)) for name, value in row.items() if name in KNOWN_BY]
    if row.get("kind") in NOTICES:
        said = [pair for pair in said if pair[0] != "title"]
    if "event_name" in row:  # a webhook's message says moments and keys
        said = [pair for pair in said if pair[0] != "body"]
    return tuple((name, aliases.get((name, text)) or aliases.get(("", text)) or text) for name, text in said)

"""Fresh databases, paired timings, and the replay of the same statements on the bare driver.

While the app works, each statement and its parameters are noted as the driver gets them; then a copy
of the database, taken before, gets exactly the same ones by hand. What is between the two is ours.
"""

from __future__ import annotations

import gc
import json
import re
import shutil
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from soconnective import create_app
from soconnective.core.access import acting_as
from soconnective.core.db import db
from soconnective.core.row_security import SET_TENANT
from soconnective.core.tenancy import acting_in
from tests.databases import OWNER, TEMPLATE, PostgresDatabases, Run, SqliteDatabases, join, settings_for
from tests.workspaces import Team, make_team

Statement = tuple[str, Any, bool]
WARM_UP = 5


class Databases:
    """Databases of one run: fresh ones, and copies of one as it is now."""

    def __init__(self, kind: str) -> None:
        self.kind, self.run = kind, Run(kind)
        self.databases: Any = join(self.run.place, "bench")
        self._number = 0

    def fresh(self) -> str:
        """The address of a database with the schema and no row."""
        if isinstance(self.databases, SqliteDatabases):
            return self.databases.fresh()
        self.databases.fresh()  # makes the template at the first call
        return self._copy(TEMPLATE)

    def copy(self, url: str) -> str:
        """The address of a copy; nobody may be connected to `url`."""
        if isinstance(self.databases, SqliteDatabases):
            target = self.databases.empty()
            shutil.copyfile(path_of(url), path_of(target))
            return target
        return self._copy(name_of(url))

    def _copy(self, template: str) -> str:
        assert isinstance(self.databases, PostgresDatabases)
        self._number += 1
        name = f"bench_{self._number}"
        self.databases._execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}")
        return self.databases._url(name)

    def discard(self, url: str) -> None:
        self.databases.discard(url)

    def analyze(self, url: str) -> None:
        """What autovacuum does in a server that lives: without it plans are made for empty tables."""
        if self.kind == "postgresql":
            self.databases._execute("VACUUM ANALYZE", name_of(url))

    def close(self) -> None:
        self.run.close()


def name_of(url: str) -> str:
    return re.sub(r".*/(\w+)\?.*", r"\1", url)


def path_of(url: str) -> str:
    return url.removeprefix("sqlite:///")


@contextmanager
def working_in(url: str, team: Team | None = None) -> Iterator[Team]:
    """The app on `url`, inside a workspace (a new one, or `team`) as its owner."""
    app = create_app(settings_for(url))
    app.config["SOCONNECTIVE_RULE_SECONDS"] = 300.0
    found = team or make_team(app, "Bench", "bench.example")
    with app.app_context(), acting_in(found.id), acting_as(found.owner.actor):
        try:
            yield found
        finally:
            db.session.remove()
            db.engine.dispose()


def note_statements() -> list[list[Statement]]:
    """From now on each operation's statements are noted; append a new list before each operation."""
    operations: list[list[Statement]] = [[]]

    @event.listens_for(db.engine, "before_cursor_execute")
    def _note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        operations[-1].append((statement, parameters, many))

    return operations


def replay(kind: str, url: str, operations: Sequence[Sequence[Statement]], tenant_id: int) -> list[float]:
    """Milliseconds of each operation's statements on the bare driver, in one transaction each."""
    connection: Any
    if kind == "sqlite":
        connection = sqlite3.connect(path_of(url), isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
    else:
        connection = psycopg.connect(url)
    cursor = connection.cursor()
    times = []
    for statements in operations:
        began = time.perf_counter()
        if kind == "sqlite":
            cursor.execute("BEGIN IMMEDIATE")
        else:
            cursor.execute(SET_TENANT, (str(tenant_id),))
        for statement, parameters, many in statements:
            if many and isinstance(parameters, list):
                cursor.executemany(statement, parameters)
                continue
            cursor.execute(statement, parameters)
            if cursor.description is not None:
                cursor.fetchall()
        connection.commit()
        times.append((time.perf_counter() - began) * 1000)
    connection.close()
    return times


def timed(
    work: Callable[[Any], None], items: Sequence[Any], operations: list[list[Statement]]
) -> list[float]:
    """Milliseconds of `work` on each item."""
    times = []
    gc.collect()
    gc.freeze()  # as `soconnective serve` does
    for item in items:
        operations.append([])
        began = time.perf_counter()
        work(item)
        times.append((time.perf_counter() - began) * 1000)
    gc.unfreeze()
    del operations[0]
    return times


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def say(line: dict[str, Any]) -> None:
    """One JSON line of a result."""
    print(json.dumps({k: round(v, 2) if isinstance(v, float) else v for k, v in line.items()}), flush=True)


def table(lines: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """The results as a table."""
    rows = [
        [f"{v:.2f}" if isinstance(v := line.get(c, ""), float) else str(v) for c in columns] for line in lines
    ]
    widths = [max(len(row[i]) for row in [list(columns), *rows]) for i in range(len(columns))]
    for row in [list(columns), *rows]:
        print(
            "  ".join(
                cell.ljust(width) if not i else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        )

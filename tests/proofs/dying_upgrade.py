"""A child that migrates DATABASE_URL and kills itself (SIGKILL) at the point numbered DIE_AT.

Each statement has a point before and a point after it, each COMMIT one before it. At the end (or with
DIE_AT=0) the number of points is printed. DIE_DOWN_TO names a revision to go down to first;
DIE_AUTOCOMMIT=1 plants the defect: every change of the schema is committed at once.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from flask_migrate import downgrade, upgrade
from sqlalchemy import Connection, Engine, event

from soconnective import create_app


class Fate:
    def __init__(self) -> None:
        self.point, self.last = 0, int(os.environ.get("DIE_AT", "0"))
        self.plants = os.environ.get("DIE_AUTOCOMMIT") == "1"

    def pass_by(self) -> None:
        self.point += 1
        if self.point == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, *_: Any) -> None:
        self.pass_by()

    def after(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if self.plants and statement.lstrip().startswith(("CREATE", "ALTER", "DROP")):
            raw: Any = connection.connection.dbapi_connection
            if connection.dialect.name == "sqlite":
                raw.execute("COMMIT")
                raw.execute("BEGIN IMMEDIATE")
            else:
                raw.commit()
        self.pass_by()


def main() -> None:
    app, fate = create_app({"TESTING": True}), Fate()
    with app.app_context():
        event.listen(
            Engine, "before_cursor_execute", fate.before
        )  # of every engine: migrations are the owner's
        event.listen(Engine, "after_cursor_execute", fate.after)
        event.listen(Engine, "commit", fate.before)
        if lowest := os.environ.get("DIE_DOWN_TO"):
            downgrade(revision=lowest)
        upgrade()
    print(f"points {fate.point}")


if __name__ == "__main__":
    main()

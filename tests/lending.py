"""One app for the tests of a worker, lent to one after the other: building it takes longer than most tests do.

A test may set what it likes in `app.config`; it is put back. A test that gives the app a route, a hook or a
listener leaves one that is not lent again.
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask
from sqlalchemy import Engine, event

from soconnective import create_app
from soconnective.core.db import db
from tests.databases import settings_for

HOOKS = (
    "before_request_funcs",
    "after_request_funcs",
    "teardown_request_funcs",
    "template_context_processors",
)
MOMENTS = ("before_cursor_execute", "after_cursor_execute", "begin", "commit", "rollback", "savepoint")


class Lender:
    """`lend()` gives an app on the database at `url`, which nobody else uses meanwhile."""

    def __init__(self, connected: set[int]) -> None:
        """`connected` gets the backends of PostgreSQL that the lent app's idle connections lead to."""
        self._app: Flask | None = None
        self._made_for: Any = None
        self._config: dict[str, Any] = {}
        self._shape: list[Any] = []
        self._connected = connected

    def lend(self, url: str) -> Flask:
        wanted = (
            url,
            {name: value for name, value in os.environ.items() if name.startswith("SOCONNECTIVE_")},
        )
        if self._app is None or self._made_for != wanted:
            self.close()
            self._app = create_app(
                {**settings_for(url), "WTF_CSRF_ENABLED": False, "PROPAGATE_EXCEPTIONS": True}
            )
            self._made_for = wanted
            self._config, self._shape = dict(self._app.config), shape_of(self._app)
            self._connected.clear()
            with self._app.app_context():
                if db.engine.dialect.name == "postgresql":
                    self._listen(db.engine, self._connected)
        self._app._got_first_request = False  # routes and hooks may be added before the first one
        return self._app

    def take_back(self, app: Flask) -> None:
        with app.app_context():
            db.session.remove()
        app.config.clear()
        app.config.update(self._config)
        same = app is self._app and shape_of(app) == self._shape
        with app.app_context():
            pool: Any = db.engine.pool
            if (
                not (same and self._connected) or pool.checkedout()
            ):  # whoever still has one holds locks, perhaps
                db.engine.dispose()
                self._connected.clear()
        if not same:
            self._app = None

    def close(self) -> None:
        """End the connections that were left open."""
        if self._app is not None:
            with self._app.app_context():
                db.engine.dispose()

    @staticmethod
    def _listen(engine: Engine, connected: set[int]) -> None:
        """A new connection costs more than most tests ask of it; its idle ones are left open from test to test."""

        @event.listens_for(engine, "connect")
        def _opened(raw: Any, _entry: Any) -> None:
            connected.add(raw.info.backend_pid)


def shape_of(app: Flask) -> list[Any]:
    """What makes the app, config aside: equal before and after a test that changed nothing of it."""
    with app.app_context():
        engine: Engine = db.engine
    return [
        len(list(app.url_map.iter_rules())),
        dict(app.view_functions),
        *({name: list(found) for name, found in getattr(app, hook).items()} for hook in HOOKS),
        {code: dict(known) for code, known in app.error_handler_spec[None].items() if known},
        dict(app.extensions),
        app.wsgi_app,
        app.jinja_env.autoescape,
        dict(app.jinja_env.globals),
        dict(app.jinja_env.filters),
        [list(getattr(engine.dispatch, moment).listeners) for moment in MOMENTS],
    ]

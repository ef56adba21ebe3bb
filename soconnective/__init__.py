"""SoConnective: a self-hosted, multi-tenant CRM with a native automation engine.

`create_app()` is the only place that knows every package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask_migrate import Migrate


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the app. `config` overrides what the environment says (see `soconnective.config`)."""
    from soconnective import (
        accounts,
        appointments,
        automation,
        cli,
        contacts,
        dashboard,
        deals,
        demo,
        events,
        jobs,
        mail,
        notifications,
        saved_views,
        settings,
        tags,
        tasks,
        timeline,
        webhooks,
    )
    from soconnective import config as configuration
    from soconnective.core import db, formats, once, row_security, secrets, web

    app = Flask("soconnective", instance_relative_config=True, instance_path=configuration.instance_path())
    configuration.apply(app, config or {})
    db.init_app(app, app.config["DATABASE_URL"])
    row_security.init_app(app)
    Migrate(app, db.db, directory=configuration.migrations_path(), render_as_batch=True, compare_type=True)
    formats.init_app(app)
    web.init_app(app)
    app.extensions["soconnective.secrets"] = secrets  # its table belongs to the schema
    events.init_app(app)
    for area in (
        jobs,
        automation,
        accounts,
        webhooks,
        mail,
        notifications,
        tags,
        saved_views,
        contacts,
        deals,
        tasks,
        appointments,
        timeline,
        dashboard,
        settings,
        demo,
    ):
        area.init_app(app)
    once.init_app(app)
    automation.listen()
    cli.init_app(app)
    return app

"""The home page, the search over everything, and the health addresses: made only of what areas registered."""

from __future__ import annotations

from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Flask, current_app, g, redirect, render_template, request, url_for
from sqlalchemy import select, text

from soconnective.core.access import may, public
from soconnective.core.db import db
from soconnective.core.panels import draw_panels
from soconnective.core.registry import NavItem, registry
from soconnective.events import EventRow

bp = Blueprint("dashboard", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(bp)
    registry.add(NavItem("home", "Home", "dashboard.index", "home", 0))


@bp.get("/")
@public
def root() -> Any:
    return redirect(url_for("dashboard.index"))


@bp.get("/dashboard")
@may("records.view")
def index() -> Any:
    is_fresh = db.session.scalar(select(EventRow.id).limit(1)) is None
    return render_template(
        "dashboard/index.html", panels=draw_panels("home", None), is_fresh=is_fresh, name=g.person.name
    )


@bp.get("/dashboard/search")
@may("records.view")
def search() -> Any:
    words = request.args.get("q", "")[:200]
    groups = []
    for source in registry.in_order(registry.searches.values()):
        hits = source.find(words, 8)
        if hits:
            groups.append((source.label, hits))
    return render_template("dashboard/search.html", words=words, groups=groups)


@bp.get("/healthz")
@public
def healthz() -> Any:
    return {"status": "ok"}


@bp.get("/readyz")
@public
def readyz() -> Any:
    """200 when the database answers and its schema is the newest; else 503."""
    try:
        db.session.execute(text("SELECT 1"))
        current = MigrationContext.configure(db.session.connection()).get_current_revision()
        head = ScriptDirectory(current_app.extensions["migrate"].directory).get_current_head()
    except Exception:
        return {"status": "database"}, 503
    return ({"status": "ok"}, 200) if current == head else ({"status": "migrations"}, 503)

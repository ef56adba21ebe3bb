"""The home page, the search over everything, and the health addresses: made only of what areas registered."""

from __future__ import annotations

from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Flask, current_app, g, jsonify, redirect, render_template, request, url_for
from sqlalchemy import select, text

from soconnective import jobs
from soconnective.core.access import may, public
from soconnective.core.apart import told_apart
from soconnective.core.db import db
from soconnective.core.panels import draw_panels
from soconnective.core.registry import NavItem, registry
from soconnective.core.search import among, matching
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


@bp.get("/dashboard/pick/<any(contact, company, deal):record_type>")
@may("records.view")
def pick(record_type: str) -> Any:
    """Rows to choose from in a form, found by their words: a list of [id, title]."""
    found = matching(record_type, request.args.get("q", "")[:200])
    model = registry.record_types[record_type].model
    ids = (
        db.session.scalars(select(model.id).where(among(model.id, found)).limit(50))
        if found is not None
        else ()
    )
    titles = registry.record_types[record_type].titles(list(ids))
    found_apart = told_apart(record_type, [(str(row_id), title) for row_id, title in titles.items()])
    return jsonify([(int(row_id), title) for row_id, title in found_apart])


@bp.get("/healthz")
@public
def healthz() -> Any:
    return {"status": "ok"}


@bp.get("/readyz")
@public
def readyz() -> Any:
    """200 when the database answers, its schema is the newest and the machinery works; else 503 with what does not."""
    try:
        db.session.execute(text("SELECT 1"))
        current = MigrationContext.configure(db.session.connection()).get_current_revision()
        head = ScriptDirectory(current_app.extensions["migrate"].directory).get_current_head()
    except Exception:
        return {"status": "database"}, 503
    if current != head:
        return {"status": "migrations"}, 503
    why = jobs.readiness()
    return ({"status": "ok"}, 200) if why is None else ({"status": "jobs", "detail": why}, 503)

"""Tasks: something to do, by somebody, by a day.

Owns `tasks`. Hands *Create a task* to the rules, shows its panels on deals and contacts, and tells the
deals list what comes next. Knows nothing of appointments or notes.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, g, url_for
from sqlalchemy import func, select

from soconnective.core.db import db
from soconnective.core.registry import (
    Dependant,
    Holding,
    NavItem,
    NewItem,
    Panel,
    RecordType,
    Search,
    SearchHit,
    registry,
)
from soconnective.core.search import among, matching
from soconnective.core.workspace import workspace_today
from soconnective.deals.queries import next_steps
from soconnective.tasks import automation, conditions, events, queries, recipes, views
from soconnective.tasks.models import Task

__all__ = ["automation", "conditions", "events", "init_app", "recipes"]


def init_app(app: Flask) -> None:
    app.register_blueprint(views.bp)
    if queries.next_steps not in next_steps:
        next_steps.append(queries.next_steps)
    registry.add(
        RecordType(
            "task",
            "Task",
            "Tasks",
            "checkbox",
            Task,
            lambda row_id: url_for("tasks.show", task_id=row_id),
            lambda row: row.title,
            (
                ("title", "title"),
                ("due_on", "due date"),
                ("priority", "priority"),
                ("assignee", "assignee"),
                ("deal", "deal"),
                ("contact", "contact"),
            ),
            apart=("deal_id", "contact_id", "due_on", "status"),
        ),
        NavItem("tasks", "Tasks", "tasks.index", "checkbox", 40),
        NewItem("task", "Task", "tasks.new", "checkbox", 40, _for_record),
        Panel("tasks", "deal", 10, "tasks/_panel.html", lambda r: _panel(Task.deal_id == r.id, deal_id=r.id)),
        Panel(
            "tasks-of-contact",
            "contact",
            10,
            "tasks/_panel.html",
            lambda r: _panel(Task.contact_id == r.id, contact_id=r.id),
        ),
        Panel("home-tasks", "home", 10, "tasks/_home.html", _mine),
        Dependant(
            "tasks",
            "deal",
            "tasks",
            "kept, without the deal",
            lambda r: _count(Task.deal_id == r.id),
            lambda r: _release("deal_id", r.id),
        ),
        Dependant(
            "tasks-of-contact",
            "contact",
            "tasks",
            "kept, without the contact",
            lambda r: _count(Task.contact_id == r.id),
            lambda r: _release("contact_id", r.id),
        ),
        Search("tasks", "Tasks", 40, _find),
        Holding(
            "tasks", "open tasks", lambda p: _count(Task.assignee_id == p, Task.status == "open"), _hand_over
        ),
    )


def _for_record(record_type: str, record_id: int) -> dict[str, Any] | None:
    return {f"{record_type}_id": record_id} if record_type in ("deal", "contact") else None


def _panel(condition: Any, **links: Any) -> dict[str, Any]:
    return {
        "tasks": queries.open_first(condition),
        "new_url": url_for("tasks.new", **links),
        "today": workspace_today(),
    }


def _mine(_record: Any) -> dict[str, Any]:
    return {
        "tasks": queries.open_first(Task.assignee_id == g.person.id, Task.status == "open", limit=8),
        "today": workspace_today(),
    }


def _count(*conditions: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(Task).where(*conditions)) or 0


def _release(column: str, record_id: int) -> None:
    for task in db.session.scalars(select(Task).where(getattr(Task, column) == record_id)):
        setattr(task, column, None)


def _hand_over(person_id: int, to_id: int | None) -> None:
    for task in db.session.scalars(select(Task).where(Task.assignee_id == person_id, Task.status == "open")):
        task.assignee_id = to_id


def _find(words: str, limit: int) -> list[SearchHit]:
    found = matching("task", words)
    if found is None:
        return []
    rows = db.session.scalars(select(Task).where(among(Task.id, found)).order_by(Task.title).limit(limit))
    return [SearchHit(t.title, t.status, url_for("tasks.show", task_id=t.id), "checkbox") for t in rows]

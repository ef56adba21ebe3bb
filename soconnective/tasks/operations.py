"""Every write to tasks."""

from __future__ import annotations

from datetime import date
from typing import Any

from soconnective.core import clock
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.tasks.models import Task

_COLUMNS = ("title", "details", "due_on", "assignee_id", "priority", "deal_id", "contact_id")


def create_task(
    title: str,
    due_on: date | None = None,
    assignee_id: int | None = None,
    priority: str = "normal",
    deal_id: int | None = None,
    contact_id: int | None = None,
    details: str | None = None,
) -> Task:
    """An open task; its id comes with the next flush. References of another tenant fail at the database."""
    if not title.strip():
        raise Refused("A task needs a title.", "title")
    actor = current_actor()
    task = Task(
        title=title,
        details=details,
        due_on=due_on,
        status="open",
        assignee_id=assignee_id,
        priority=priority,
        deal_id=deal_id,
        contact_id=contact_id,
        created_by_kind=actor.kind,
        created_by_id=actor.id,
        created_by_name=actor.name,
    )
    db.session.add(task)
    return task


def update_task(task: Task, **values: Any) -> Task:
    """Change the given columns; completing has an operation of its own."""
    for name, value in values.items():
        if name not in _COLUMNS:
            raise TypeError(f"a task has no {name}")
        setattr(task, name, value)
    return task


def complete_task(task: Task) -> Task:
    """Mark as completed; a completed task stays as it is."""
    if task.is_open:
        task.status, task.completed_at = "completed", clock.now()
    return task


def reopen_task(task: Task) -> Task:
    if not task.is_open:
        task.status, task.completed_at = "open", None
    return task


def delete_task(task: Task) -> None:
    db.session.delete(task)

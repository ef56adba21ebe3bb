"""Reads of tasks that more than one place needs."""

from __future__ import annotations

from typing import Any

from flask import abort, url_for
from sqlalchemy import Select, func, select
from sqlalchemy.orm import joinedload

from soconnective.core.db import db
from soconnective.deals.queries import NextStep
from soconnective.tasks.models import Task

WITH_LINKS = (joinedload(Task.deal), joinedload(Task.contact))


def get_task(task_id: int) -> Task:
    return db.session.scalar(select(Task).where(Task.id == task_id).options(*WITH_LINKS)) or abort(404)


def open_first(*conditions: Any, limit: int = 20) -> list[Task]:
    """Tasks that match, open ones first by due date."""
    statement: Select[Any] = (
        select(Task)
        .where(*conditions)
        .options(*WITH_LINKS)
        .order_by(Task.status.desc(), Task.due_on.is_(None), Task.due_on, Task.id)
        .limit(limit)
    )
    return list(db.session.scalars(statement))


def open_counts() -> dict[int, int]:
    """How many open tasks each person has, by user id."""
    rows = db.session.execute(
        select(Task.assignee_id, func.count())
        .where(Task.status == "open", Task.assignee_id.is_not(None))
        .group_by(Task.assignee_id)
    )
    return {row[0]: row[1] for row in rows if row[0] is not None}


def next_steps(deal_ids: list[int]) -> dict[int, NextStep]:
    """The open task that is due first on each deal, by one statement."""
    if not deal_ids:
        return {}
    place = func.row_number().over(
        partition_by=Task.deal_id, order_by=(Task.due_on.is_(None), Task.due_on, Task.id)
    )
    ranked = (
        select(Task.id, Task.deal_id, Task.title, Task.due_on, place.label("place"))
        .where(Task.deal_id.in_(deal_ids), Task.status == "open")
        .subquery()
    )
    rows = db.session.execute(select(ranked).where(ranked.c.place == 1))
    return {r.deal_id: NextStep(r.title, r.due_on, url_for("tasks.show", task_id=r.id)) for r in rows}

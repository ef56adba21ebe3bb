"""The facts that tasks announce, and what fires when.

| what was saved                 | events |
| --- | --- |
| a new task                     | task.created |
| open → completed               | task.completed |
| completed → open               | task.reopened |
| any other value                | task.updated |
| completed and retitled at once | task.completed, task.updated |
| deleted                        | task.deleted |
"""

from __future__ import annotations

from typing import Any

from soconnective.contacts.models import Contact
from soconnective.core.db import db, plain
from soconnective.core.registry import person
from soconnective.deals.models import Deal
from soconnective.events import Change, Watch, declare, watch
from soconnective.tasks.models import Task

TASK_CREATED = declare(
    "task.created",
    "task",
    "Task created",
    sent_when="A task is saved for the first time, by a person or a rule. Created tasks are open.",
    not_when="It never completes a task: task.completed comes from completing only.",
)
TASK_UPDATED = declare(
    "task.updated",
    "task",
    "Task changed",
    sent_when="A title, text, due date, assignee, priority or link of an existing task changed.",
    not_when="Completing and reopening have their own events.",
)
TASK_COMPLETED = declare(
    "task.completed",
    "task",
    "Task completed",
    sent_when="An open task was marked completed. Again after it was reopened.",
    not_when="Not when it is created, and not when a completed task is saved again.",
)
TASK_REOPENED = declare(
    "task.reopened",
    "task",
    "Task reopened",
    sent_when="A completed task was opened again.",
    not_when="Not when an open task is saved.",
)
TASK_DELETED = declare(
    "task.deleted",
    "task",
    "Task deleted",
    sent_when="A task was deleted, with the values it had.",
    not_when="Not when it is completed.",
)


def classify(change: Change) -> list[str]:
    """The rows of the table above."""
    if change.kind != "updated":
        found = [f"task.{change.kind}"]
        if change.kind == "created" and change.moved("status", new="completed"):
            found.append("task.completed")
        return found
    found = []
    if change.moved("status", "open", "completed"):
        found.append("task.completed")
    elif change.moved("status", "completed", "open"):
        found.append("task.reopened")
    if set(change.fields) - {"status"}:
        found.append("task.updated")
    return found


def snapshot(task: Task) -> dict[str, Any]:
    """The task's values and the names of its links: mostly in the session already, so mostly no statement."""
    deal = db.session.get(Deal, task.deal_id) if task.deal_id is not None else None
    contact = db.session.get(Contact, task.contact_id) if task.contact_id is not None else None
    assignee = person(task.assignee_id)
    name = assignee.name if assignee else None
    return {
        "id": task.id,
        "task_id": task.id,
        "title": task.title,
        "due_on": plain(task.due_on),
        "priority": task.priority,
        "status": task.status,
        "assignee": name,
        "assignee_id": task.assignee_id,
        "owner": name,
        "owner_id": task.assignee_id,
        "deal": deal.title if deal else None,
        "deal_id": task.deal_id,
        "deal_amount": plain(deal.amount) if deal else None,
        "deal_stage_id": deal.stage_id if deal else None,
        "deal_status": deal.status if deal else None,
        "contact": contact.name if contact else None,
        "contact_id": task.contact_id,
    }


watch(
    Watch(
        Task,
        "task",
        ("title", "details", "due_on", "assignee_id", "priority", "status", "deal_id", "contact_id"),
        classify,
        snapshot,
        {"deal_id": "deal", "contact_id": "contact"},
    )
)

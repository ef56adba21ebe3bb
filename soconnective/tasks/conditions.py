"""What can be asked of tasks, in rules and in filters."""

from __future__ import annotations

from soconnective.core.conditions import Field, register_fields
from soconnective.tasks.models import Task

register_fields(
    "task",
    Field("title", "title", "text", lambda: Task.title),
    Field("due_on", "due", "date", lambda: Task.due_on),
    Field(
        "priority", "priority", "choice", lambda: Task.priority,
        choices=lambda: (("low", "low"), ("normal", "normal"), ("high", "high")),
    ),
    Field("status", "status", "choice", lambda: Task.status, choices=lambda: (("open", "open"), ("completed", "completed"))),
    Field("assignee_id", "assigned to", "person", lambda: Task.assignee_id, shown="assignee"),
    Field("deal_id", "deal", "record", lambda: Task.deal_id, record_type="deal", shown="deal"),
    Field("contact_id", "contact", "record", lambda: Task.contact_id, record_type="contact", shown="contact"),
)  # fmt: skip

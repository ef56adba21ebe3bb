"""What can be asked of tasks, in rules and in filters."""

from __future__ import annotations

from soconnective.core.conditions import Field, register_fields, through
from soconnective.deals.conditions import DEAL_STATUSES, stage_names
from soconnective.deals.models import Deal
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
    Field("deal_amount", "deal's amount", "number", lambda: through(Task.deal_id, Deal, Deal.amount), is_related=True),
    Field(
        "deal_stage_id", "deal's stage", "choice", lambda: through(Task.deal_id, Deal, Deal.stage_id),
        choices=lambda: tuple(stage_names().items()), is_related=True, reference="stage",
    ),
    Field(
        "deal_status", "deal's status", "choice", lambda: through(Task.deal_id, Deal, Deal.status),
        choices=lambda: DEAL_STATUSES, is_related=True,
    ),
)  # fmt: skip

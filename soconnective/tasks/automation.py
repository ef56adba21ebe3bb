"""What tasks offer to rules: triggers for all that happens to them, and the action *Create a task*."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator
from wtforms import Form, IntegerField, SelectChoice, SelectField, StringField
from wtforms.validators import InputRequired, Length, NumberRange

from soconnective.automation import merge
from soconnective.automation.contracts import (
    Action,
    ActionFailed,
    Made,
    RunContext,
    Scope,
    Settings,
    StepResult,
)
from soconnective.automation.registry import register_action, register_trigger
from soconnective.automation.timed_registry import register_timed
from soconnective.automation.triggers import on_change, on_event
from soconnective.automation.undo_run import Undoable, register_undoable
from soconnective.automation.writable import Writable, register_writable
from soconnective.core.fields import PersonField
from soconnective.core.forms import clean_text
from soconnective.core.registry import called, people
from soconnective.core.words import told
from soconnective.core.workspace import workspace_today
from soconnective.tasks.operations import create_task, delete_task, update_task
from soconnective.tasks.queries import open_counts

TITLE_LENGTH = 200


class CreateTaskSettings(Settings):
    """title: a text with merge fields; due_in_days: 0 is the day of the run, in the workspace's zone."""

    title: str = Field(min_length=1, max_length=TITLE_LENGTH)
    due_in_days: int = Field(0, ge=0, le=365)
    assign_to: Literal["owner", "person"] = "owner"
    person_id: int | None = Field(None, ge=1, lt=2**62)

    @model_validator(mode="before")
    @classmethod
    def _keep_what_counts(cls, data: Any) -> Any:
        """A person that is not asked for is not stored: two rules that do the same have equal texts."""
        is_owner = isinstance(data, dict) and data.get("assign_to", "owner") == "owner"
        return {**data, "person_id": None} if is_owner else data


class CreateTaskForm(Form):  # type: ignore[misc]
    title = StringField(
        "Title",
        filters=[clean_text],
        validators=[InputRequired("Give the task a title."), Length(max=TITLE_LENGTH)],
    )
    due_in_days = IntegerField(
        "Due in days",
        default=1,
        validators=[InputRequired("Write a number of days."), NumberRange(0, 365, "Choose 0 to 365 days.")],
    )
    assign_to = SelectField(
        "Assigned to",
        choices=[SelectChoice("owner", "the record's owner"), SelectChoice("person", "a fixed person")],
        default="owner",
    )
    person_id = PersonField(
        "Fixed person", blank="choose a person", render_kw={"data-only-when": "assign_to=person"}
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person_id.offer_people(self.person_id.data)


class CreateTask(Action):
    """Makes an open task linked to the deal and its primary contact."""

    type_id = "create_task"
    label = "Create a task"
    group = "Tasks"
    icon = "checkbox"
    Settings = CreateTaskSettings
    form = CreateTaskForm
    writes = ("task",)
    only_adds = True

    def run(self, context: RunContext) -> StepResult:
        title = merge.render(self.settings.title, context.fields).strip()
        if not title:
            raise ActionFailed("The title is empty once its fields are filled in.")
        if len(title) > TITLE_LENGTH:
            title = title[: TITLE_LENGTH - 1] + "…"
        assignee_id, remarks = self._assignee(context)
        snapshot = context.event.snapshot
        task = create_task(
            title,
            due_on=workspace_today() + timedelta(days=self.settings.due_in_days),
            assignee_id=assignee_id,
            deal_id=snapshot.get("deal_id"),
            contact_id=snapshot.get("contact_id"),
        )
        return StepResult("task created", (Made("task", task, title),), remarks)

    def _assignee(self, context: RunContext) -> tuple[int | None, tuple[str, ...]]:
        """Who gets it; nobody, with a remark, when that person is not there any more."""
        fixed = self.settings.assign_to == "person"
        wanted = self.settings.person_id if fixed else context.event.snapshot.get("owner_id")
        if wanted is None:
            return None, ("left unassigned: the record has no owner",)
        person = people().get(wanted)
        if person is None or not person.is_active:
            name = person.name if person else "the person"
            return None, (f"left unassigned: {name} is no longer an active member",)
        return wanted, ()

    def describe(self) -> str:
        days = self.settings.due_in_days
        when = {0: "due the same day", 1: "due in 1 day"}.get(days, f"due in {days} days")
        who = "the record's owner"
        if self.settings.assign_to == "person":
            who = called(self.settings.person_id) or "⚠ somebody who is gone"
        return f"create task {told(self.settings.title)} {when} for {who}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        found = [("title", problem) for problem in merge.problems(self.settings.title, scope.record_type)]
        if self.settings.assign_to == "person":
            person = people().get(self.settings.person_id or 0)
            if person is None:
                found.append(("person_id", "Choose who gets the task."))
            elif not person.is_active:
                found.append(
                    ("person_id", f"{person.name} is no longer an active member. Choose somebody else.")
                )
        return found


register_trigger(
    on_event("task.created", "a task is created", "Tasks", "checkbox"),
    on_event("task.completed", "a task is completed", "Tasks", "checkbox", ("task.status=completed",)),
    on_event("task.reopened", "a task is opened again", "Tasks", "refresh", ("task.status=open",)),
    on_change("task.updated", "a task is changed", "Tasks", "edit", others=("status",)),
    on_event("task.deleted", "a task is deleted", "Tasks", "trash"),
)
register_writable(
    Writable(
        "task",
        update_task,
        ("title", "due_on", "priority"),
        ("title", "priority"),
        "assignee_id",
        open_counts,
    )
)
register_undoable(
    Undoable(
        "task",
        delete_task,
        lambda task, values: update_task(task, **values),
        ("title", "details", "due_on", "assignee_id", "priority", "deal_id", "contact_id"),
    )
)
register_action(CreateTask)
register_timed("task", "a task", "Tasks")

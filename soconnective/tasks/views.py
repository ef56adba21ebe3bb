"""The pages of tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select

from soconnective.core.access import may
from soconnective.core.conditions import Field, Test
from soconnective.core.deletion import delete_page
from soconnective.core.forms import RecordForm
from soconnective.core.listing import Listing, argument_id
from soconnective.core.registry import people
from soconnective.core.search import among, matching
from soconnective.core.workspace import workspace_today
from soconnective.saved_views import Listed, ListFilter, Quick, by_choice, by_id, mine, register_list
from soconnective.saved_views.listed import ME
from soconnective.tasks import operations, queries
from soconnective.tasks.forms import TaskForm
from soconnective.tasks.models import PRIORITIES, Task

bp = Blueprint("tasks", __name__, url_prefix="/dashboard/tasks")
VIEWS = ("mine", "open", "completed")
SORTS = {"due": Task.due_on, "title": Task.title, "created": Task.created_at}
CREATED = Field("created_at", "created", "moment", lambda: Task.created_at)
LISTED = register_list(Listed("task", "tasks.index", SORTS, [CREATED]))


def _tab() -> str:
    wanted = request.args.get("view", "mine")
    return wanted if wanted in VIEWS else "mine"


def _quick(has_view: bool) -> list[Quick]:
    found = []
    if not has_view:
        status = "completed" if _tab() == "completed" else "open"
        found = [Quick("view", Test(field="status", operator="is", value=status), is_tab=True)]
        if _tab() == "mine":
            found.append(Quick("view", Test(field="assignee_id", operator="is", value=ME), is_tab=True))
    return [
        *found,
        *(replace(one, is_seen=False) for one in mine("assignee_id")),
        *by_id("assignee_id"),
        *by_choice("priority", PRIORITIES),
    ]


@bp.get("")
@may("records.view")
def index() -> Any:
    asked = ListFilter(LISTED, _quick)
    view = "" if asked.view is not None else _tab()
    statement = asked.apply(select(Task))
    found = matching("task", request.args.get("q", ""))
    if found is not None:
        statement = statement.where(among(Task.id, found))
    listing = Listing(
        statement,
        sorts=SORTS,
        default=asked.default_sort or "due",
        args=asked.args,
        key=Task.id,
        options=queries.WITH_LINKS,
    )
    return render_template(
        "tasks/index.html",
        listing=listing,
        asked=asked,
        view=view,
        groups=_groups(listing.items)
        if listing.sort == "due" and view != "completed"
        else [("", listing.items)],
        today=workspace_today(),
        owner_choices=[(person.id, person.name) for person in people().values()],
    )


def _groups(tasks: list[Task]) -> list[tuple[str, list[Task]]]:
    """Overdue, today, coming, without a date: in the workspace's zone."""
    today = workspace_today()
    parts: dict[str, list[Task]] = {"Overdue": [], "Today": [], "Coming": [], "No date": []}
    for task in tasks:
        if task.due_on is None:
            parts["No date"].append(task)
        elif task.due_on < today:
            parts["Overdue"].append(task)
        else:
            parts["Today" if task.due_on == today else "Coming"].append(task)
    return [(name, rows) for name, rows in parts.items() if rows]


@bp.route("/new", methods=["GET", "POST"])
@may("records.edit")
def new() -> Any:
    form = TaskForm(deal_id=argument_id("deal_id"), contact_id=argument_id("contact_id"))
    if form.saved(lambda: operations.create_task(**form.values())):
        flash("Saved.", "success")
        return redirect(url_for("tasks.show", task_id=form.result.id))
    return render_template("tasks/form.html", form=form, task=None), form.status


@bp.get("/<id:task_id>")
@may("records.view")
def show(task_id: int) -> Any:
    return render_template("tasks/show.html", task=queries.get_task(task_id), today=workspace_today())


@bp.route("/<id:task_id>/edit", methods=["GET", "POST"])
@may("records.edit")
def edit(task_id: int) -> Any:
    task = queries.get_task(task_id)
    form = TaskForm(obj=task)
    if form.saved(lambda: operations.update_task(task, **form.values())):
        flash("Saved.", "success")
        return redirect(url_for("tasks.show", task_id=task_id))
    return render_template("tasks/form.html", form=form, task=task), form.status


@bp.route("/<id:task_id>/<any(complete, reopen):what>", methods=["GET", "POST"])
@may("records.edit")
def switch(task_id: int, what: str) -> Any:
    """One click; the page itself where somebody was faster, or without a click."""
    task = queries.get_task(task_id)
    form = RecordForm(obj=task)
    change = operations.complete_task if what == "complete" else operations.reopen_task
    if form.saved(lambda: change(task)):
        flash("Done." if what == "complete" else "Open again.", "success")
        return redirect(_back(task))
    if form.conflict is not None:
        form.conflict = [("Status", "completed" if what == "complete" else "open", task.status)]
    return render_template("tasks/switch.html", form=form, task=task, what=what), form.status


def _back(task: Task) -> str:
    """Where the button stood: the list, the deal, the contact, or the task itself."""
    origin = request.form.get("from", "")
    if origin == "deal" and task.deal_id:
        return url_for("deals.show", deal_id=task.deal_id)
    if origin == "contact" and task.contact_id:
        return url_for("contacts.show", contact_id=task.contact_id)
    return url_for("tasks.index") if origin == "list" else url_for("tasks.show", task_id=task.id)


@bp.route("/<id:task_id>/delete", methods=["GET", "POST"])
@may("records.edit")
def delete(task_id: int) -> Any:
    task = queries.get_task(task_id)
    return delete_page(
        task,
        "task",
        task.title,
        delete=lambda: operations.delete_task(task),
        back=url_for("tasks.show", task_id=task_id),
        back_label=task.title,
        done=url_for("tasks.index"),
    )

"""Health: whether the machinery runs, and what it does later, did, and gave up."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from sqlalchemy import select

from soconnective.core import clock
from soconnective.core.access import may
from soconnective.core.db import db
from soconnective.core.forms import RecordForm
from soconnective.core.listing import Listing
from soconnective.core.registry import registry
from soconnective.jobs import health as signs
from soconnective.jobs import queue
from soconnective.jobs.kinds import job_kind
from soconnective.jobs.models import STATES, Job

bp = Blueprint("jobs", __name__, url_prefix="/dashboard/settings")


@bp.get("/health")
@may("workspace.edit")
def health() -> Any:
    now = clock.now()
    found = signs.workers(now)
    return render_template(
        "jobs/health.html",
        signs=signs.signs(now),
        workers=[(worker, signs.is_at_work(worker, now)) for worker in found],
        dead=list(
            db.session.scalars(select(Job).where(Job.state == "dead").order_by(Job.id.desc()).limit(10))
        ),
        say=say,
    )


@bp.get("/jobs")
@may("workspace.edit")
def index() -> Any:
    state = request.args.get("state", "")
    statement = select(Job)
    if state in STATES:
        statement = statement.where(Job.state == state)
    listing = Listing(statement, sorts={"id": Job.id, "next": Job.next_at}, default="-id", key=Job.id)
    return render_template("jobs/index.html", listing=listing, states=STATES, say=say)


@bp.get("/jobs/<id:job_id>")
@may("workspace.edit")
def show(job_id: int) -> Any:
    job = _get(job_id)
    record_type = registry.record_types.get(job.record_type or "")
    record = record_type.get(job.record_id) if record_type and job.record_id else None
    return render_template(
        "jobs/show.html",
        job=job,
        say=say,
        states=STATES,
        record=(record_type.title(record), record_type.url(record.id)) if record_type and record else None,
    )


@bp.post("/jobs/<id:job_id>/again")
@may("workspace.edit")
def again(job_id: int) -> Any:
    return _act(job_id, queue.run_again, "It runs again.")


@bp.post("/jobs/<id:job_id>/cancel")
@may("workspace.edit")
def cancel(job_id: int) -> Any:
    return _act(job_id, queue.cancel, "Cancelled.")


def _act(job_id: int, operation: Any, said: str) -> Any:
    job, form = _get(job_id), RecordForm()
    if form.saved(lambda: operation(_locked(job_id))):
        flash(said, "success")
    elif form.form_problem:
        flash(form.form_problem, "danger")
    return redirect(url_for("jobs.show", job_id=job.id))


def _locked(job_id: int) -> Job:
    """The row as it is now: a worker may have it in hand."""
    return db.session.get_one(Job, job_id, with_for_update=True, populate_existing=True)


def _get(job_id: int) -> Job:
    return db.session.get(Job, job_id) or abort(404)


def say(job: Job) -> tuple[str, str]:
    """A job's kind and what it is about, in words; also of a kind that is gone."""
    kind = job_kind(job.kind)
    if kind is None:
        return job.kind, "nobody here knows this kind of job any more"
    try:
        return kind.label, kind.describe(job.payload)
    except Exception:  # a payload of another version
        return kind.label, ""

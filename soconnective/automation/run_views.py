"""The pages of runs: what every rule said and did, and why nothing happened."""

from __future__ import annotations

from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for
from sqlalchemy import select

from soconnective.automation import operations, queries
from soconnective.automation.definition import parse
from soconnective.automation.models import OUTCOMES, Automation, AutomationRun, AutomationVersion
from soconnective.automation.picture import Picture, Told, draw
from soconnective.automation.registry import trigger_types
from soconnective.automation.views import bp
from soconnective.automation.waiting import cancel_run
from soconnective.core import clock
from soconnective.core.access import current_actor, may
from soconnective.core.db import db
from soconnective.core.fields import optional_id
from soconnective.core.forms import RecordForm
from soconnective.core.listing import Listing
from soconnective.core.registry import registry
from soconnective.events import EventRow, event_types


def _argument_id(name: str) -> int | None:
    try:
        return optional_id(request.args.get(name))
    except ValueError:
        return None


@bp.get("/runs")
@may("automations.view")
def runs() -> Any:
    statement = select(AutomationRun)
    if (rule := _argument_id("automation_id")) is not None:
        statement = statement.where(AutomationRun.automation_id == rule)
    outcome = request.args.get("outcome", "")
    if outcome in OUTCOMES:
        statement = statement.where(AutomationRun.outcome == outcome)
    elif outcome != "all":
        statement = statement.where(AutomationRun.outcome != "not_matched")
    record, about = _argument_id("record_id"), None
    if request.args.get("record_type") in registry.record_types and record is not None:
        statement = statement.where(
            AutomationRun.record_type == request.args["record_type"], AutomationRun.record_id == record
        )
        about = _about(request.args["record_type"], record)
    listing = Listing(statement, sorts={"id": AutomationRun.id}, default="-id", key=AutomationRun.id)
    rules = db.session.execute(
        select(Automation.id, Automation.name).order_by(Automation.name).limit(500)
    ).all()
    return render_template(
        "automations/runs.html",
        listing=listing,
        names=queries.names_of(listing.items),
        rules=[(row.id, row.name) for row in rules],
        outcomes=OUTCOMES,
        unseen=queries.unseen_failures(),
        record=about,
    )


def _about(record_type: str, record_id: int) -> str:
    """The record that the list is narrowed to, in words; one that is gone by its kind alone."""
    kind = registry.record_types[record_type]
    record = kind.get(record_id)
    return kind.title(record) if record is not None else f"a {kind.label.lower()} that is gone"


@bp.post("/runs/seen")
@may("automations.edit")
def seen() -> Any:
    if RecordForm().saved(operations.mark_failures_seen):
        flash("Marked as seen.", "success")
    return redirect(url_for("automations.runs"))


@bp.get("/runs/<id:run_id>")
@may("automations.view")
def run(run_id: int) -> Any:
    found = queries.get_run(run_id)
    version = queries.version_of(found)
    return render_template(
        "automations/run.html",
        run=found,
        name=queries.names_of([found])[found.automation_id],
        version=version,
        picture=_picture(found, version),
        waits_for=_awaited(found),
        is_held=_is_held(found),
        neighbours=queries.neighbours(found),
        chain=queries.causes(found.event_id),
        caused=queries.caused_by(found),
        titles={name: kind.title for name, kind in event_types().items()},
        types=registry.record_types,
        living=_living(found),
        attempts=queries.attempts_of(found),
        rule=rule_of(found),
    )


def rule_of(found: AutomationRun) -> Automation | None:
    """The rule of a run, if it can still be run."""
    rule = db.session.get(Automation, found.automation_id) if found.automation_id else None
    return rule if rule is not None and rule.deleted_at is None else None


def _picture(found: AutomationRun, version: AutomationVersion | None) -> Picture | None:
    """The rule as it was, with the way that the run took."""
    if version is None:
        return None
    rule = parse(version.definition)
    checks = "#checks" if found.trace.get("checks") else ""
    told = Told.of(found.outcome, found.trace, rule.on_failure == "keep")
    return draw(
        rule.trigger,
        rule.conditions.describe(),
        rule.steps,
        rule.scope,
        told,
        lambda key: f"#trace-{key}" if key in told.steps else checks if key == "if" else "",
    )


def _is_held(found: AutomationRun) -> bool:
    """Whether its moment has come while its rule is paused."""
    rule = db.session.get(Automation, found.automation_id) if found.automation_id else None
    is_paused = rule is not None and rule.paused_at is not None and rule.deleted_at is None
    return is_paused and found.planned_at is not None and found.planned_at <= clock.now()


def _awaited(found: AutomationRun) -> str | None:
    """What lets a waiting run go on before its time, in words."""
    if found.waits_for is None:
        return None
    trigger = trigger_types().get(found.waits_for)
    return trigger.label if trigger else found.waits_for


@bp.post("/runs/<id:run_id>/cancel")
@may("automations.edit")
def cancel(run_id: int) -> Any:
    found = queries.get_run(run_id)
    form = RecordForm()
    if form.saved(lambda: _cancel(found)):
        flash("The run is cancelled: it does not go on.", "success")
    else:
        flash(form.form_problem or "That did not work. Try again.", "warning")
    return redirect(url_for("automations.run", run_id=run_id))


def _cancel(found: AutomationRun) -> None:
    db.session.refresh(found, with_for_update=True)  # the worker may go on with it in this moment
    cancel_run(found, f"by {current_actor().name}")


def _living(found: AutomationRun) -> dict[tuple[str, int], str]:
    """The pages of what the run made, where it still exists."""
    urls = {}
    for step in found.trace.get("steps", []):
        for made in step["made"]:
            kind = registry.record_types.get(made["type"])
            if kind is not None and made["id"] is not None and kind.get(made["id"]) is not None:
                urls[(made["type"], made["id"])] = kind.url(made["id"])
    kind = registry.record_types.get(found.record_type)
    if kind is not None and kind.get(found.record_id) is not None:
        urls[(found.record_type, found.record_id)] = kind.url(found.record_id)
    return urls


@bp.get("/why/<id:event_id>")
@may("automations.view")
def why(event_id: int) -> Any:
    """Why did nothing happen? What each rule said of one change, and which did not look."""
    event = db.session.get(EventRow, event_id) or abort(404)
    kind = registry.record_types.get(event.record_type)
    declared = event_types().get(event.name)
    return render_template(
        "automations/why.html",
        event=event,
        title=declared.title if declared else event.name,
        subject=event.snapshot.get("title") or event.snapshot.get("name") or "",
        back=kind.url(event.record_id) if kind and kind.get(event.record_id) is not None else None,
        answers=queries.why(event),
    )

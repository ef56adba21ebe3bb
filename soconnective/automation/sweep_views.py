"""The pages of backtests and of *Apply to existing records*: begin, watch, cancel, read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from sqlalchemy import func, select
from wtforms import IntegerField, SelectChoice, SelectField
from wtforms.validators import InputRequired, NumberRange, ValidationError

from soconnective.automation import apply as applying
from soconnective.automation import backtest as backtests
from soconnective.automation import operations, queries, sweeps
from soconnective.automation import undo_application as undoing
from soconnective.automation.definition import parse
from soconnective.automation.models import AutomationRun
from soconnective.automation.sweep_models import STATES, Sweep, SweepRow
from soconnective.automation.views import bp
from soconnective.core.access import may
from soconnective.core.db import db
from soconnective.core.forms import RecordForm
from soconnective.core.listing import Listing
from soconnective.core.registry import registry
from soconnective.events import event_types


class BacktestForm(RecordForm):
    number = IntegerField(
        "The last",
        default=1000,
        validators=[
            InputRequired("Write a number."),
            NumberRange(1, backtests.MOST_EVENTS, "Choose 1 to 10,000."),
        ],
    )
    unit = SelectField("of", choices=[SelectChoice("events", "events"), SelectChoice("days", "days")])

    def validate_number(self, field: Any) -> None:
        if self.unit.data == "days" and (field.data or 0) > backtests.MOST_DAYS:
            raise ValidationError(f"{backtests.MOST_DAYS} days at most.")


@bp.route("/<id:automation_id>/backtest", methods=["GET", "POST"])
@may("automations.edit")
def backtest(automation_id: int) -> Any:
    rule = queries.get_automation(automation_id)
    definition = operations.definition_of(rule)
    form = BacktestForm()
    if form.saved(lambda: backtests.start_backtest(definition, rule, **{form.unit.data: form.number.data})):
        return redirect(url_for("automations.sweep", sweep_id=form.result.id))
    html = render_template(
        "automations/backtest.html",
        rule=rule,
        definition=definition,
        form=form,
        before=sweeps.sweeps_of(rule.id, "backtest"),
        states=STATES,
    )
    return html, form.status


@bp.route("/<id:automation_id>/apply", methods=["GET", "POST"])
@may("automations.edit")
def apply(automation_id: int) -> Any:
    rule = queries.get_automation(automation_id)
    form = RecordForm(obj=rule)
    if form.saved(lambda: applying.start_applying(rule)):
        return redirect(url_for("automations.sweep", sweep_id=form.result.id))
    definition = operations.definition_of(rule)
    reason = applying.why_not(rule, definition)
    total, first = (0, []) if reason else applying.preview(definition)
    html = render_template(
        "automations/apply.html",
        rule=rule,
        definition=definition,
        form=form,
        reason=reason,
        total=total,
        first=first,
        kind=registry.record_types.get(definition.scope.record_type or ""),
        before=sweeps.sweeps_of(rule.id, "apply"),
        states=STATES,
    )
    return html, form.status


@bp.get("/sweeps/<id:sweep_id>")
@may("automations.edit")
def sweep(sweep_id: int) -> Any:
    """How far it has come, and what came of it; asks for itself again while it runs."""
    found = sweeps.get_sweep(sweep_id)
    draw: Callable[[Sweep], dict[str, Any]] = _of_backtest if found.what == "backtest" else _of_application
    return render_template(
        "automations/sweep.html",
        sweep=found,
        definition=parse(found.definition),
        states=STATES,
        types=registry.record_types,
        **draw(found),
    )


def _of_backtest(found: Sweep) -> dict[str, Any]:
    statement = select(SweepRow).where(SweepRow.sweep_id == found.id)
    outcome = request.args.get("outcome", "")
    if outcome in backtests.OUTCOMES:
        statement = statement.where(SweepRow.outcome == outcome)
    return {
        "listing": Listing(statement, sorts={"id": SweepRow.id}, default="-id", key=SweepRow.id, per_page=25),
        "outcomes": backtests.OUTCOMES,
        "counts": found.counts,
        "a_week": backtests.runs_a_week(found) if found.done else None,
        "kept": backtests.KEPT,
        "titles": {name: kind.title for name, kind in event_types().items()},
    }


def _of_application(found: Sweep) -> dict[str, Any]:
    """What the runs say, by outcome."""
    rows = db.session.execute(
        undoing.runs_of(found, AutomationRun.outcome, func.count()).group_by(AutomationRun.outcome)
    )
    did, undone = undoing.counts_of(found)
    job = undoing.job_of(found)
    is_undoing = undoing.is_open(job)
    left = job.payload["left"] if job is not None and not is_undoing else 0
    counts = {row[0]: row[1] for row in rows}
    return {"counts": counts, "did": did, "undone": undone, "is_undoing": is_undoing, "left": left}


@bp.post("/sweeps/<id:sweep_id>/cancel")
@may("automations.edit")
def cancel_sweep(sweep_id: int) -> Any:
    found, form = sweeps.get_sweep(sweep_id), RecordForm()
    if form.saved(lambda: sweeps.cancel_sweep(found.id)):
        flash("It stops.", "success")
    elif form.form_problem:
        flash(form.form_problem, "info")
    return redirect(url_for("automations.sweep", sweep_id=found.id))


@bp.post("/sweeps/<id:sweep_id>/undo")
@may("automations.edit")
def undo_sweep(sweep_id: int) -> Any:
    """Let a job take back what an application did."""
    found, form = sweeps.get_sweep(sweep_id), RecordForm()
    if form.saved(lambda: undoing.undo_application(found)):
        flash("It is being taken back. What somebody has touched since stays.", "success")
    elif form.form_problem:
        flash(form.form_problem, "info")
    return redirect(url_for("automations.sweep", sweep_id=found.id))

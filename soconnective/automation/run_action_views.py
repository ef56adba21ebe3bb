"""What a person may do with a run: run it again, resume it where it failed, take back what it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import flash, redirect, render_template, request, url_for

from soconnective.automation import again, queries
from soconnective.automation import undo_run as taking_back
from soconnective.automation.models import AutomationRun
from soconnective.automation.views import bp
from soconnective.core.access import may
from soconnective.core.forms import RecordForm


@bp.post("/runs/<id:run_id>/again")
@may("automations.edit")
def run_again(run_id: int) -> Any:
    """With `at` "now" at the rule's current version, else at the one of then."""
    run = queries.get_run(run_id)
    is_current = request.form.get("at") == "now"
    return _attempt(run, lambda: again.run_again(run, is_current))


@bp.post("/runs/<id:run_id>/resume")
@may("automations.edit")
def resume(run_id: int) -> Any:
    run = queries.get_run(run_id)
    return _attempt(run, lambda: again.resume(run))


def _attempt(run: AutomationRun, operation: Callable[[], AutomationRun]) -> Any:
    form = RecordForm()
    if form.saved(operation):
        flash("It ran again. This is the new attempt.", "success")
        return redirect(url_for("automations.run", run_id=form.result.id))
    flash(form.form_problem or "Not run: something changed in the same moment. Try again.", "danger")
    return redirect(url_for("automations.run", run_id=run.id))


@bp.route("/runs/<id:run_id>/undo", methods=["GET", "POST"])
@may("automations.edit")
def undo_run(run_id: int) -> Any:
    """Shows what would be taken back and what stays, and why; then does it."""
    run = queries.get_run(run_id)
    form = RecordForm()
    if form.saved(lambda: taking_back.undo_run(run)):
        flash(f"Taken back: {form.result} {'thing' if form.result == 1 else 'things'}.", "success")
        return redirect(url_for("automations.run", run_id=run.id))
    html = render_template(
        "automations/undo.html",
        form=form,
        run=run,
        name=queries.names_of([run])[run.automation_id],
        effects=taking_back.effects(run),
        sent=taking_back.sent(run),
    )
    return html, form.status

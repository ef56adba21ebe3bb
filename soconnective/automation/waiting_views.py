"""What waits of a rule: asked about when the rule is switched off, and to be looked at whenever something waits."""

from __future__ import annotations

from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for
from sqlalchemy import select

from soconnective.automation import operations, queries
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.views import bp
from soconnective.automation.waiting import cancel_all, waiting_runs
from soconnective.core.access import current_actor, may
from soconnective.core.db import db
from soconnective.core.forms import RecordForm

SHOWN = 20


@bp.get("/<id:automation_id>/waiting")
@may("automations.view")
def waiting(automation_id: int) -> Any:
    return _page(queries.get_any_automation(automation_id), RecordForm())


@bp.post("/<id:automation_id>/waiting")
@may("automations.edit")
def decide_waiting(automation_id: int) -> Any:
    """`what`: "cancel" ends what waits; "finish" lets what a paused rule holds go on."""
    rule = queries.get_any_automation(automation_id)
    what = request.form.get("what")
    if what not in ("cancel", "finish"):
        abort(400)
    form = RecordForm()
    if form.saved(lambda: _finish(rule) if what == "finish" else _cancel(rule)):
        flash(form.result, "success")
        return redirect(url_for("automations.show", automation_id=rule.id))
    return _page(rule, form), form.status


def _cancel(rule: Automation) -> str:
    number = cancel_all(rule.id, f"by {current_actor().name}")
    return "1 run is cancelled." if number == 1 else f"{number:,} runs are cancelled."


def _finish(rule: Automation) -> str:
    operations.let_finish(rule)
    return "What it held goes on now, one run after the other. The rule itself stays off."


def _page(rule: Automation, form: RecordForm) -> str:
    first = db.session.scalars(
        select(AutomationRun)
        .where(AutomationRun.automation_id == rule.id, AutomationRun.outcome == "waiting")
        .order_by(AutomationRun.planned_at, AutomationRun.id)
        .limit(SHOWN)
    ).all()
    return render_template(
        "automations/waiting.html", rule=rule, form=form, runs=first, total=waiting_runs(rule.id)
    )

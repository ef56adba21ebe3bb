"""The button of a rule, and the page that runs one on a selection."""

from __future__ import annotations

from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for
from wtforms import IntegerField
from wtforms.validators import InputRequired

from soconnective.automation import by_hand, queries
from soconnective.automation.models import OUTCOMES, Automation, AutomationRun
from soconnective.automation.registry import trigger_types
from soconnective.automation.views import bp
from soconnective.core.access import may
from soconnective.core.errors import Refused
from soconnective.core.fields import IdField, optional_id
from soconnective.core.forms import RecordForm
from soconnective.core.registry import RecordType, registry

SHOWN = 100  # of a selection by name


class PressForm(RecordForm):
    record_id = IntegerField(validators=[InputRequired("Choose a record.")])


class SelectionForm(RecordForm):
    automation_id = IdField(
        "Which rule", blank="choose …", validators=[InputRequired("Choose which rule is to run.")]
    )


@bp.post("/<id:automation_id>/press")
@may("records.edit")
def press(automation_id: int) -> Any:
    """Runs the rule on one record, in this request, and says what came of it."""
    rule = queries.get_automation(automation_id)
    kind = _kind_of(rule)
    record_id = _id(request.form.get("record_id"))
    if record_id is None or kind.get(record_id) is None:
        abort(404)
    form = PressForm()
    if form.saved(lambda: by_hand.press(rule, record_id)):
        flash(*_said(rule, by_hand.run_of(form.result)))
    else:
        flash(form.form_problem or "Somebody changed this in the same moment. Try again.", "warning")
    return redirect(kind.url(record_id))


def _kind_of(rule: Automation) -> RecordType:
    cls = trigger_types().get(rule.trigger)
    if cls is None or not rule.trigger.endswith(by_hand.BY_HAND):
        abort(404)
    return registry.record_types[cls.record_type]


def _id(value: str | None) -> int | None:
    try:
        return optional_id(value)
    except ValueError:
        return None


def _said(rule: Automation, run: AutomationRun | None) -> tuple[str, str]:
    """What came of it, and how it looks."""
    if run is None:
        return f"“{rule.name}” was switched off in the same moment.", "warning"
    looks = {"succeeded": "success", "failed": "danger", "waiting": "success"}
    said = f": {run.detail}" if run.detail else ""
    return f"“{rule.name}”: {OUTCOMES[run.outcome]}{said}.", looks.get(run.outcome, "warning")


@bp.route("/pick", methods=["GET", "POST"])
@may("records.edit")
def pick() -> Any:
    """Which rule is to run on the records that were marked in a list."""
    record_type = request.values.get("type", "")
    kind = registry.record_types.get(record_type)
    rules = by_hand.hand_rules(record_type) if kind else []
    ids = [found for value in request.values.getlist("ids")[: by_hand.MOST] if (found := _id(value))]
    titles = kind.titles(ids) if kind and ids else {}
    ids = [one for one in dict.fromkeys(ids) if one in titles]
    form = SelectionForm()
    form.automation_id.offer(rules)
    if len(rules) == 1 and request.method == "GET":
        form.automation_id.data = rules[0][0]
    if kind and rules and ids and form.saved(lambda: by_hand.run_on(_rule(form), ids)):
        flash(
            f"It runs on {len(ids):,} {_count(kind, len(ids))} now, one after the other. Reload this page to see what it did.",
            "success",
        )
        return redirect(url_for("automations.runs", automation_id=form.automation_id.data, outcome="all"))
    return render_template(
        "automations/pick.html",
        form=form,
        kind=kind,
        rules=rules,
        titles=[titles[one] for one in ids[:SHOWN]],
        ids=ids,
        what=_count(kind, len(ids)) if kind else "",
    ), form.status


def _rule(form: SelectionForm) -> Automation:
    if form.automation_id.data is None:  # "None" was sent: a text, and no choice
        raise Refused("Choose which rule is to run.", "automation_id")
    return queries.get_automation(form.automation_id.data)


def _count(kind: RecordType, number: int) -> str:
    return (kind.label if number == 1 else kind.plural).lower()

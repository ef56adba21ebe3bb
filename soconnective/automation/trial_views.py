"""The page *Test*: a saved rule tried on an event or a record, with nothing left of it."""

from __future__ import annotations

from typing import Any

from flask import redirect, render_template, request, url_for

from soconnective.automation import operations, queries
from soconnective.automation.test_card import TestCard
from soconnective.automation.views import bp
from soconnective.core.access import may
from soconnective.core.forms import RecordForm


@bp.route("/<id:automation_id>/test", methods=["GET", "POST"])
@may("automations.edit")
def test(automation_id: int) -> Any:
    """What the rule would say and do; posted with op=test, so that the request only reads."""
    rule = queries.get_automation(automation_id)
    definition = operations.definition_of(rule)
    card = TestCard(type(definition.trigger), request.form if request.method == "POST" else None)
    status = 200
    if request.method == "POST":
        if request.form.get("op") != "test":
            return redirect(url_for("automations.test", automation_id=rule.id))
        card.run(definition, rule)
        status = card.status
    html = render_template(
        "automations/test.html", rule=rule, definition=definition, test=card, form=RecordForm(formdata=None)
    )
    return html, status

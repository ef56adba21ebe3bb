"""The small buttons about drafts and versions, and the page that compares versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import flash, redirect, render_template, request, url_for

from soconnective.automation import changes, drafts, queries
from soconnective.automation.models import Automation, AutomationVersion
from soconnective.automation.views import bp
from soconnective.core.access import may
from soconnective.core.forms import RecordForm


@bp.post("/<id:automation_id>/draft/<any(publish, discard):what>")
@may("automations.edit")
def draft(automation_id: int, what: str) -> Any:
    rule = queries.get_rule_or_draft(automation_id)
    if what == "publish":
        off = "" if rule.looks else " The rule is switched off: it does nothing until you switch it on."
        return _done(rule, lambda: drafts.publish_draft(rule), f"The draft is published.{off}")
    return _done(rule, lambda: drafts.discard_draft(rule), "The draft is discarded.")


@bp.get("/<id:automation_id>/versions")
@may("automations.view")
def versions(automation_id: int) -> Any:
    """Every version with what it changed; any two side by side."""
    rule = queries.get_any_automation(automation_id)
    found = queries.versions(rule.id, queries.MOST_VERSIONS)
    known = {version.number: version for version in found}
    old, new = _asked("from", known), _asked("to", known)
    return render_template(
        "automations/versions.html",
        rule=rule,
        versions=changes.told(found),
        numbers=list(known),
        old=old,
        new=new,
        compared=changes.changes_between(old, new) if old and new else None,
    )


def _asked(name: str, known: dict[int, AutomationVersion]) -> AutomationVersion | None:
    text = request.args.get(name, "")
    return known.get(int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else None


@bp.post("/<id:automation_id>/versions/restore")
@may("automations.edit")
def restore_version(automation_id: int) -> Any:
    rule = queries.get_automation(automation_id)
    text = request.form.get("number", "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    said = f"Version {number} is back, as a new version."
    return _done(rule, lambda: drafts.restore_version(rule, number), said)


def _done(rule: Automation, operation: Callable[[], Any], said: str) -> Any:
    """Run `operation` and go to the rule; say what came of it."""
    form, rule_id = RecordForm(obj=rule), rule.id
    if form.saved(operation):
        flash(said, "success")
    elif form.conflict is not None:
        flash("Somebody changed this rule in the same moment. Look at it, then try again.", "warning")
    else:
        flash(form.form_problem or "That did not work. Try again.", "warning")
    return redirect(url_for("automations.show", automation_id=rule_id))

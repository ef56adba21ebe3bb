"""The pages of rules: the list, the builder, one rule."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for

from soconnective.automation import operations, queries
from soconnective.automation.backtest import start_backtest
from soconnective.automation.condition_form import JOINS
from soconnective.automation.definition import Definition
from soconnective.automation.forms import Builder
from soconnective.automation.models import Automation
from soconnective.automation.registry import action_types
from soconnective.automation.test_card import TestCard
from soconnective.core.access import can, may
from soconnective.core.db import begin_again, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.forms import RecordForm

DRAFT_EVENTS = 1000
bp = Blueprint("automations", __name__, url_prefix="/dashboard/automations")


@bp.get("")
@may("automations.view")
def index() -> Any:
    return _index(None)


def _index(failed: RecordForm | None) -> str:
    runs = queries.recent_runs()
    return render_template(
        "automations/index.html",
        rules=queries.listed(),
        runs=runs,
        names=queries.names_of(runs),
        failed=failed,
        deleted=queries.deleted(),
    )


@bp.route("/new", methods=["GET", "POST"])
@may("automations.edit")
def new() -> Any:
    builder = Builder()
    if request.method == "POST":
        answer = _save(builder, lambda d: operations.create_automation(d, bool(builder.form.is_active.data)))
        if answer is not None:
            return answer
    return _page(builder)


@bp.route("/<id:automation_id>/edit", methods=["GET", "POST"])
@may("automations.edit")
def edit(automation_id: int) -> Any:
    rule = queries.get_automation(automation_id)
    builder = Builder(operations.definition_of(rule), rule)
    if request.method == "POST":
        answer = _save(
            builder, lambda d: operations.update_automation(rule, d, bool(builder.form.is_active.data))
        )
        if answer is not None:
            return answer
    return _page(builder)


def _save(builder: Builder, operation: Any) -> Any:
    """An op only draws the form again; a save checks, writes, and says where to go."""
    op = request.form.get("op", "")
    if op == "backtest":
        return _backtest(builder)
    if op and op != "save":
        builder.try_it() if op == "test" else builder.apply(op)
        return None
    definition = builder.validate()
    if definition is None:
        return None
    if builder.form.saved(lambda: _checked(builder, definition, operation)):
        flash("The rule is saved.", "success")
        return redirect(url_for("automations.index"))
    if builder.form.conflict is not None and builder.rule is not None:
        yours, theirs = builder.sentence(), operations.definition_of(builder.rule).sentence()
        if yours != theirs:
            builder.form.conflict.append(("The rule", yours, theirs))
    return None


def _backtest(builder: Builder) -> Any:
    """Begin a backtest of what stands in the form; nothing else of it is saved."""
    definition = builder.validate()
    if definition is None:
        return None
    begin_again()
    try:
        with write_transaction():
            sweep_id = start_backtest(definition, builder.rule, events=DRAFT_EVENTS).id
    except Refused as refused:
        builder.form.form_problem, builder.form.status = refused.message, 422
        return None
    return redirect(url_for("automations.sweep", sweep_id=sweep_id))


def _checked(builder: Builder, definition: Definition, operation: Any) -> Automation:
    try:
        return operation(definition)  # type: ignore[no-any-return]
    except Refused as refused:
        if builder.refuse(refused.field, refused.message):
            raise Refused("Not saved yet. Look at the marked fields.") from None
        raise


def _page(builder: Builder) -> Any:
    partial = request.headers.get("HX-Request") == "true" and request.form.get("op")
    template = "automations/_builder.html" if partial else "automations/form.html"
    html = render_template(
        template, builder=builder, form=builder.form, rule=builder.rule, actions=action_types(), joins=JOINS
    )
    return html, builder.form.status


@bp.get("/<id:automation_id>")
@may("automations.view")
def show(automation_id: int) -> Any:
    """One rule; a deleted one too, so that its history stays readable."""
    rule = queries.get_any_automation(automation_id)
    definition = operations.definition_of(rule)
    return render_template(
        "automations/show.html",
        rule=rule,
        definition=definition,
        problems=definition.problems(),
        versions=queries.versions(rule.id),
        runs=queries.recent_runs(20, rule.id),
        statistics=queries.statistics(rule.id),
        test=TestCard(type(definition.trigger))
        if rule.deleted_at is None and can("automations.edit")
        else None,
    )


@bp.post("/<id:automation_id>/<any(on, shadow, off, up, down, duplicate):what>")
@may("automations.edit")
def change(automation_id: int, what: str) -> Any:
    """The small buttons of the list."""
    rule = queries.get_automation(automation_id)
    form = RecordForm(obj=rule)
    actions = {
        "on": lambda: operations.set_state(rule, "on"),
        "shadow": lambda: operations.set_state(rule, "shadow"),
        "off": lambda: operations.set_state(rule, "off"),
        "up": lambda: operations.move_automation(rule, -1),
        "down": lambda: operations.move_automation(rule, 1),
        "duplicate": lambda: operations.duplicate_automation(rule),
    }
    if form.saved(actions[what]):
        if what == "duplicate":
            flash("The copy is switched off. Change it, then switch it on.", "success")
            return redirect(url_for("automations.edit", automation_id=form.result.id))
        return redirect(url_for("automations.index"))
    if form.conflict is not None:
        form.conflict = [("Rule", what, f"{rule.name}, {rule.state}")]
    return _index(form), form.status


@bp.route("/<id:automation_id>/delete", methods=["GET", "POST"])
@may("automations.edit")
def delete(automation_id: int) -> Any:
    rule = queries.get_automation(automation_id)
    form = RecordForm(obj=rule)
    if form.saved(lambda: operations.delete_automation(rule)):
        return redirect(url_for("automations.index", deleted=rule.id))
    return render_template("automations/delete.html", form=form, rule=rule), form.status


@bp.post("/<id:automation_id>/restore")
@may("automations.edit")
def restore(automation_id: int) -> Any:
    rule = queries.get_any_automation(automation_id)
    if RecordForm(obj=rule).saved(lambda: operations.restore_automation(rule)):
        flash("The rule is back, switched off.", "success")
    else:
        flash("Somebody changed this rule in the same moment. Look at it, then try again.", "warning")
    return redirect(url_for("automations.show", automation_id=automation_id))

"""The pages of rules: the list, the builder, one rule."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from soconnective.automation import changes, drafts, lint, operations, queries, sweeps
from soconnective.automation.backtest import start_backtest
from soconnective.automation.definition import Definition, parse
from soconnective.automation.due_missed import gap_in_words
from soconnective.automation.due_queries import coming
from soconnective.automation.examples import failures
from soconnective.automation.forms import NO_STEP, Builder
from soconnective.automation.models import Automation, AutomationDraft
from soconnective.automation.picture import Picture, anchor, draw
from soconnective.automation.recipes import draft_of, offered
from soconnective.automation.rule_conditions import JOINS
from soconnective.automation.statistics import statistics_of
from soconnective.automation.test_card import TestCard
from soconnective.automation.waiting import waiting_runs
from soconnective.core.access import can, may
from soconnective.core.db import begin_again, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.forms import RecordForm

DRAFT_EVENTS = 1000
IDLE = "It does nothing until you publish it."
OFF = "It is switched off: it does nothing until you switch it on."
bp = Blueprint("automations", __name__, url_prefix="/dashboard/automations")


@bp.get("")
@may("automations.view")
def index() -> Any:
    return _index(None)


def _index(failed: RecordForm | None) -> str:
    runs = queries.recent_runs()
    rules = queries.listed()
    return render_template(
        "automations/index.html",
        rules=rules,
        concerns=lint.concerns(
            [
                lint.Known(r.rule.id, r.rule.name, r.definition, r.rule.is_active)
                for r in rules
                if r.rule.is_published
            ]
        ),
        recipes=[] if rules or not can("automations.edit") else offered(),
        runs=runs,
        names=queries.names_of(runs),
        failed=failed,
        deleted=queries.deleted(),
    )


@bp.route("/new", methods=["GET", "POST"])
@may("automations.edit")
def new() -> Any:
    recipe = request.args.get("recipe") if request.method == "GET" else None
    draft = draft_of(recipe)
    if recipe and draft is None:
        abort(404)
    builder = Builder(draft or _backtested(None))
    if recipe:
        builder.form.is_active.data = False  # nobody has read it yet
    if request.method == "POST":
        if request.form.get("op") == "draft":
            answer = _begin_draft(builder)
        else:
            is_active = bool(builder.form.is_active.data)
            answer = _save(builder, lambda d: operations.create_automation(d, is_active))
        if answer is not None:
            return answer
    return _page(builder)


@bp.route("/<id:automation_id>/edit", methods=["GET", "POST"])
@may("automations.edit")
def edit(automation_id: int) -> Any:
    rule = queries.get_rule_or_draft(automation_id)
    builder = Builder(_backtested(rule) or drafts.in_the_making(rule), rule)
    if request.method == "POST":
        if request.form.get("op") == "draft":
            answer = _keep_draft(builder, rule)
        else:
            answer = _save(builder, lambda d: drafts.publish(rule, d, bool(builder.form.is_active.data)))
        if answer is not None:
            return answer
    return _page(builder, drafts.draft_of(rule))


def _backtested(rule: Automation | None) -> Definition | None:
    """What somebody backtested in the builder before it was saved: they come back to it as it was."""
    text = request.args.get("sweep", "") if request.method == "GET" else ""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    found = sweeps.get_sweep(int(text))
    if found.automation_id != (rule.id if rule else None):
        abort(404)
    return parse(found.definition)


def _begin_draft(builder: Builder) -> Any:
    """Keep a new rule that is not ready: it stands in the list and does nothing."""
    definition = builder.validate(is_draft=True)
    if definition is None or not builder.form.saved(lambda: drafts.begin_draft(definition)):
        return None
    flash(f"The draft is saved. {IDLE}", "success")
    return redirect(url_for("automations.show", automation_id=builder.form.result.id))


def _keep_draft(builder: Builder, rule: Automation) -> Any:
    """Save what is in the form beside the rule, which goes on as it is."""
    definition = builder.validate(is_draft=True)
    if definition is None:
        return None
    is_other = bool(builder.form.is_active.data) != rule.is_active
    if builder.form.saved(lambda: drafts.save_draft(rule, definition)):
        stays = " The switch stays as it is: it changes when you publish." if is_other else ""
        goes_on = "What was published goes on working." if rule.is_published else IDLE
        flash(f"The draft is saved. {goes_on}{stays}", "success")
        return redirect(url_for("automations.show", automation_id=rule.id))
    _both(builder)
    return None


def _both(builder: Builder) -> None:
    """On a clash, show what either person makes the rule say."""
    if builder.form.conflict is not None and builder.rule is not None:
        yours, theirs = builder.sentence(), drafts.in_the_making(builder.rule).sentence()
        if yours != theirs:
            builder.form.conflict.append(("The rule", yours, theirs))


def _check(builder: Builder) -> None:
    """Say whether it could be published, without saving anything."""
    definition = builder.validate()
    if definition is not None:
        builder.notice = ("All of it fits together: this can be published.", "")
        builder.concerns = lint.alone(definition)
    else:
        _say(builder, "This cannot be published yet. Look at the marked fields.")
        builder.form.status = 200


def _say(builder: Builder, what: str) -> None:
    """Of a form that is not right: what it is not ready for."""
    if builder.form.status == 422 and builder.form.form_problem is None:
        builder.form.form_problem = what


def _copy(builder: Builder, index: int) -> None:
    """Ask which rule a step is to be copied to, and put it at the end of that one's draft."""
    rows = builder.block(index)
    if not rows:
        return
    rule_id = builder.rule.id if builder.rule is not None else None
    form = rows[0].offer_rules(queries.rule_names(rule_id), builder.source)
    if f"{rows[0].prefix}-copy_to_id" not in builder.source or not form.validate():
        return
    target_id = form.copy_to_id.data
    steps = [builder.piece(row) for row in rows if row.cls is not None]
    if target_id is None or None in steps or len(steps) < len(rows):
        form.copy_to_id.errors = ["Choose a rule." if target_id is None else "Complete the step first."]
        return
    begin_again()
    post = RecordForm()
    if post.saved(lambda: drafts.add_to_draft(queries.get_rule_or_draft(target_id), steps)):
        target = queries.get_rule_or_draft(target_id)
        link = url_for("automations.edit", automation_id=target.id)
        builder.notice = (f"Copied to the end of “{target.name}”, as a draft.", link)
        rows[0].copying = None
    else:
        form.copy_to_id.errors = [post.form_problem or "Somebody changed that rule just now. Try again."]


def _save(builder: Builder, operation: Any) -> Any:
    """An op only draws the form again; a save checks, writes, and says where to go."""
    op = request.form.get("op", "")
    if op and op not in ("save", "publish"):
        return _do(builder, op)
    definition, was_active = builder.validate(), builder.rule is not None and builder.rule.is_active
    if definition is None:
        return None
    if builder.form.saved(lambda: _checked(builder, definition, operation)):
        rule = builder.form.result
        if was_active and not rule.is_active and waiting_runs(rule.id):
            flash("The rule is saved and switched off.", "success")
            return redirect(url_for("automations.waiting", automation_id=rule.id))
        if op == "publish":
            works = "works from now on." if rule.looks else f"is what it does. {OFF}"
            flash(f"Published: version {rule.definition_number} {works}", "success")
            return redirect(url_for("automations.show", automation_id=rule.id))
        flash("The rule is saved." if rule.looks else f"The rule is saved. {OFF}", "success")
        for message in _concerns(builder.form.result, definition)[:3]:
            flash(f"Look at it again: {message}", "warning")
        return redirect(url_for("automations.index"))
    _both(builder)
    return None


def _do(builder: Builder, op: str) -> Any:
    """What a button of the builder asked for; nothing is saved of the rule."""
    if op == "backtest":
        return _backtest(builder)
    if op == "check":
        _check(builder)
    elif op == "test":
        builder.try_it()
        _say(builder, "This cannot be tested yet. Look at the marked fields.")
    elif builder.apply(op) and op.startswith("copy:"):
        _copy(builder, int(op.split(":")[1]))
    return None


def _concerns(rule: Automation, definition: Definition) -> list[str]:
    """What looks wrong about a rule: what the linter says, and examples that do not hold."""
    failed = failures(definition, rule.examples or ())
    return [*lint.concerns_of(rule.id), *(f"Does not hold: {said}." for said in failed)]


def _backtest(builder: Builder) -> Any:
    """Begin a backtest of what stands in the form; nothing else of it is saved."""
    definition = builder.validate()
    if definition is None:
        _say(builder, "This cannot be tried yet. Look at the marked fields.")
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


def _page(builder: Builder, draft: AutomationDraft | None = None) -> Any:
    partial = request.headers.get("HX-Request") == "true" and request.form.get("op")
    template = "automations/_builder.html" if partial else "automations/form.html"
    html = render_template(
        template, builder=builder, form=builder.form, rule=builder.rule, joins=JOINS, draft=draft
    )
    return html, builder.form.status


@bp.get("/<id:automation_id>")
@may("automations.view")
def show(automation_id: int) -> Any:
    """One rule; a deleted one too, so that its history stays readable."""
    rule = queries.get_any_automation(automation_id)
    draft = drafts.draft_of(rule)
    drafted = parse(draft.definition) if draft else None
    if drafted is not None and not rule.is_published:
        return render_template(
            "automations/draft.html",
            rule=rule,
            draft=draft,
            sentence=drafted.sentence(),
            problems=drafted.problems() or ([] if drafted.steps else [("", "", NO_STEP)]),
            picture=_picture(rule, drafted),
        )
    definition = operations.definition_of(rule)
    concerns = _concerns(rule, definition)
    return render_template(
        "automations/show.html",
        rule=rule,
        definition=definition,
        problems=definition.problems(),
        concerns=concerns,
        versions=changes.told(queries.versions(rule.id, 6)),
        picture=_picture(rule, definition),
        waiting=waiting_runs(rule.id),
        draft=draft,
        draft_changes=changes.word_diff(definition.sentence(), drafted.sentence()) if drafted else None,
        draft_problems=drafted.problems() if drafted else [],
        draft_concerns=[said for said in lint.alone(drafted) if said not in concerns] if drafted else [],
        runs=queries.recent_runs(20, rule.id),
        gap=gap_in_words(rule),
        statistics=statistics_of(rule.id),
        coming=coming(rule, definition),
        test=TestCard(type(definition.trigger))
        if rule.deleted_at is None and can("automations.edit")
        else None,
    )


def _picture(rule: Automation, definition: Definition) -> Picture:
    """The rule drawn; who may edit it comes from each box to its row in the builder."""
    edit = url_for("automations.edit", automation_id=rule.id)
    is_link = can("automations.edit") and rule.deleted_at is None
    return draw(
        definition.trigger,
        definition.conditions.describe(),
        definition.steps,
        definition.scope,
        href=lambda key: f"{edit}#{anchor(key)}" if is_link else "",
    )


@bp.post("/<id:automation_id>/<any(on, shadow, off, up, down, duplicate):what>")
@may("automations.edit")
def change(automation_id: int, what: str) -> Any:
    """The small buttons of the list."""
    rule = queries.get_rule_or_draft(automation_id)
    form = RecordForm(obj=rule)
    actions = {
        "on": lambda: operations.set_state(rule, "on"),
        "shadow": lambda: operations.set_state(rule, "shadow"),
        "off": lambda: operations.set_state(rule, "off"),
        "up": lambda: operations.move_automation(rule, -1),
        "down": lambda: operations.move_automation(rule, 1),
        "duplicate": lambda: drafts.duplicate(rule),
    }
    if form.saved(actions[what]):
        if what in ("off", "shadow") and waiting_runs(rule.id):
            flash(f"“{rule.name}” is {'off' if what == 'off' else 'in the shadow'} now.", "success")
            return redirect(url_for("automations.waiting", automation_id=rule.id))
        if what == "duplicate":
            done = "switch it on" if rule.is_published else "publish it"
            flash(f"The copy is switched off. Change it, then {done}.", "success")
            return redirect(url_for("automations.edit", automation_id=form.result.id))
        if request.form.get("back") == "rule":
            return redirect(url_for("automations.show", automation_id=rule.id))
        return redirect(url_for("automations.index"))
    if form.conflict is not None:
        form.conflict = [("Rule", what, f"{rule.name}, {rule.state}")]
    return _index(form), form.status


@bp.route("/<id:automation_id>/delete", methods=["GET", "POST"])
@may("automations.edit")
def delete(automation_id: int) -> Any:
    rule = queries.get_rule_or_draft(automation_id)
    form = RecordForm(obj=rule)
    if form.saved(lambda: operations.delete_automation(rule)):
        return redirect(url_for("automations.index", deleted=rule.id))
    waiting = waiting_runs(rule.id)
    return render_template("automations/delete.html", form=form, rule=rule, waiting=waiting), form.status


@bp.post("/<id:automation_id>/restore")
@may("automations.edit")
def restore(automation_id: int) -> Any:
    rule = queries.get_any_automation(automation_id)
    if RecordForm(obj=rule).saved(lambda: operations.restore_automation(rule)):
        flash("The rule is back, switched off." if rule.is_published else "The draft is back.", "success")
    else:
        flash("Somebody changed this rule in the same moment. Look at it, then try again.", "warning")
    return redirect(url_for("automations.show", automation_id=automation_id))

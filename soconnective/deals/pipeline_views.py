"""Settings → Pipelines: their stages, order, colours, and what a stage means."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for

from soconnective.automation.models import Automation
from soconnective.automation.operations import definition_of
from soconnective.automation.references import rules_naming
from soconnective.core.access import may
from soconnective.core.forms import RecordForm
from soconnective.deals import pipeline_operations as operations
from soconnective.deals import queries
from soconnective.deals.forms import PipelineForm, ReplaceForm, RulesForm, StageForm

bp = Blueprint("pipelines", __name__, url_prefix="/dashboard/settings/pipelines")


def _home() -> Any:
    return redirect(url_for("pipelines.index"))


@bp.route("", methods=["GET", "POST"])
@may("pipelines.edit")
def index() -> Any:
    form = PipelineForm()
    if form.saved(lambda: operations.create_pipeline(form.name.data or "")):
        flash("The pipeline is there, with the usual stages.", "success")
        return _home()
    return render_template("pipelines/index.html", form=form, pipelines=queries.pipelines()), form.status


@bp.route("/<id:pipeline_id>/edit", methods=["GET", "POST"])
@may("pipelines.edit")
def edit(pipeline_id: int) -> Any:
    pipeline = queries.get_pipeline(pipeline_id)
    form = PipelineForm(obj=pipeline)
    if form.saved(lambda: operations.rename_pipeline(pipeline, form.name.data or "")):
        return _home()
    return render_template(
        "pipelines/form.html",
        form=form,
        title=f"Rename {pipeline.name}",
        named=rules_naming("pipeline", pipeline.id),
    ), form.status


@bp.route("/<id:pipeline_id>/delete", methods=["GET", "POST"])
@may("pipelines.edit")
def delete(pipeline_id: int) -> Any:
    pipeline = queries.get_pipeline(pipeline_id)
    form = RulesForm(obj=pipeline)
    if form.saved(lambda: operations.delete_pipeline(pipeline, _chosen(form))):
        flash("The pipeline is gone.", "success")
        _tell(form.result)
        return _home()
    return render_template(
        "pipelines/delete.html", form=form, pipeline=pipeline, named=operations.rules_about(pipeline)
    ), form.status


@bp.route("/<id:pipeline_id>/stages/new", methods=["GET", "POST"])
@may("pipelines.edit")
def new_stage(pipeline_id: int) -> Any:
    pipeline = queries.get_pipeline(pipeline_id)
    form = StageForm()
    if form.saved(lambda: operations.add_stage(pipeline, **form.values())):
        return _home()
    return render_template(
        "pipelines/form.html", form=form, title=f"New stage in {pipeline.name}"
    ), form.status


@bp.route("/stages/<id:stage_id>", methods=["GET", "POST"])
@may("pipelines.edit")
def stage(stage_id: int) -> Any:
    found = queries.get_stage(stage_id)
    form = StageForm(obj=found)
    if form.saved(lambda: operations.update_stage(found, **form.values())):
        return _home()
    return render_template(
        "pipelines/form.html", form=form, title=f"Edit {found.name}", named=rules_naming("stage", found.id)
    ), form.status


@bp.post("/stages/<id:stage_id>/<any(up, down):way>")
@may("pipelines.edit")
def move_stage(stage_id: int, way: str) -> Any:
    found = queries.get_stage(stage_id)
    form = RecordForm(obj=found)
    if not form.saved(lambda: operations.move_stage(found, -1 if way == "up" else 1)):
        return render_template(
            "pipelines/index.html",
            form=PipelineForm(formdata=None),
            moved=form,
            pipelines=queries.pipelines(),
        ), form.status
    return _home()


@bp.route("/stages/<id:stage_id>/replace", methods=["GET", "POST"])
@may("pipelines.edit")
def replace(stage_id: int) -> Any:
    """A stage in use is replaced, not deleted."""
    found = queries.get_stage(stage_id)
    form = ReplaceForm(obj=found)
    if form.saved(lambda: operations.replace_stage(found, _chosen(form), bool(form.is_told_to_rules.data))):
        flash("The stage is gone; its deals moved.", "success")
        _tell(form.result)
        return _home()
    return render_template(
        "pipelines/replace.html",
        form=form,
        stage=found,
        held=operations.deals_in(found),
        named=rules_naming("stage", found.id),
    ), form.status


def _chosen(form: ReplaceForm) -> Any:
    chosen = form.replacement_id.data
    return queries.get_stage(chosen) if chosen else None


def _tell(changed: list[Automation]) -> None:
    """Say which rules name something else now, and which of them make no sense any more."""
    if changed:
        names = ", ".join(f"“{rule.name}”" for rule in changed[:10])
        flash(f"Rules that name the other stage now: {names}{' …' if len(changed) > 10 else ''}", "success")
    for rule in changed:
        for _path, _field, message in definition_of(rule).problems()[:1]:
            flash(f"Look at the rule “{rule.name}”: {message}", "warning")

"""Every write to pipelines and stages."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from soconnective.automation.models import Automation
from soconnective.automation.references import Naming, replace_reference, rules_naming
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.deals.models import Deal, Pipeline, Stage
from soconnective.deals.operations import move_deal
from soconnective.events import rules

DEFAULT_STAGES: tuple[tuple[str, str, int, str], ...] = (
    ("Lead", "gray", 10, "open"),
    ("Qualified", "blue", 30, "open"),
    ("Proposal", "indigo", 50, "open"),
    ("Negotiation", "orange", 75, "open"),
    ("Won", "green", 100, "won"),
    ("Lost", "red", 0, "lost"),
)


def create_pipeline(name: str, stages: tuple[tuple[str, str, int, str], ...] = DEFAULT_STAGES) -> Pipeline:
    """A pipeline with stages (name, colour, probability, kind) in order."""
    last = db.session.scalar(select(func.max(Pipeline.position))) or 0
    pipeline = Pipeline(name=name, position=last + 1)
    db.session.add(pipeline)
    db.session.flush()
    for position, (label, color, probability, kind) in enumerate(stages, start=1):
        db.session.add(
            Stage(
                pipeline_id=pipeline.id,
                name=label,
                position=position,
                color=color,
                probability=probability,
                kind=kind,
            )
        )
    db.session.flush()
    return pipeline


def rename_pipeline(pipeline: Pipeline, name: str) -> Pipeline:
    pipeline.name = name
    return pipeline


def rules_about(pipeline: Pipeline) -> list[Naming]:
    """The rules that name the pipeline or one of its stages."""
    named = {
        found.rule.id: found for found in rules_naming("stage", *(stage.id for stage in pipeline.stages))
    }
    for found in rules_naming("pipeline", pipeline.id):
        named.setdefault(found.rule.id, found)
    return sorted(named.values(), key=lambda found: (found.rule.position, found.rule.id))


def delete_pipeline(pipeline: Pipeline, replacement: Stage | None = None) -> list[Automation]:
    """Only an empty pipeline that is not the last one can go; rules that name it name `replacement` instead.

    Returns those rules.
    """
    if db.session.scalar(select(Deal.id).where(Deal.pipeline_id == pipeline.id).limit(1)) is not None:
        raise Refused("This pipeline still holds deals. Move them to another one first.")
    if (db.session.scalar(select(func.count()).select_from(Pipeline)) or 0) < 2:
        raise Refused("A workspace needs at least one pipeline.")
    if replacement is not None and replacement.pipeline_id == pipeline.id:
        raise Refused("This stage goes with the pipeline. Choose one of another pipeline.", "replacement_id")
    named = rules_about(pipeline)
    if named and replacement is None:
        raise Refused(
            f"{_these(named)}. Choose the stage that takes the place of its stages.", "replacement_id"
        )
    changed: dict[int, Automation] = {}
    if replacement is not None:
        for stage in pipeline.stages:
            changed |= {rule.id: rule for rule in replace_reference("stage", stage.id, replacement.id)}
        others = replace_reference("pipeline", pipeline.id, replacement.pipeline_id)
        changed |= {rule.id: rule for rule in others}
    for stage in list(pipeline.stages):
        db.session.delete(stage)
    db.session.flush()
    db.session.delete(pipeline)
    return list(changed.values())


def _these(named: list[Naming]) -> str:
    return "One rule names it" if len(named) == 1 else f"{len(named)} rules name it"


def add_stage(
    pipeline: Pipeline, name: str, color: str = "gray", probability: int = 0, kind: str = "open"
) -> Stage:
    last = max((stage.position for stage in pipeline.stages), default=0)
    stage = Stage(
        pipeline_id=pipeline.id, name=name, color=color, probability=probability, kind=kind, position=last + 1
    )
    db.session.add(stage)
    db.session.flush()
    return stage


def update_stage(stage: Stage, **values: Any) -> Stage:
    """Change a stage. Its kind cannot change while deals are in it: they would be won or lost without a word."""
    if values.get("kind", stage.kind) != stage.kind and deals_in(stage):
        raise Refused("Deals are in this stage. Move them first, then change what the stage means.", "kind")
    for name in ("name", "color", "probability", "kind"):
        if name in values:
            setattr(stage, name, values[name])
    return stage


def move_stage(stage: Stage, step: int) -> None:
    """One place earlier (-1) or later (1) in its pipeline."""
    stages = list(stage.pipeline.stages)
    here, there = stages.index(stage), stages.index(stage) + step
    if 0 <= there < len(stages):
        stages[here], stages[there] = stages[there], stages[here]
        for position, other in enumerate(stages, start=1):
            other.position = position


def replace_stage(
    stage: Stage, replacement: Stage | None, is_told_to_rules: bool = False
) -> list[Automation]:
    """Delete a stage; its deals move to `replacement` first, each with its events, and rules name that one instead.

    Rules look at these moves only if `is_told_to_rules`: tidying up is no progress, and may concern many deals.

    Returns the rules that changed.
    """
    if len(stage.pipeline.stages) < 2:
        raise Refused("A pipeline needs at least one stage.")
    if deals_in(stage):
        if replacement is None or replacement.id == stage.id:
            raise Refused("Deals are in this stage. Choose the stage they move to.", "replacement_id")
        with rules("run" if is_told_to_rules else "skip"):
            for deal in db.session.scalars(select(Deal).where(Deal.stage_id == stage.id)):
                move_deal(
                    deal, replacement, lost_reason=deal.lost_reason or f"Stage {stage.name} was removed"
                )
    changed: list[Automation] = []
    if replacement is None or replacement.id == stage.id:
        if named := rules_naming("stage", stage.id):
            raise Refused(f"{_these(named)}. Choose the stage that takes its place.", "replacement_id")
    else:
        changed = replace_reference("stage", stage.id, replacement.id)
    db.session.delete(stage)
    db.session.flush()
    return changed


def deals_in(stage: Stage) -> int:
    return db.session.scalar(select(func.count()).select_from(Deal).where(Deal.stage_id == stage.id)) or 0

"""Every write to pipelines and stages."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.deals.models import Deal, Pipeline, Stage
from soconnective.deals.operations import move_deal

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


def delete_pipeline(pipeline: Pipeline) -> None:
    """Only an empty pipeline that is not the last one can go."""
    if db.session.scalar(select(Deal.id).where(Deal.pipeline_id == pipeline.id).limit(1)) is not None:
        raise Refused("This pipeline still holds deals. Move them to another one first.")
    if (db.session.scalar(select(func.count()).select_from(Pipeline)) or 0) < 2:
        raise Refused("A workspace needs at least one pipeline.")
    for stage in list(pipeline.stages):
        db.session.delete(stage)
    db.session.flush()
    db.session.delete(pipeline)


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


def replace_stage(stage: Stage, replacement: Stage | None) -> None:
    """Delete a stage; its deals move to `replacement` first, each with its events."""
    if len(stage.pipeline.stages) < 2:
        raise Refused("A pipeline needs at least one stage.")
    if deals_in(stage):
        if replacement is None or replacement.id == stage.id:
            raise Refused("Deals are in this stage. Choose the stage they move to.", "replacement_id")
        for deal in db.session.scalars(select(Deal).where(Deal.stage_id == stage.id)):
            move_deal(deal, replacement, lost_reason=deal.lost_reason or f"Stage {stage.name} was removed")
        db.session.flush()
    db.session.delete(stage)
    db.session.flush()


def deals_in(stage: Stage) -> int:
    return db.session.scalar(select(func.count()).select_from(Deal).where(Deal.stage_id == stage.id)) or 0

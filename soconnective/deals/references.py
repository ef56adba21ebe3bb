"""Pipelines and stages by name, for rules as text: “Sales”, “Sales/Won”."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from soconnective.automation.references import Reference, register_reference
from soconnective.core.db import db
from soconnective.deals.models import Pipeline, Stage


def _pipelines() -> Iterator[tuple[int, str]]:
    for row in db.session.execute(select(Pipeline.id, Pipeline.name).order_by(Pipeline.id)):
        yield row.id, row.name


def _stages() -> Iterator[tuple[int, str]]:
    rows = db.session.execute(
        select(Stage.id, Stage.name, Pipeline.name.label("pipeline"))
        .join(Pipeline, Pipeline.id == Stage.pipeline_id)
        .order_by(Pipeline.id, Stage.id)
    )
    for row in rows:
        yield row.id, f"{row.pipeline}/{row.name}"


register_reference(Reference("pipeline", "pipeline", _pipelines), Reference("stage", "stage", _stages))

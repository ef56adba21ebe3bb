"""Reads of deals and stages that more than one place needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from flask import abort
from sqlalchemy import Select, func, select
from sqlalchemy.orm import joinedload, selectinload

from soconnective.core.db import db
from soconnective.deals.models import Deal, DealContact, Pipeline, Stage


@dataclass(frozen=True, slots=True)
class NextStep:
    title: str
    due_on: date | None
    url: str


# What comes next on each deal, from whoever keeps such things (tasks): deal ids -> the next one.
next_steps: list[Callable[[list[int]], dict[int, NextStep]]] = []


def get_deal(deal_id: int) -> Deal:
    """The deal with its people, or 404."""
    found = db.session.scalars(
        select(Deal)
        .where(Deal.id == deal_id)
        .options(
            selectinload(Deal.people).joinedload(DealContact.contact),
            joinedload(Deal.stage),
            joinedload(Deal.company),
            joinedload(Deal.tag_rows),
        )
    )
    return found.unique().one_or_none() or abort(404)


def get_pipeline(pipeline_id: int) -> Pipeline:
    return db.session.get(Pipeline, pipeline_id) or abort(404)


def get_stage(stage_id: int) -> Stage:
    return db.session.get(Stage, stage_id) or abort(404)


def pipelines() -> list[Pipeline]:
    """Every pipeline with its stages, in order (one statement)."""
    return list(
        db.session.scalars(
            select(Pipeline).options(joinedload(Pipeline.stages)).order_by(Pipeline.position, Pipeline.id)
        ).unique()
    )


def stage_choices() -> list[tuple[int, str]]:
    rows = pipelines()
    several = len(rows) > 1
    return [(s.id, f"{p.name}: {s.name}" if several else s.name) for p in rows for s in p.stages]


def sums(statement: Select[Any]) -> list[tuple[str, Decimal, int]]:
    """(currency, sum, number) of the deals that `statement` selects."""
    found = statement.with_only_columns(Deal.currency, Deal.amount).order_by(None).subquery()
    rows = db.session.execute(
        select(found.c.currency, func.coalesce(func.sum(found.c.amount), 0), func.count())
        .group_by(found.c.currency)
        .order_by(func.count().desc())
    )
    return [(row[0], Decimal(row[1]), row[2]) for row in rows]


def steps_after(deals: list[Deal]) -> dict[int, NextStep]:
    found: dict[int, NextStep] = {}
    for provider in next_steps:
        found.update(provider([deal.id for deal in deals]))
    return found


def deal_choices(keep: int | None = None, limit: int = 500) -> list[tuple[int, str]]:
    """(id, title) for a select: open deals by title, and always `keep`."""
    rows = [
        (row.id, row.title)
        for row in db.session.execute(
            select(Deal.id, Deal.title).where(Deal.status == "open").order_by(Deal.title).limit(limit)
        )
    ]
    if keep is not None and keep < 2**62 and all(row[0] != keep for row in rows):
        extra = db.session.execute(select(Deal.id, Deal.title).where(Deal.id == keep)).first()
        if extra is not None:
            rows.insert(0, (extra.id, extra.title))
    return rows

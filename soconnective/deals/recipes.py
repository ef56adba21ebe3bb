"""Recipes about deals that need nothing but deals: an owner for each, a renewal after a while. And stages for others."""

from __future__ import annotations

from typing import Any

from soconnective.automation.definition import Definition, build
from soconnective.automation.recipes import Recipe, register_recipe
from soconnective.deals.queries import pipelines


def stage(name: str, kind: str = "open", place: int = 0) -> int | None:
    """The stage called `name` of the first pipeline, else its stage of that kind at `place`; None if there is none."""
    found = [s for pipeline in pipelines() for s in pipeline.stages]
    named = [s for s in found if s.name.casefold() == name.casefold()]
    if named:
        return int(named[0].id)
    of_kind = [s for s in found[:50] if s.kind == kind]
    return int(of_kind[min(place, len(of_kind) - 1)].id) if of_kind else None


def _assign() -> Definition:
    how = {"target": "deal", "how": "in_turn", "only_if_empty": True}
    return build("Give each new deal an owner", "deal.created", {}, [("assign_owner", how)])


def _tell() -> Definition:
    text = "{{ deal.title }} is won: {{ deal.amount }} {{ deal.currency }}. Well done, {{ actor.name }}!"
    return build("Tell of a win", "deal.won", {}, [("notify_user", {"who": "admins", "text": text})])


def _renewal() -> Definition:
    steps: list[tuple[str, dict[str, Any]]] = [
        ("wait", {"mode": "time", "amount": 330, "unit": "days"}),
        ("create_deal", {"title": "Renewal: {{ deal.title }}", "stage_id": stage("Lead")}),
    ]
    return build("Open the renewal", "deal.won", {}, steps)


register_recipe(
    Recipe("assign-new-deal", "Assign a new lead", "No deal without an owner: each in turn gets the next one.",
           "user-plus", 10, _assign),
    Recipe("tell-of-win", "Notify on a win", "Who leads the team hears of each won deal at once.", "trophy", 35, _tell),
    Recipe("renewal", "Open the renewal", "Eleven months after a win, the next deal is on the board.", "refresh", 120, _renewal),
)  # fmt: skip

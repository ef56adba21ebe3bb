"""Recipes: rules that many people need, offered as filled drafts. The areas register theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from soconnective.automation.definition import Definition


@dataclass(frozen=True)
class Recipe:
    """`draft()` makes the rule for the current workspace: its stages, its people.

    `text` says in a few words what it is good for.
    """

    id: str
    title: str
    text: str
    icon: str
    order: int
    draft: Callable[[], Definition]


@dataclass(frozen=True)
class Offered:
    """A recipe as the page shows it, with the sentence of its draft."""

    recipe: Recipe
    sentence: str


_recipes: dict[str, Recipe] = {}


def register_recipe(*items: Recipe) -> None:
    for item in items:
        _recipes[item.id] = item


def recipes() -> list[Recipe]:
    return sorted(_recipes.values(), key=lambda recipe: (recipe.order, recipe.id))


def offered() -> list[Offered]:
    """Every recipe that can work here; one whose pieces are not there is not offered."""
    found = [(recipe, recipe.draft()) for recipe in recipes()]
    return [Offered(recipe, draft.sentence()) for recipe, draft in found if not draft.broken]


def draft_of(recipe_id: str | None) -> Definition | None:
    """The draft of a recipe, or None for one that does not exist."""
    recipe = _recipes.get(recipe_id or "")
    return recipe.draft() if recipe is not None else None

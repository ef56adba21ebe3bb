"""The page of recipes: each opens the builder with a filled draft."""

from __future__ import annotations

from flask import render_template

from soconnective.automation.recipes import offered
from soconnective.automation.views import bp
from soconnective.core.access import may


@bp.get("/recipes")
@may("automations.edit")
def recipes() -> str:
    return render_template("automations/recipes.html", recipes=offered())

"""Filters of lists, and the views that they are kept as.

Owns the table `saved_views`. A filter is a tree of `core.conditions`, the same that rules ask; it stands in the
address of the list, so that it can be shared. Knows no area: each one registers its list (`listed`), and asks
`ListFilter` which rows the address wants.
"""

from __future__ import annotations

from flask import Flask

from soconnective.automation.references import follow_replacements
from soconnective.saved_views import views
from soconnective.saved_views.filtering import ListFilter
from soconnective.saved_views.listed import Listed, register_list
from soconnective.saved_views.naming import replace_in_views, views_naming
from soconnective.saved_views.quick import Quick, by_choice, by_id, by_person, mine

__all__ = [
    "ListFilter",
    "Listed",
    "Quick",
    "by_choice",
    "by_id",
    "by_person",
    "init_app",
    "mine",
    "register_list",
]


def init_app(app: Flask) -> None:
    app.register_blueprint(views.bp)
    app.jinja_env.globals["views_naming"] = views_naming
    follow_replacements(replace_in_views)

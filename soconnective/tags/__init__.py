"""Tags: words in colours that contacts, companies and deals are marked with.

Owns the table `tags`. Knows no area: each one makes its link table from `models.RecordTag` and registers it
in `taggable`; then events, triggers, actions and conditions about its tags come by themselves.
"""

from __future__ import annotations

from flask import Flask

from soconnective.automation.references import Reference, register_reference
from soconnective.core.registry import SettingsSection, registry
from soconnective.tags import actions, views
from soconnective.tags.queries import every_tag

__all__ = ["actions", "init_app"]


def init_app(app: Flask) -> None:
    app.register_blueprint(views.bp)
    register_reference(Reference("tag", "tag", lambda: ((tag.id, tag.name) for tag in every_tag().values())))
    registry.add(
        SettingsSection(
            "tags",
            "Tags",
            "tags.index",
            "tag",
            45,
            "tags.edit",
            "The words that contacts, companies and deals are marked with.",
        )
    )

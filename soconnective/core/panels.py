"""Draws what other areas show on a record's page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import render_template, url_for
from markupsafe import Markup

from soconnective.core.registry import registry


@dataclass
class Panels:
    main: list[Markup] = field(default_factory=list)
    side: list[Markup] = field(default_factory=list)


def draw_panels(record_type: str, record: Any) -> Panels:
    """The panels registered for `record_type`, drawn in order; "home" is the dashboard, its record None."""
    drawn = Panels()
    for panel in registry.panels_of(record_type):
        html = Markup(  # noqa: S704  a template of ours, escaped as all are
            render_template(panel.template, record=record, record_type=record_type, **panel.context(record))
        )
        (drawn.side if panel.side else drawn.main).append(html)
    return drawn


@dataclass(frozen=True)
class NewLink:
    label: str
    url: str
    icon: str


def new_links(record_type: str, record_id: int) -> list[NewLink]:
    """The *New ...* buttons of a record's page, its links filled in."""
    found = []
    for item in registry.in_order(registry.new.values()):
        args = item.for_record(record_type, record_id)
        if args:
            found.append(NewLink(item.label, url_for(item.endpoint, **args), item.icon))
    return found

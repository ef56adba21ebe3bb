"""Recipes about appointments: come prepared, and meet each new deal."""

from __future__ import annotations

from typing import Any

from soconnective.automation.definition import Definition, build
from soconnective.automation.recipes import Recipe, register_recipe


def _prepare() -> Definition:
    on = {"match": "all", "items": [{"field": "status", "operator": "is", "value": "scheduled"}]}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("wait", {"mode": "date", "field": "starts_at", "days": -1, "at": "09:00"}),
        ("if", {"conditions": on}),
        ("create_task", {"title": "Prepare {{ appointment.title }}", "due_in_days": 1}),
        ("end_if", {}),
    ]
    return build("Prepare an appointment", "appointment.scheduled", {}, steps)


def _first_call() -> Definition:
    steps = [("create_appointment", {"title": "First call: {{ deal.title }}", "in_days": 2, "at": "10:00"})]
    known = {"match": "all", "items": [{"field": "contact_id", "operator": "not_empty", "value": None}]}
    return build("Plan the first call", "deal.created", {}, steps, conditions=known)


register_recipe(
    Recipe("prepare-appointment", "Prepare an appointment", "The morning before, a task to get ready, unless it was cancelled.",
           "calendar", 110, _prepare),
    Recipe("first-call", "Plan the first call", "A new deal with a contact gets a call in the calendar.", "phone", 115, _first_call),
)  # fmt: skip

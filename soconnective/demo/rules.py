"""The pipelines and the rules of the demo."""

from __future__ import annotations

from typing import Any

from soconnective.automation.definition import build
from soconnective.automation.operations import create_automation
from soconnective.deals.models import Pipeline

RENEWALS = (
    ("Coming up", "gray", 60, "open"),
    ("Talking", "blue", 75, "open"),
    ("Renewed", "green", 100, "won"),
    ("Left", "red", 0, "lost"),
)


def make_rules(pipeline: Pipeline) -> None:
    """Four rules, switched on."""
    won = next(stage for stage in pipeline.stages if stage.kind == "won")
    proposal = next(stage for stage in pipeline.stages if stage.name == "Proposal")
    client = "{{ deal.contact | default: 'the client' }}"
    rules: list[tuple[str, str, dict[str, Any], list[tuple[str, dict[str, Any]]]]] = [
        (
            "Won kickoff", "deal.won", {},
            [("create_task", {"title": f"Kick-off call with {client}", "due_in_days": 2}),
             ("log_note", {"body": "{{ deal.title }} is won. Hand over to delivery."})],
        ),
        (
            "Follow up the proposal", "deal.stage_changed", {"to_stage_id": proposal.id},
            [("create_task", {"title": f"Ask {client} about the proposal", "due_in_days": 5})],
        ),
        (
            "Welcome a new contact", "contact.created", {},
            [("log_note", {"body": "{{ contact.name }} was added by {{ actor.name }}."})],
        ),
        (
            "Celebrate straight wins", "deal.stage_changed", {"from_stage_id": proposal.id, "to_stage_id": won.id},
            [("log_note", {"body": "Straight from proposal to won: {{ deal.title }}."})],
        ),
    ]  # fmt: skip
    for name, trigger, settings, steps in rules:
        create_automation(build(name, trigger, settings, steps), is_active=True)

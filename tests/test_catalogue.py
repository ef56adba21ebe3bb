"""What exists is documented: events, triggers, actions, settings, commands, permissions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from soconnective import config
from soconnective.automation.registry import action_types, trigger_types
from soconnective.core.access import PERMISSIONS, ROLES
from soconnective.core.registry import registry
from soconnective.events import event_types

README = (Path(__file__).parent.parent / "README.md").read_text()
ISSUED = {
    "deal.created", "deal.updated", "deal.stage_changed", "deal.won", "deal.lost", "deal.deleted",
    "contact.created", "contact.updated", "contact.deleted", "company.created", "company.updated", "company.deleted",
    "task.created", "task.completed", "task.reopened", "task.deleted", "note.logged", "note.deleted",
    "appointment.scheduled", "appointment.rescheduled", "appointment.cancelled", "appointment.deleted",
    "contact.tag_added", "contact.tag_removed", "company.tag_added", "company.tag_removed",
    "deal.tag_added", "deal.tag_removed",
}  # fmt: skip


def test_every_event_says_when_it_is_sent_and_when_not(app: Flask) -> None:
    assert set(event_types()) >= ISSUED
    for name, kind in event_types().items():
        assert name.split(".")[0] == kind.record_type and kind.title, name
        assert kind.sent_when.endswith(".") and kind.not_when.endswith("."), name


def test_every_event_is_a_trigger_and_every_piece_is_named(app: Flask) -> None:
    assert set(trigger_types()) == set(event_types())
    assert set(action_types()) >= {"create_task", "log_note"}
    for piece in [*trigger_types().values(), *action_types().values()]:
        assert piece.label and piece.group and piece.icon
    for name, trigger in trigger_types().items():
        assert name in event_types(), name
        kind = registry.record_types[trigger.record_type]
        assert kind.fields, f"rules about a {kind.name} have no merge fields"


@pytest.mark.parametrize("name", sorted(config.Settings.model_fields))
def test_every_setting_stands_in_the_readme(name: str) -> None:
    short = name.removeprefix("SOCONNECTIVE_KEEP").removeprefix("SOCONNECTIVE")
    assert name in README or short in README
    assert name in (config.__doc__ or "") or short in (config.__doc__ or "")


def test_every_command_stands_in_the_readme(app: Flask) -> None:
    own = set(app.cli.commands) - {"db", "roles", "users", "routes", "run", "shell"}
    assert own >= {"serve", "demo", "doctor", "tenant", "user", "events", "prune", "reindex"}
    for name in own:
        assert name in README, name
        assert app.cli.commands[name].help, name


def test_every_permission_is_somebodys_and_in_use(app: Flask) -> None:
    used: set[Any] = {getattr(view, "permission", None) for view in app.view_functions.values()}
    for name, (roles, text) in PERMISSIONS.items():
        assert set(roles) <= set(ROLES) and text
        assert name in used, f"{name} guards nothing"

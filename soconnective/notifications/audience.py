"""Who is to be told: the admins, or the one whose rule it is."""

from __future__ import annotations

from soconnective.core.registry import Person, active_people, people


def admins() -> list[Person]:
    """The active owners and admins of the workspace, by name."""
    return [person for person in active_people() if person.role in ("owner", "admin")]


def answerable_for(made_by_kind: str, made_by_id: int | None) -> list[Person]:
    """Who made something, if they are still an active member; else the workspace's owners and admins."""
    person = people().get(made_by_id or 0) if made_by_kind == "person" else None
    return [person] if person is not None and person.is_active else admins()

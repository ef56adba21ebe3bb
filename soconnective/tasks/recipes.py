"""Recipes that make tasks: the follow-ups that are forgotten else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from soconnective.automation.definition import Definition, build
from soconnective.automation.recipes import Recipe, register_recipe
from soconnective.core.registry import active_people
from soconnective.deals.recipes import stage

CLIENT = "{{ deal.contact | default: 'the client' }}"
Step = tuple[str, dict[str, Any]]


def _task(title: str, days: int, **more: Any) -> Step:
    return "create_task", {"title": title, "due_in_days": days, **more}


def _asks(*tests: tuple[str, str, Any]) -> dict[str, Any]:
    return {
        "match": "all",
        "items": [{"field": field, "operator": operator, "value": value} for field, operator, value in tests],
    }


def _if(conditions: dict[str, Any], steps: Sequence[Step]) -> list[Step]:
    return [("if", {"conditions": conditions}), *steps, ("end_if", {})]


def _qualified() -> Definition:
    steps = [_task(f"Call {CLIENT} about {{{{ deal.title }}}}", 2)]
    to = {"to_stage_id": stage("Qualified", place=1)}
    return build("Follow up a qualified deal", "deal.stage_changed", to, steps)


def _won() -> Definition:
    steps = [
        _task(f"Kick-off call with {CLIENT}", 2),
        ("log_note", {"body": "{{ deal.title }} is won. Hand over to delivery."}),
    ]
    return build("Kick off a won deal", "deal.won", {}, steps)


def _silence() -> Definition:
    moved = {"match": "none", "items": [{"field": "stage_entered_at", "operator": "last_days", "value": "6"}]}
    asked = {"match": "all", "items": [_asks(("status", "is", "open")), moved]}
    steps = [
        ("wait", {"mode": "event", "event": "deal.stage_changed", "amount": 7, "unit": "days"}),
        *_if(asked, [_task("{{ deal.title }} has not moved for a week. What is next?", 0)]),
    ]
    return build("Remind after a week of silence", "deal.stage_changed", {}, steps)


def _quiet() -> Definition:
    steps: list[Step] = [
        (
            "notify_user",
            {"who": "owner", "text": "Nothing has happened about {{ deal.title }} for two weeks."},
        ),
        _task("Call about {{ deal.title }}: it is quiet", 1),
    ]
    return build(
        "Wake a quiet deal",
        "deal.went_silent",
        {"days": 14},
        steps,
        conditions=_asks(("status", "is", "open")),
    )


def _proposal() -> Definition:
    proposal = stage("Proposal", place=2)
    asked = _asks(("stage_id", "is", str(proposal or "")))
    steps = [
        ("wait", {"mode": "event", "event": "deal.stage_changed", "amount": 5, "unit": "days"}),
        *_if(asked, [_task(f"Ask {CLIENT} what they think of the proposal", 0)]),
    ]
    return build("Follow up the proposal", "deal.stage_changed", {"to_stage_id": proposal}, steps)


def _lost() -> Definition:
    return build(
        "Ask why it was lost",
        "deal.lost",
        {},
        [_task(f"Ask {CLIENT} for feedback on {{{{ deal.title }}}}", 7)],
    )


def _big() -> Definition:
    chosen = [person for role in ("owner", "admin") for person in active_people() if person.role == role]
    who = {"assign_to": "person", "person_id": chosen[0].id} if chosen else {}
    steps = [_task("Look at the big deal {{ deal.title }} ({{ deal.amount }} {{ deal.currency }})", 1, **who)]
    return build(
        "Tell a manager of a big deal",
        "deal.created",
        {},
        steps,
        conditions=_asks(("amount", "at_least", "10000")),
    )


def _handed_over() -> Definition:
    steps = [
        _task(f"Introduce yourself to {CLIENT}", 1),
        ("log_note", {"body": "{{ deal.title }} was handed over to {{ deal.owner | default: 'nobody' }}."}),
    ]
    asked = _asks(("owner_id", "not_empty", None))
    return build("Hand over a deal", "deal.updated", {"field": "owner_id"}, steps, conditions=asked)


def _welcome() -> Definition:
    steps = [
        _task("Welcome {{ contact.name }}", 1),
        ("log_note", {"body": "{{ contact.name }} was added by {{ actor.name }}."}),
    ]
    return build("Welcome a new contact", "contact.created", {}, steps)


def _overdue() -> Definition:
    late = _asks(("status", "is", "open"), ("due_on", "last_days", "30"))
    steps = [
        ("wait", {"mode": "date", "field": "due_on", "days": 1, "at": "09:00"}),
        *_if(late, [
            ("change_field", {"target": "task", "field": "priority", "value": "high"}),
            ("log_note", {"body": "The task {{ task.title }} is overdue."}),
        ]),
    ]  # fmt: skip
    return build(
        "Chase an overdue task", "task.created", {}, steps, conditions=_asks(("due_on", "not_empty", None))
    )


register_recipe(
    Recipe("follow-up-qualified", "Follow up a qualified deal", "A call is due two days after a deal is qualified.",
           "phone", 20, _qualified),
    Recipe("kick-off-won", "Kick off a won deal", "The first step after the party: a kick-off call and a note for delivery.",
           "trophy", 30, _won),
    Recipe("remind-silence", "Remind after days of silence", "A deal that has not moved for a week comes back to its owner.",
           "clock", 40, _silence),
    Recipe("quiet-deal", "Wake a quiet deal", "No call, no note, no change for two weeks: its owner hears of it.",
           "bell", 45, _quiet),
    Recipe("follow-up-proposal", "Follow up the proposal", "Five days without an answer: ask what they think.", "mail", 50, _proposal),
    Recipe("feedback-lost", "Ask for feedback on a lost deal", "A week later they tell you the real reason.", "message", 60, _lost),
    Recipe("big-deal", "Tell a manager of a big deal", "From 10,000 on, somebody should look early.", "coin", 70, _big),
    Recipe("hand-over", "Hand over to a new owner", "When the owner changes, the client hears it from the new one.",
           "switch-horizontal", 80, _handed_over),
    Recipe("welcome-contact", "Welcome a new contact", "Nobody is added and then forgotten.", "users", 90, _welcome),
    Recipe("chase-overdue", "Chase an overdue task", "The day after it was due, it becomes urgent, and the timeline says so.",
           "alert-triangle", 100, _overdue),
)  # fmt: skip

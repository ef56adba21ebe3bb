"""Believable data, made through the operations, so that rules and the timeline are real.

Deterministic: the same seed makes the same workspace, around today. `remove()` takes it all away.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select

from soconnective.accounts import operations as accounts
from soconnective.accounts import queries
from soconnective.accounts.passwords import DEMO_PASSWORD
from soconnective.appointments.operations import schedule_appointment, set_status
from soconnective.automation.definition import build
from soconnective.automation.operations import create_automation
from soconnective.contacts.models import Contact
from soconnective.contacts.operations import Identity, create_company, create_contact
from soconnective.core import clock
from soconnective.core.access import Actor, acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.registry import SettingsSection, registry
from soconnective.core.tenancy import acting_in
from soconnective.core.workspace import current_workspace, enter_workspace, workspace_today
from soconnective.deals.models import Deal, Pipeline, Stage
from soconnective.deals.operations import create_deal, move_deal
from soconnective.deals.pipeline_operations import create_pipeline
from soconnective.demo.names import (
    CITIES,
    COMPANIES,
    DEALS,
    FIRST,
    GLOBEX_OWNER,
    JOBS,
    LAST,
    NOTES,
    PEOPLE,
    TASKS,
)
from soconnective.demo.removal import remove
from soconnective.demo.views import bp
from soconnective.tasks.operations import complete_task, create_task
from soconnective.timeline.operations import write_note

PASSWORD = DEMO_PASSWORD


def is_empty() -> bool:
    """Whether nobody exists yet: only then is demo data made."""
    return not queries.has_users()


def make() -> None:
    """Two workspaces: Acme, full of life, and a small Globex, so that tenancy shows."""
    with write_transaction():
        acme = accounts.create_tenant("Acme", "EUR", "Europe/Madrid", is_demo=True)
        people = {}
        for role, (email, name) in PEOPLE.items():
            people[role] = accounts.add_user(email, name, PASSWORD, is_demo=True)
            accounts.add_member(acme, people[role], role)
        globex = accounts.create_tenant("Globex", "USD", "America/New_York", is_demo=True)
        gina = accounts.add_user(*GLOBEX_OWNER, PASSWORD, is_demo=True)
        accounts.add_member(globex, gina, "owner")
        accounts.add_member(globex, people["admin"], "viewer")
        ids = acme.id, globex.id
        team = [
            Actor("person", person.id, person.name) for role, person in people.items() if role != "viewer"
        ]
        others = [Actor("person", gina.id, gina.name)]
    _fill(ids[0], random.Random(7), team, companies=40, contacts=120, deals=60)
    _fill(ids[1], random.Random(11), others, companies=6, contacts=15, deals=8)


def _fill(
    tenant_id: int, chance: random.Random, team: list[Actor], companies: int, contacts: int, deals: int
) -> None:
    enter_workspace(None)
    with acting_in(tenant_id):
        with write_transaction(), acting_as(team[0]):
            pipelines = [create_pipeline("Sales")]
            if deals > 20:
                pipelines.append(
                    create_pipeline(
                        "Renewals",
                        (
                            ("Coming up", "gray", 60, "open"),
                            ("Talking", "blue", 75, "open"),
                            ("Renewed", "green", 100, "won"),
                            ("Left", "red", 0, "lost"),
                        ),
                    )
                )
            _rules(pipelines[0])
        with write_transaction():
            firms = _companies(chance, team, companies)
            people = _contacts(chance, team, firms, contacts)
        _deals(chance, team, pipelines, people, deals)
        with write_transaction():
            _agenda(chance, team, people)


def _rules(pipeline: Pipeline) -> None:
    won = next(stage for stage in pipeline.stages if stage.kind == "won")
    proposal = next(stage for stage in pipeline.stages if stage.name == "Proposal")
    rules: list[Any] = [
        (
            "Won kickoff",
            "deal.won",
            {},
            [
                (
                    "create_task",
                    {
                        "title": "Kick-off call with {{ deal.contact | default: 'the client' }}",
                        "due_in_days": 2,
                    },
                ),
                ("log_note", {"body": "{{ deal.title }} is won. Hand over to delivery."}),
            ],
        ),
        (
            "Follow up the proposal",
            "deal.stage_changed",
            {"to_stage_id": proposal.id},
            [
                (
                    "create_task",
                    {
                        "title": "Ask {{ deal.contact | default: 'the client' }} about the proposal",
                        "due_in_days": 5,
                    },
                ),
            ],
        ),
        (
            "Welcome a new contact",
            "contact.created",
            {},
            [
                ("log_note", {"body": "{{ contact.name }} was added by {{ actor.name }}."}),
            ],
        ),
        (
            "Celebrate straight wins",
            "deal.stage_changed",
            {"from_stage_id": proposal.id, "to_stage_id": won.id},
            [
                ("log_note", {"body": "Straight from proposal to won: {{ deal.title }}."}),
            ],
        ),
    ]
    for name, trigger, settings, steps in rules:
        create_automation(build(name, trigger, settings, steps), is_active=True)


def _companies(chance: random.Random, team: list[Actor], number: int) -> list[Any]:
    firms = []
    for name in COMPANIES[:number]:
        domain = name.lower().replace(" ", "-").replace("&", "and") + ".example"
        owner = chance.choice(team)
        with acting_as(owner):
            firms.append(
                create_company(
                    name,
                    domain=domain,
                    owner_id=owner.id,
                    phone=f"+34 9{chance.randint(10, 99)} 55 {chance.randint(10, 99)} {chance.randint(10, 99)}",
                )
            )
    return firms


def _contacts(chance: random.Random, team: list[Actor], firms: list[Any], number: int) -> list[Contact]:
    people: list[Contact] = []
    used: set[tuple[str, str]] = set()
    while len(people) < number:
        first, last = chance.choice(FIRST), chance.choice(LAST)
        if (first, last) in used:
            continue
        used.add((first, last))
        firm, owner = chance.choice(firms), chance.choice(team)
        identities = [Identity("email", f"{first}.{last}@{firm.domain}".lower())]
        if chance.random() < 0.7:
            identities.append(Identity("phone", f"+346{chance.randint(10_000_000, 99_999_999)}"))
        if chance.random() < 0.2:
            identities.append(Identity("handle", f"@{first}{last}".lower(), "linkedin"))
        with acting_as(owner):
            people.append(
                create_contact(
                    first,
                    last,
                    job_title=chance.choice(JOBS),
                    company_id=firm.id,
                    owner_id=owner.id,
                    identities=identities,
                )
            )
    return people


def _deals(
    chance: random.Random, team: list[Actor], pipelines: list[Pipeline], people: list[Contact], number: int
) -> None:
    """Each deal is made and moved in transactions of its own, as a person would: rules run for each."""
    stages = {
        p.id: list(
            db.session.scalars(select(Stage).where(Stage.pipeline_id == p.id).order_by(Stage.position))
        )
        for p in pipelines
    }
    people_ids = [(contact.id, contact.company_id) for contact in people]
    order = {p_id: [(s.id, s.kind) for s in rows] for p_id, rows in stages.items()}
    for index in range(number):
        owner = chance.choice(team)
        pipeline = pipelines[1] if len(pipelines) > 1 and index % 4 == 3 else pipelines[0]
        path = order[pipeline.id]
        contact_id, company_id = chance.choice(people_ids)
        with acting_as(owner):
            with write_transaction():
                deal = create_deal(
                    chance.choice(DEALS).format(city=chance.choice(CITIES)),
                    path[0][0],
                    contact_ids=[contact_id],
                    company_id=company_id,
                    owner_id=owner.id,
                    amount=chance.randrange(5, 900) * 100,
                    expected_close_on=workspace_today() + timedelta(days=chance.randint(-12, 70)),
                    source=chance.choice(("Referral", "Website", "Event", "Campaign")),
                )
            deal_id = deal.id
            steps = chance.choice((0, 1, 1, 2, 2, 3, 3, 4, 5))
            for stage_id, kind in _walk(path, steps, chance):
                with write_transaction():
                    found = db.session.get_one(Deal, deal_id)
                    move_deal(
                        found,
                        db.session.get_one(Stage, stage_id),
                        "Chose somebody else" if kind == "lost" else None,
                    )
            if chance.random() < 0.5:
                with write_transaction():
                    write_note(chance.choice(NOTES), deal_id=deal_id, contact_id=contact_id)


def _walk(path: list[tuple[int, str]], steps: int, chance: random.Random) -> list[tuple[int, str]]:
    open_stages = [stage for stage in path if stage[1] == "open"][1:]
    walked = open_stages[:steps]
    if steps > len(open_stages):
        end = "won" if chance.random() < 0.7 else "lost"
        walked.append(next(stage for stage in path if stage[1] == end))
    return walked


def _agenda(chance: random.Random, team: list[Actor], people: list[Contact]) -> None:
    deals = list(db.session.scalars(select(Deal).where(Deal.status == "open").limit(60)))
    today = workspace_today()
    for index in range(min(45, len(deals) * 2)):
        owner, deal = chance.choice(team), chance.choice(deals)
        with acting_as(owner):
            task = create_task(
                chance.choice(TASKS),
                today + timedelta(days=chance.randint(-6, 14)),
                owner.id,
                chance.choice(("low", "normal", "normal", "high")),
                deal_id=deal.id,
            )
            if index % 4 == 0:
                complete_task(task)
    for index in range(18):
        owner, contact = chance.choice(team), chance.choice(people)
        begin = clock.now().replace(minute=0, second=0, microsecond=0) + timedelta(
            days=chance.randint(-5, 12), hours=chance.randint(-4, 4)
        )
        with acting_as(owner):
            appointment = schedule_appointment(
                f"{chance.choice(('Call', 'Demo', 'Lunch', 'Review', 'Site visit'))} with {contact.first_name}",
                begin,
                begin + timedelta(minutes=chance.choice((30, 60, 90))),
                owner_id=owner.id,
                contact_id=contact.id,
                place=chance.choice(("Video call", "Their office", "Our office", None)),
            )
            if begin < clock.now():
                set_status(appointment, "cancelled" if index % 6 == 0 else "done")


def init_app(app: Flask) -> None:
    app.register_blueprint(bp)
    registry.add(
        SettingsSection(
            "demo",
            "Demo data",
            "demo.remove",
            "trash",
            90,
            "workspace.own",
            "Remove it and start with an empty instance.",
            is_shown=lambda: current_workspace().is_demo,
        )
    )


__all__ = ["init_app", "is_empty", "make", "remove"]

"""Four months of a team's work, told in order: who did what when, each in a transaction of its own.

The plan is made first and then played from the oldest moment to the newest, so that ids, timelines
and the rules' runs have the order of the days.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from sqlalchemy import select

from soconnective.appointments.models import Appointment
from soconnective.appointments.operations import schedule_appointment, set_status
from soconnective.contacts.operations import Identity, create_company, create_contact
from soconnective.core import clock
from soconnective.core.access import SYSTEM, Actor, acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.workspace import current_workspace, workspace_today
from soconnective.deals.models import Deal, Pipeline, Stage
from soconnective.deals.operations import create_deal, move_deal
from soconnective.deals.pipeline_operations import create_pipeline
from soconnective.demo.names import CITIES, COMPANIES, DEALS, FIRST, JOBS, LAST, NOTES, TASKS
from soconnective.demo.rules import RENEWALS, make_rules
from soconnective.tasks.models import Task
from soconnective.tasks.operations import complete_task, create_task
from soconnective.timeline.operations import write_note

LAST_LOSS = "Chose somebody else"
# Some of each kind are marked: by their place, so that the tags change nothing else of the story.
COMPANY_TAGS = {0: "VIP", 2: "Partner", 4: "VIP, Reference"}
CONTACT_TAGS = {
    0: "Newsletter",
    1: "Decision maker",
    4: "Newsletter, Met at the fair",
    5: "Decision maker, VIP",
}
DEAL_TAGS = {0: "Urgent", 2: "Met at the fair", 5: "VIP", 7: "Urgent, Needs legal"}


@dataclass(frozen=True)
class Size:
    companies: int
    contacts: int
    deals: int


@dataclass
class Story:
    """`team` acts; the random source decides, so that the same seed tells the same story."""

    chance: Random
    team: list[Actor]
    size: Size
    plan: list[tuple[datetime, int, Actor, Callable[[], None]]] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    paths: list[list[tuple[int, str]]] = field(default_factory=list)

    def tell(self) -> None:
        """Plan everything, then do it."""
        with clock.at(self.moment(-121)), acting_as(self.team[0]), write_transaction():
            pipelines = [create_pipeline("Sales")]
            if self.size.deals > 20:
                pipelines.append(create_pipeline("Renewals", RENEWALS))
            make_rules(pipelines[0])
            db.session.flush()
            self.paths = [_path(pipeline) for pipeline in pipelines]
        self._companies()
        self._contacts()
        self._deals()
        self._appointments()
        for day in range(-88, 0, 2):
            self.then(day, SYSTEM, self._tick_off, hour=17)
        self._tasks()
        for moment, _number, actor, act in sorted(self.plan, key=lambda entry: entry[:2]):
            with clock.at(moment), acting_as(actor), write_transaction():
                act()

    def moment(self, day: int, hour: int | None = None) -> datetime:
        """A moment of office hours, `day` days from today on the workspace's calendar."""
        date = workspace_today() + timedelta(days=day)
        wall = datetime(  # noqa: DTZ001  a wall clock, given its zone below
            date.year,
            date.month,
            date.day,
            hour or self.chance.randint(9, 16),
            self.chance.choice((0, 5, 20, 30, 45)),
        )
        return clock.from_local(wall, current_workspace().timezone)

    def then(
        self,
        day: int,
        actor: Actor,
        act: Callable[[], None],
        hour: int | None = None,
        after: datetime | None = None,
    ) -> datetime:
        """Plan `act`, not before `after`; what would lie in the future happened a moment ago."""
        wanted = self.moment(day, hour)
        if after is not None and wanted <= after:
            wanted = after + timedelta(minutes=20)
        moment = min(wanted, clock.now() - timedelta(minutes=2))
        self.plan.append((moment, len(self.plan), actor, act))
        return moment

    def _companies(self) -> None:
        chance = self.chance
        for index, name in enumerate(COMPANIES[: self.size.companies]):
            owner = chance.choice(self.team)
            domain = name.lower().replace(" ", "-").replace("&", "and") + ".example"
            phone = f"+34 9{chance.randint(10, 99)} 55 {chance.randint(10, 99)} {chance.randint(10, 99)}"

            values = {
                "domain": domain,
                "owner_id": owner.id,
                "phone": phone,
                "new_tags": COMPANY_TAGS.get(index % 7),
            }

            def add(name: str = name, values: Any = values) -> None:
                company = create_company(name, **values)
                db.session.flush()
                self.ids[name] = company.id

            self.then(chance.randint(-120, -95), owner, add)

    def _contacts(self) -> None:
        chance = self.chance
        used: set[tuple[str, str]] = set()
        while len(used) < self.size.contacts:
            first, last = chance.choice(FIRST), chance.choice(LAST)
            if (first, last) in used:
                continue
            used.add((first, last))
            index, firm, owner = (
                len(used) - 1,
                chance.choice(COMPANIES[: self.size.companies]),
                chance.choice(self.team),
            )
            domain = firm.lower().replace(" ", "-").replace("&", "and") + ".example"
            ways = [Identity("email", f"{first}.{last}@{domain}".lower())]
            if chance.random() < 0.7:
                ways.append(
                    Identity(
                        "phone",
                        f"+34 6{chance.randint(10, 99)} {chance.randint(100, 999)} {chance.randint(100, 999)}",
                    )
                )
            if chance.random() < 0.2:
                ways.append(Identity("handle", f"@{first}{last}".lower(), "linkedin"))
            values = {"job_title": chance.choice(JOBS), "owner_id": owner.id, "identities": ways}
            values["new_tags"] = CONTACT_TAGS.get(index % 8)

            def add(
                index: int = index, names: Any = (first, last), firm: str = firm, values: Any = values
            ) -> None:
                contact = create_contact(*names, company_id=self.ids[firm], **values)
                db.session.flush()
                self.ids[f"contact {index}"], self.ids[f"firm of {index}"] = contact.id, self.ids[firm]

            self.then(chance.randint(-94, -80) if index % 4 else chance.randint(-79, -1), owner, add)

    def _deals(self) -> None:
        """Each is made, then moved on some days later, as a person would: rules run for each."""
        chance = self.chance
        for index in range(self.size.deals):
            owner = chance.choice(self.team)
            path = self.paths[1] if len(self.paths) > 1 and index % 4 == 3 else self.paths[0]
            person = chance.choice([n for n in range(self.size.contacts) if n % 4])
            day = chance.randint(-78, -3)
            values = {
                "title": chance.choice(DEALS).format(city=chance.choice(CITIES)),
                "amount": chance.randrange(5, 900) * 100,
                "source": chance.choice(("Referral", "Website", "Event", "Campaign")),
                "tags": DEAL_TAGS.get(index % 9),
                "close": workspace_today() + timedelta(days=chance.randint(-8, 60)),
            }

            def add(key: str = f"deal {index}", first: int = path[0][0], owner: Actor = owner, person: int = person,
                    values: Any = values) -> None:  # fmt: skip
                deal = create_deal(
                    values["title"], first, owner_id=owner.id, amount=values["amount"], source=values["source"],
                    contact_ids=[self.ids[f"contact {person}"]], company_id=self.ids[f"firm of {person}"],
                    expected_close_on=values["close"], new_tags=values["tags"],
                )  # fmt: skip
                db.session.flush()
                self.ids[key] = deal.id

            last = self.then(day, owner, add)
            for stage_id, kind in _walk(path, chance.choice((0, 1, 1, 2, 2, 3, 3, 4, 5)), chance):
                day = min(day + chance.randint(2, 16), 0)
                last = self.then(day, owner, partial(self._move, f"deal {index}", stage_id, kind), after=last)
                if chance.random() < 0.35:
                    note = chance.choice(NOTES)
                    last = self.then(
                        day, owner, partial(self._note, f"deal {index}", person, note), after=last
                    )

    def _move(self, key: str, stage_id: int, kind: str) -> None:
        deal = db.session.get_one(Deal, self.ids[key])
        move_deal(deal, db.session.get_one(Stage, stage_id), LAST_LOSS if kind == "lost" else None)

    def _note(self, key: str, person: int, text: str) -> None:
        write_note(text, deal_id=self.ids[key], contact_id=self.ids[f"contact {person}"])

    def _tasks(self) -> None:
        """What the team has written down for these days, on top of what the rules asked for."""
        chance = self.chance
        for index in range(self.size.deals * 2 // 3):
            owner, day = chance.choice(self.team), chance.randint(-6, 14)

            def add(owner: Actor = owner, day: int = day, index: int = index) -> None:
                deals = list(
                    db.session.scalars(select(Deal.id).where(Deal.status == "open").order_by(Deal.id))
                )
                task = create_task(
                    chance.choice(TASKS), workspace_today() + timedelta(days=day), owner.id,
                    chance.choice(("low", "normal", "normal", "high")), deal_id=chance.choice(deals),
                )  # fmt: skip
                if index % 5 == 0:
                    db.session.flush()
                    complete_task(task)

            self.then(0, owner, add, hour=8)

    def _tick_off(self) -> None:
        """Most of what is due gets done, by whoever it is assigned to."""
        due = select(Task).where(Task.status == "open", Task.due_on <= workspace_today()).order_by(Task.id)
        for task in db.session.scalars(due):
            actor = next((one for one in self.team if one.id == task.assignee_id), self.team[0])
            if self.chance.random() < 0.75:
                with acting_as(actor):
                    complete_task(task)
                    db.session.flush()

    def _appointments(self) -> None:
        chance = self.chance
        for index in range(max(6, self.size.contacts // 6)):
            owner, day = chance.choice(self.team), chance.randint(-12, 12)
            begin = self.moment(day)
            person = chance.choice([n for n in range(self.size.contacts) if n % 4])
            what, place = (
                chance.choice(("Call", "Demo", "Lunch", "Review", "Site visit")),
                chance.choice(("Video call", "Their office", "Our office", None)),
            )
            length = timedelta(minutes=chance.choice((30, 60, 90)))

            def add(key: str = f"appointment {index}", owner: Actor = owner, person: int = person, begin: datetime = begin,
                    what: str = what, place: str | None = place, length: timedelta = length) -> None:  # fmt: skip
                contact = self.ids[f"contact {person}"]
                made = schedule_appointment(
                    what, begin, begin + length, owner_id=owner.id, contact_id=contact, place=place
                )
                db.session.flush()
                made.title = f"{what} with {made.contact.first_name if made.contact else 'the client'}"
                self.ids[key] = made.id

            self.then(min(day, 0) - chance.randint(2, 6), owner, add)
            if begin < clock.now():
                end = "cancelled" if index % 6 == 0 else "done"
                self.then(day, owner, partial(self._end, f"appointment {index}", end), hour=18)

    def _end(self, key: str, status: str) -> None:
        set_status(db.session.get_one(Appointment, self.ids[key]), status)


def _path(pipeline: Pipeline) -> list[tuple[int, str]]:
    return [(stage.id, stage.kind) for stage in sorted(pipeline.stages, key=lambda stage: stage.position)]


def _walk(path: list[tuple[int, str]], steps: int, chance: Random) -> list[tuple[int, str]]:
    open_stages = [stage for stage in path if stage[1] == "open"][1:]
    walked = open_stages[:steps]
    if steps > len(open_stages):
        end = "won" if chance.random() < 0.7 else "lost"
        walked.append(next(stage for stage in path if stage[1] == end))
    return walked

"""Proof 5, rules: another tenant's id in what a rule stores is like a missing one, wherever a rule can hold an id.

Made from the registries of actions, triggers and condition fields. Saving such a rule is refused in words; one that was
written behind our back fails or does nothing, says nothing of the victim's, and leaves the victim's rows as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from soconnective.automation import trial
from soconnective.automation.contracts import StepResult
from soconnective.automation.definition import build
from soconnective.automation.models import Automation
from soconnective.automation.registry import action_types, trigger_types
from soconnective.core.conditions import fields_of, operators_of
from soconnective.core.db import db, discarded_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.core.workspace import enter_workspace
from soconnective.deals.actions import MoveStage
from soconnective.notifications.action import NotifyUser
from tests.factories.records import make_rule
from tests.proofs.digests import changed, digest_of
from tests.proofs.ledger import Ledger
from tests.proofs.test_isolation import CANARY, MISSING, OTHER, bare, lift_ids
from tests.proofs.victims import VICTIMS, Desk
from tests.test_routes import fill
from tests.workspaces import make_team

NAME = "5b Isolation of what rules store"
NOTE = ("log_note", {"body": "x"})
# What a setting is only asked for together with.
WITH = {
    ("create_task", "person_id"): {"assign_to": "person"},
    ("notify_user", "person_id"): {"who": "person"},
    ("assign_owner", "person_id"): {"how": "person", "person_ids": []},
}
# The run succeeds although nobody of that id is there, and says so in a remark, or there was nothing to do.
BEARABLE = {("create_task", "person_id"), ("cancel_waiting", "rule_id")}


def is_id(name: str) -> bool:
    return name.endswith(("_id", "_ids"))


@dataclass(frozen=True)
class Place:
    """Where a rule can hold an id."""

    kind: str  # "action", "trigger" or "condition"
    type_id: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.type_id}.{self.name}"


class Borders:
    """One's own workspace with something of everything, and a victim's beside it, with ids that are no chance."""

    def __init__(self, app: Flask, team: Any) -> None:
        self.app, self.team, self.ledger = app, team, Ledger(app)
        lift_ids(self.ledger.engine)
        self.victim = make_team(app, "Victim", "victim.example")
        self.theirs = fill(app, self.victim, CANARY)
        with app.app_context(), acting_in(self.victim.id):
            self.theirs["rule_id"] = make_rule("deal.rule_started", [NOTE], f"{CANARY} started").id
            db.session.remove()
        self.theirs["person_id"] = self.victim.member.id
        self.mine = fill(app, team, OTHER)
        with app.app_context(), acting_in(team.id):
            self.desk = Desk(team)
            db.session.remove()
        enter_workspace(None)
        self.before = digest_of(self.ledger.engine, self.victim.id)

    def id_for(self, name: str) -> int:
        """The victim's id of the kind that a setting (or a condition's field) called `name` means."""
        kinds = {"owner_id": "person_id", "assignee_id": "person_id", "person_ids": "person_id", "tag_ids": "tag_id",
                 "from_stage_id": "stage_id", "to_stage_id": "stage_id"}  # fmt: skip
        while name not in kinds and name not in self.theirs:  # the deal's stage, as a task sees it
            name = name.partition("_")[2]
        return self.theirs[kinds.get(name, name)]

    def rule(self, place: Place, value: int | None) -> dict[str, Any]:
        """The parts of a rule whose `place` holds `value` (one's own id for None)."""
        parts: dict[str, Any] = {"trigger": "deal.won", "settings": {}, "steps": [NOTE], "conditions": None}
        if place.kind == "action":
            victim = VICTIMS[place.type_id]
            settings = victim.settings(self.desk) | WITH.get((place.type_id, place.name), {})
            own = settings.get(place.name) or (
                self.desk.started if place.name == "rule_id" else self.team.member.id
            )
            parts |= {"trigger": victim.trigger, "steps": [(place.type_id, settings)]}
        elif place.kind == "trigger":
            settings, own = {}, None
            parts |= {"trigger": place.type_id, "settings": settings}
        else:
            field = fields_of(place.type_id)[place.name]
            operator = next(o.id for o in operators_of(field) if o.takes == "one")
            parts["trigger"] = next(n for n, t in trigger_types().items() if t.record_type == place.type_id)
            asked = {"field": place.name, "operator": operator, "value": str(value)}
            parts["conditions"] = {"match": "all", "items": [asked] if value is not None else []}
            return parts
        chosen = own if value is None else value
        settings[place.name] = (
            [chosen] if place.name.endswith("_ids") and not isinstance(chosen, list) else chosen
        )
        return parts

    def definition(self, place: Place, value: int | None) -> Any:
        parts = self.rule(place, value)
        return build(
            str(place), parts["trigger"], parts["settings"], parts["steps"], "undo", parts["conditions"]
        )

    def harmed(self) -> list[str]:
        after = digest_of(self.ledger.engine, self.victim.id)
        tables, self.before = changed(self.before, after), after
        return tables

    def plant(self, rule_id: int, definition: Any) -> None:
        """Write what a rule stores behind the back of every check."""
        steps = [(json.dumps(step.stored()), rule_id, place) for place, step in enumerate(definition.steps)]
        with self.ledger.engine.begin() as connection:
            connection.execute(
                text("UPDATE automation_versions SET definition = :text WHERE automation_id = :rule"),
                {"text": definition.to_text(), "rule": rule_id},
            )
            connection.execute(
                text("UPDATE automations SET trigger_settings = :settings, conditions = :conditions WHERE id = :rule"),
                {
                    "settings": json.dumps(definition.trigger.stored()), "rule": rule_id,
                    "conditions": json.dumps(definition.conditions.stored()),
                },
            )  # fmt: skip
            for settings, rule, place in steps:
                connection.execute(
                    text(
                        "UPDATE automation_steps SET settings = :settings WHERE automation_id = :rule AND position = :place"
                    ),
                    {"settings": settings, "rule": rule, "place": place},
                )


def places() -> list[Place]:
    """Every setting of a piece, and every field of a condition, that holds an id. Inside the app's context."""
    found = []
    for kind, types in (("action", action_types()), ("trigger", trigger_types())):
        for type_id, cls in types.items():
            names = {name for name in cls.Settings.model_fields if is_id(name)} | set(cls.refers())
            found += [Place(kind, type_id, name) for name in sorted(names)]
    for record_type in sorted({cls.record_type for cls in trigger_types().values()}):
        found += [
            Place("condition", record_type, field.name)
            for field in fields_of(record_type).values()
            if field.refers_to or (is_id(field.name) and field.kind != "text")
        ]
    assert len(found) > 40
    return found


@pytest.fixture
def borders(app: Flask, team: Any) -> Iterator[Borders]:
    made = Borders(app, team)
    yield made
    made.ledger.close()


def refusal(borders: Borders, place: Place, value: int) -> str:
    parts = borders.rule(place, value)
    conditions = parts.pop("conditions")
    try:
        if conditions is None:
            make_rule(parts["trigger"], parts["steps"], "Own", parts["settings"])
        else:
            with discarded_transaction():
                trial.as_rule(borders.definition(place, value), None)
    except Refused as refused:
        return f"{refused.field}: {refused.message}"
    return ""


def not_refused(borders: Borders, place: Place) -> list[str]:
    theirs, none = (refusal(borders, place, value) for value in (borders.id_for(place.name), MISSING))
    is_right = theirs and bare(theirs) == bare(none) and CANARY not in theirs
    return [] if is_right else [f"{place}: {theirs!r}, a missing one {none!r}"]


@pytest.mark.proof(NAME)
def test_a_rule_with_another_tenants_id_is_refused_in_words(
    app: Flask, borders: Borders, proof: Any, sign_in: Any
) -> None:
    problems, posts = [], []
    with app.app_context(), acting_in(borders.team.id):
        every = places()
        for place in every:
            problems += not_refused(borders, place)
            db.session.remove()
            posts.append((place, [_form(borders, place, v) for v in (borders.id_for(place.name), MISSING)]))
            proof.cases += 1
    enter_workspace(None)
    client = sign_in(borders.team.owner)
    own = digest_of(borders.ledger.engine, borders.team.id)
    for place, datas in posts:
        if place.kind == "condition":
            continue
        answers = [client.post("/dashboard/automations/new", data=data) for data in datas]
        pages = [
            re.sub(rf"\b({borders.id_for(place.name)}|{MISSING})\b", "#", bare(answer.text))
            for answer in answers
        ]
        if {answer.status_code for answer in answers} != {422} or pages[0] != pages[1] or CANARY in pages[0]:
            problems.append(
                f"{place} posted: {[answer.status_code for answer in answers]}, {pages[0] == pages[1]}"
            )
        proof.cases += 1
    if tables := changed(own, digest_of(borders.ledger.engine, borders.team.id)):
        problems.append(f"what was refused left something in {tables}")
    problems += [f"the victim's {table} changed" for table in borders.harmed()]
    proof.found = len(problems)
    assert not problems, "\n".join(problems)


def _form(borders: Borders, place: Place, value: int) -> dict[str, Any]:
    parts = borders.rule(place, value)
    ((kind, settings),) = parts["steps"]
    data = {"name": "Own", "trigger": parts["trigger"], "steps-0-kind": kind}
    data |= {f"trigger-{name}": one for name, one in parts["settings"].items()}
    return data | {f"steps-0-{name}": one for name, one in settings.items() if one is not None}


def told(borders: Borders, place: Place, rule_id: int, value: int) -> str:
    """What the run of a rule says whose stored settings hold `value`."""
    definition = borders.definition(place, value)
    db.session.remove()
    borders.plant(rule_id, definition)
    if place.kind == "action":
        before = borders.ledger.rows()
        borders.ledger.restore(_with_rule_on(borders.ledger, before, rule_id), before)
        borders.desk.save(VICTIMS[place.type_id].trigger)
        db.session.remove()
        with borders.ledger.engine.connect() as connection:
            asked = text(
                "SELECT outcome, detail FROM automation_runs WHERE automation_id = :rule ORDER BY id DESC"
            )
            run = connection.execute(asked, {"rule": rule_id}).first()
        after = borders.ledger.rows()
        leaked = [
            name
            for name in after
            for key, row in after[name].items()
            if key not in before[name] and CANARY in str(row)
        ]
        borders.ledger.restore(before, after)
        return f"{run.outcome}: {run.detail} {leaked or ''}" if run else "no run"
    with discarded_transaction():
        automation = db.session.get_one(Automation, rule_id)
        kind = definition.trigger.record_type
        record_id = (
            borders.desk.deal
            if kind == "deal"
            else borders.mine[f"{'call' if kind == 'webhook' else kind}_id"]
        )
        event = trial.made_up(db.session(), definition.trigger, record_id)
        assert event is not None, place
        run = trial.judge(db.session(), trial.as_rule(definition, automation), event)
        return f"{run.outcome or 'matched'}: {run.detail}"


def harmful(borders: Borders, place: Place, rule_id: int) -> list[str]:
    """What is wrong with the run of a rule that holds the victim's id."""
    value = borders.id_for(place.name)
    none, theirs = (told(borders, place, rule_id, one) for one in (MISSING, value))
    wanted = ("succeeded: ",) if (place.type_id, place.name) in BEARABLE else ("failed: ", "not_matched: ")
    is_right = theirs.startswith(wanted) and CANARY not in theirs
    if is_right and theirs.replace(str(value), "#") == none.replace(str(MISSING), "#"):
        return []
    return [f"{place}: {theirs}, a missing one {none}"]


def _with_rule_on(ledger: Ledger, rows: Any, rule_id: int) -> Any:
    place = ledger.columns["automations"].index("is_active")
    row = rows["automations"][rule_id,]
    fresh = (*row[:place], type(row[place])(True), *row[place + 1 :])
    return {**rows, "automations": {**rows["automations"], (rule_id,): fresh}}


def behind_our_back(app: Flask, borders: Borders, proof: Any) -> tuple[list[str], list[int]]:
    problems, rules = [], []
    with app.app_context(), acting_in(borders.team.id):
        for place in places():
            parts = borders.rule(place, None)
            rule_id = make_rule(
                parts["trigger"], parts["steps"], str(place), parts["settings"], is_active=False
            ).id
            db.session.remove()
            rules.append(rule_id)
            problems += harmful(borders, place, rule_id)
            db.session.remove()
            problems += [f"{place}: changed the victim's {table}" for table in borders.harmed()]
            proof.cases += 1
    enter_workspace(None)
    return problems, rules


@pytest.mark.proof(NAME)
def test_a_rule_that_was_given_another_tenants_id_behind_our_back_harms_nobody(
    app: Flask, borders: Borders, proof: Any, sign_in: Any
) -> None:
    problems, rules = behind_our_back(app, borders, proof)
    client = sign_in(borders.team.owner)
    for rule_id in rules:
        for page in ("", "/edit", "/text"):
            answer = client.get(f"/dashboard/automations/{rule_id}{page}")
            if answer.status_code not in (200, 404) or CANARY in answer.text:
                problems.append(f"the page {page} of rule {rule_id}: {answer.status_code}")
    if CANARY in client.get("/dashboard/automations").text:
        problems.append("the list of rules shows the canary")
    proof.found = len(problems)
    assert not problems, "\n".join(problems)


@pytest.mark.control(NAME)
def test_an_action_with_planted_defects_is_found(
    app: Flask, borders: Borders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is saved with any id, and says what is behind it; one that takes the id of a person as it is."""
    stage, person = Place("action", "move_stage", "stage_id"), Place("action", "notify_user", "person_id")
    with app.app_context(), acting_in(borders.team.id):
        rules = {}
        for place in (stage, person):
            parts = borders.rule(place, None)
            rules[place] = make_rule(parts["trigger"], parts["steps"], str(place), is_active=False).id
            db.session.remove()
        assert not not_refused(borders, stage) and not harmful(borders, person, rules[person])
        monkeypatch.setattr(MoveStage, "check", lambda *_args: [])
        monkeypatch.setattr(MoveStage, "run", lambda *_args: StepResult(f"moved to {CANARY}"))
        monkeypatch.setattr(NotifyUser, "_persons", lambda *_args: [])
        assert not_refused(borders, stage) and CANARY in str(harmful(borders, stage, rules[stage]))
        assert harmful(borders, person, rules[person])
        db.session.remove()
    enter_workspace(None)

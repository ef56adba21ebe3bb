"""Every recipe opens as a filled draft, is saved by its page, switched on, and does what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from soconnective.appointments.models import Appointment
from soconnective.appointments.operations import schedule_appointment
from soconnective.automation.due_fire import take_due
from soconnective.automation.models import Automation, AutomationRun
from soconnective.automation.recipes import offered, recipes
from soconnective.core import clock
from soconnective.core.access import acting_as
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.deals.operations import update_deal
from soconnective.deals.pipeline_operations import replace_stage
from soconnective.jobs.queue import claim
from soconnective.jobs.worker import perform
from soconnective.notifications.models import Notification
from soconnective.tasks.models import Task
from soconnective.tasks.operations import complete_task, create_task
from soconnective.timeline.models import Note
from tests.factories.records import make_contact, make_deal, make_rule, move
from tests.proofs.pages import form_to

NEW = "/dashboard/automations/new"
LIST = "/dashboard/automations"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass
class World:
    """The workspace, the moment, and a worker that does what is due."""

    team: Any
    now: datetime = NOW

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)
        db.session.rollback()
        with clock.at(self.now):
            while claims := claim("w", 10):
                assert [perform(one) for one in claims] == ["done"] * len(claims)
        db.session.expire_all()

    def do(self, what: Callable[[], Any]) -> Any:
        with clock.at(self.now), acting_as(self.team.owner.actor), write_transaction():
            return what()

    def deal(self, stage: str = "Lead", **values: Any) -> Deal:
        with clock.at(self.now), acting_as(self.team.owner.actor):
            return make_deal(self.team.stages[stage], **values)

    def move(self, deal: Deal, stage: str) -> None:
        with clock.at(self.now), acting_as(self.team.owner.actor):
            move(deal, self.team.stages[stage], "price")


def tasks() -> list[tuple[str, date | None, int | None]]:
    db.session.expire_all()
    return [(t.title, t.due_on, t.assignee_id) for t in db.session.scalars(select(Task).order_by(Task.id))]


def notes() -> list[str]:
    return list(db.session.scalars(select(Note.body).order_by(Note.id)))


def day(number: int) -> date:
    return NOW.date() + timedelta(days=number)


def assign_new_deal(w: World) -> None:
    owners = [w.deal().owner_id for _ in range(4)]
    kept = w.deal(owner_id=w.team.viewer.id)
    db.session.expire_all()
    assert len(set(owners)) == 4 and None not in owners and kept.owner_id == w.team.viewer.id


def follow_up_qualified(w: World) -> None:
    deal = w.deal(title="Roll-out", owner_id=w.team.member.id)
    w.move(deal, "Proposal")
    assert tasks() == []
    w.move(deal, "Qualified")
    assert tasks() == [("Call the client about Roll-out", day(2), w.team.member.id)]


def kick_off_won(w: World) -> None:
    ana = w.do(lambda: make_contact("Ana", "Ruiz"))
    w.move(w.deal(title="Roll-out", contact_ids=[ana.id]), "Won")
    assert tasks() == [("Kick-off call with Ana Ruiz", day(2), None)]
    assert notes() == ["Roll-out is won. Hand over to delivery."]


def tell_of_win(w: World) -> None:
    w.move(w.deal(title="Roll-out", amount="500"), "Won")
    told = list(db.session.scalars(select(Notification).order_by(Notification.person_id)))
    assert [one.person_id for one in told] == [w.team.owner.id, w.team.admin.id]
    assert "Roll-out is won: 500.00 EUR" in told[0].title


def quiet_deal(w: World) -> None:
    w.later(minutes=1)  # what is there already is planned
    quiet, won = w.deal(title="Quiet", owner_id=w.team.member.id), w.deal(title="Done")
    w.move(won, "Won")
    for days in (13, 2):
        assert tasks() == []
        w.now += timedelta(days=days)
        with clock.at(w.now):
            take_due(w.now)
        w.later(minutes=1)
    assert tasks() == [("Call about Quiet: it is quiet", day(16), w.team.member.id)]
    (told,) = db.session.scalars(select(Notification))
    assert told.person_id == w.team.member.id and told.record_id == quiet.id


def remind_silence(w: World) -> None:
    quiet, busy, done = (
        w.deal(title=title, owner_id=w.team.member.id) for title in ("Quiet", "Busy", "Done")
    )
    for deal in (quiet, busy, done):
        w.move(deal, "Qualified")
    w.later(hours=1)
    w.move(busy, "Proposal")  # on the same day: only the second silence counts
    w.later(days=4)
    w.move(busy, "Negotiation")
    w.move(done, "Won")
    w.later(days=2.9)
    assert tasks() == []
    w.later(hours=3)
    assert tasks() == [("Quiet has not moved for a week. What is next?", day(7), w.team.member.id)]
    w.later(days=4)
    assert [title for title, _due, _who in tasks()][1:] == ["Busy has not moved for a week. What is next?"]
    w.later(days=30)
    assert len(tasks()) == 2


def follow_up_proposal(w: World) -> None:
    quiet, moved = w.deal(title="Quiet"), w.deal(title="Moved")
    for deal in (quiet, moved):
        w.move(deal, "Proposal")
    w.later(days=2)
    w.move(moved, "Negotiation")
    w.later(days=4)
    assert tasks() == [("Ask the client what they think of the proposal", day(6), None)]


def feedback_lost(w: World) -> None:
    w.move(w.deal(title="Roll-out"), "Lost")
    assert tasks() == [("Ask the client for feedback on Roll-out", day(7), None)]


def big_deal(w: World) -> None:
    w.deal(title="Small", amount="9999.99")
    w.deal(title="Big", amount="10000")
    assert tasks() == [("Look at the big deal Big (10000.00 EUR)", day(1), w.team.owner.id)]


def hand_over(w: World) -> None:
    deal = w.deal(title="Roll-out", owner_id=w.team.owner.id)
    w.do(lambda: update_deal(deal, title="Renamed"))
    w.do(lambda: update_deal(deal, owner_id=None))
    assert tasks() == []
    w.do(lambda: update_deal(deal, owner_id=w.team.member.id))
    assert tasks() == [("Introduce yourself to the client", day(1), w.team.member.id)]
    assert notes() == ["Renamed was handed over to Acme member."]


def welcome_contact(w: World) -> None:
    w.do(lambda: make_contact("Ana", "Ruiz", owner_id=w.team.member.id))
    assert tasks() == [("Welcome Ana Ruiz", day(1), w.team.member.id)]
    assert notes() == ["Ana Ruiz was added by Acme owner."]


def chase_overdue(w: World) -> None:
    deal = w.deal()
    late = w.do(lambda: create_task("Late", due_on=day(3), deal_id=deal.id))
    done = w.do(lambda: create_task("Done", due_on=day(3)))
    w.do(lambda: create_task("Some day"))
    w.later(days=3)
    w.do(lambda: complete_task(done))
    assert notes() == []
    w.later(days=1)
    assert (late.priority, done.priority, notes()) == ("high", "normal", ["The task Late is overdue."])


def prepare_appointment(w: World) -> None:
    at = NOW + timedelta(days=5)
    w.do(lambda: schedule_appointment("Demo", at, at + timedelta(hours=1), owner_id=w.team.member.id))
    w.later(days=3)
    assert tasks() == []
    w.later(days=1)
    assert tasks() == [("Prepare Demo", day(5), w.team.member.id)]


def first_call(w: World) -> None:
    ana = w.do(lambda: make_contact("Ana", "Ruiz"))
    w.deal(title="Unknown")
    w.deal(title="Known", contact_ids=[ana.id], owner_id=w.team.member.id)
    (made,) = db.session.scalars(select(Appointment))
    assert (made.title, made.starts_at) == ("First call: Known", datetime(2026, 3, 4, 9, tzinfo=UTC))


def renewal(w: World) -> None:
    w.move(w.deal(title="Licence"), "Won")
    w.later(days=329)
    assert len(db.session.scalars(select(Deal)).all()) == 1
    w.later(days=1)
    found = db.session.scalars(select(Deal).order_by(Deal.id)).all()
    assert [(d.title, d.stage_id) for d in found[1:]] == [("Renewal: Licence", w.team.stages["Lead"])]


EFFECTS = [
    assign_new_deal, follow_up_qualified, kick_off_won, tell_of_win, remind_silence, quiet_deal, follow_up_proposal, feedback_lost, big_deal,
    hand_over, welcome_contact, chase_overdue, prepare_appointment, first_call, renewal,
]  # fmt: skip


def test_every_recipe_is_tried_here(app: Flask) -> None:
    tried = {effect.__name__.replace("_", "-") for effect in EFFECTS}
    assert {recipe.id for recipe in recipes()} == tried and len(tried) >= 10


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)
def test_a_recipe_does_what_it_says(
    app: Flask, team: Any, owner: FlaskClient, effect: Callable[[World], None]
) -> None:
    page = owner.get(f"{NEW}?recipe={effect.__name__.replace('_', '-')}")
    assert page.status_code == 200 and "field-error" not in page.text
    sent = form_to(page.text, NEW).data()
    assert "is_active" not in sent  # a recipe is off until somebody says otherwise
    assert owner.post(NEW, data=sent).status_code == 302
    with app.app_context(), acting_in(team.id):
        rule = db.session.scalars(select(Automation)).one()
        rule_id, version = rule.id, rule.version
        assert not rule.is_active and rule.name == sent["name"][0]
        db.session.rollback()
    assert owner.post(f"{LIST}/{rule_id}/on", data={"version": version}).status_code == 302
    with app.app_context(), acting_in(team.id):
        effect(World(team))
        outcomes = set(db.session.scalars(select(AutomationRun.outcome)))
        assert outcomes <= {"succeeded", "not_matched", "waiting"} and "succeeded" in outcomes
        db.session.rollback()


def test_a_rule_with_times_is_edited(app: Flask, team: Any, owner: FlaskClient) -> None:
    """Times are stored as texts; the builder shows them as times again, and saving changes nothing."""
    steps = [
        ("wait", {"mode": "date", "field": "expected_close_on", "at": "08:30"}),
        ("create_appointment", {"title": "x", "at": "14:15"}),
        ("create_deal", {"title": "x", "stage_id": team.stages["Lead"], "amount": "12.50"}),
    ]
    with app.app_context(), acting_in(team.id):
        rule_id = make_rule(steps=steps).id
    url = f"{LIST}/{rule_id}/edit"
    page = owner.get(url)
    assert 'value="08:30"' in page.text and 'value="14:15"' in page.text and 'value="12.50"' in page.text
    assert owner.post(url, data=form_to(page.text, url).data()).status_code == 302
    with app.app_context(), acting_in(team.id):
        assert db.session.get_one(Automation, rule_id).definition_number == 1
        db.session.rollback()


def test_recipes_are_offered_with_their_sentences(app: Flask, team: Any, owner: FlaskClient) -> None:
    for url in (LIST, f"{LIST}/recipes"):
        page = owner.get(url).text
        assert page.count('class="recipe"') == len(recipes())
        assert "When a deal is lost → create task “Ask {{ deal.contact" in page
    with app.app_context(), acting_in(team.id):
        make_rule()
    assert 'class="recipe"' not in owner.get(LIST).text


def test_who_may_not_edit_is_offered_none(team: Any, sign_in: Any) -> None:
    viewer = sign_in(team.viewer)
    assert 'class="recipe"' not in viewer.get(LIST).text
    assert viewer.get(f"{NEW}?recipe=big-deal").status_code == 403


def test_a_recipe_that_is_not_there(owner: FlaskClient) -> None:
    assert owner.get(f"{NEW}?recipe=world-peace").status_code == 404


def test_no_recipe_needs_stages_of_certain_names(inside: Any) -> None:
    """In a workspace with one stage a draft may say what is missing; it never breaks."""
    stages = db.session.scalars(select(Deal.stage.property.entity.class_)).all()
    with write_transaction():
        for stage in stages[1:]:
            replace_stage(stage, None)
        stages[0].kind = "won"
    assert len(offered()) >= 10

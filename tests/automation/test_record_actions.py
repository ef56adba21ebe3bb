"""Actions that change records: fields, owners, stages; deals and appointments made; what cannot be is told."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from soconnective.appointments.models import Appointment
from soconnective.automation.definition import build
from soconnective.automation.models import Automation, AutomationRun, AutomationTurn
from soconnective.automation.operations import definition_of
from soconnective.automation.references import replace_person, rules_with_person
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.deals.operations import delete_deal
from soconnective.events import EventRow
from tests.factories.records import make_company, make_contact, make_deal, make_rule, move


def last() -> AutomationRun:
    db.session.expire_all()
    run = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id.desc())).first()
    assert run is not None
    return run


def change(target: str, field: str, value: str | None) -> tuple[str, dict[str, Any]]:
    return "change_field", {"target": target, "field": field, "value": value}


CHANGES = [
    ("deal", "title", "{{ deal.title }}!", "Roll-out!", "set the deal's title to “{{ deal.title }}!”"),
    ("deal", "amount", "12.5", Decimal("12.50"), "set the deal's amount to 12.5"),
    ("deal", "amount", None, None, "empty the deal's amount"),
    ("deal", "currency", "USD", "USD", "set the deal's currency to"),
    ("deal", "expected_close_on", "7", date(2026, 3, 8), "set the deal's expected close to 7 days later"),
    ("deal", "source", "Campaign", "Campaign", "set the deal's source to “Campaign”"),
    ("company", "phone", "{{ deal.owner }}", "Acme owner", "set the company's phone to"),
    ("contact", "job_title", "Buyer", "Buyer", "set the contact's job title to “Buyer”"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "field", "value", "becomes", "said"), CHANGES)
def test_a_field_is_changed_of_the_record_or_of_what_it_points_to(
    inside: Any, target: str, field: str, value: str | None, becomes: Any, said: str
) -> None:
    rule = make_rule(steps=[change(target, field, value)])
    deal = make_deal(
        inside.stages["Lead"], owner_id=inside.owner.id, amount="5",
        company_id=make_company().id, contact_ids=[make_contact().id],
    )  # fmt: skip
    with clock.at(datetime(2026, 3, 1, 12, tzinfo=UTC)):
        move(deal, inside.stages["Won"])
    run = last()
    assert run.outcome == "succeeded", run.detail
    db.session.refresh(deal)
    record = {"deal": deal, "company": deal.company, "contact": deal.people[0].contact}[target]
    assert getattr(record, field) == becomes
    assert definition_of(rule).sentence().split(" → ")[1].startswith(said)
    assert run.trace["steps"][0]["made"][0]["type"] == target
    made = db.session.scalars(select(EventRow).order_by(EventRow.id.desc())).first()
    assert made is not None and made.parent_id == run.event_id and made.actor_kind == "automation"
    assert made.name == f"{target}.updated" and field in made.changes


WRONG = [
    ("deal", "title", None, "value"), ("deal", "amount", "much", "value"), ("deal", "amount", "1.234", "value"),
    ("deal", "currency", "ZZZ", "value"), ("deal", "expected_close_on", "soon", "value"),
    ("deal", "expected_close_on", "99999", "value"), ("deal", "title", "{{ deal.secret }}", "value"),
    ("deal", "stage_id", "1", "field"), ("deal", "tenant_id", "2", "field"), ("user", "name", "x", "target"),
    ("task", "title", "x", "target"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "field", "value", "where"), WRONG)
def test_what_makes_no_sense_is_refused_beside_its_field(
    inside: Any, target: str, field: str, value: str | None, where: str
) -> None:
    with pytest.raises(Refused) as refused:
        make_rule(steps=[change(target, field, value)])
    assert refused.value.field == f"steps-0-{where}"


def test_what_is_not_there_fails_the_run_and_keeps_the_save(inside: Any) -> None:
    make_rule(steps=[change("company", "name", "x")])
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    assert (last().outcome, last().detail) == ("failed", "step 1 failed: The deal has no company.")
    assert deal.status == "won"


def test_a_deleted_record_cannot_be_changed_but_what_it_pointed_to_can(inside: Any) -> None:
    with pytest.raises(Refused, match="deleted cannot be changed"):
        make_rule("deal.deleted", [change("deal", "title", "x")])
    make_rule("deal.deleted", [change("company", "name", "Lost one")])
    company = make_company()
    deal = make_deal(inside.stages["Lead"], company_id=company.id)
    with write_transaction():
        delete_deal(deal)
    assert last().outcome == "succeeded", last().detail
    db.session.refresh(company)
    assert company.name == "Lost one"


def test_a_value_that_the_area_refuses_fails_with_its_words(inside: Any) -> None:
    make_rule("contact.created", [change("contact", "last_name", None)])
    make_contact("", "Ruiz")
    assert last().detail == "step 1 failed: A contact needs a first or a last name."


def assign(**settings: Any) -> Automation:
    return make_rule("deal.created", [("assign_owner", {"target": "deal", **settings})])


def owners() -> list[int | None]:
    db.session.expire_all()
    return list(db.session.scalars(select(Deal.owner_id).order_by(Deal.id)))


def test_each_in_turn(inside: Any) -> None:
    assign(how="in_turn", person_ids=[inside.owner.id, inside.admin.id])
    for _ in range(3):
        make_deal(inside.stages["Lead"])
    assert owners() == [inside.owner.id, inside.admin.id, inside.owner.id]
    assert last().detail == f"assigned to {inside.owner.name}"


def test_a_turn_that_failed_is_not_used_up(inside: Any) -> None:
    steps = [("assign_owner", {"target": "deal", "person_ids": [inside.owner.id, inside.admin.id]}),
             change("company", "name", "x")]  # fmt: skip
    make_rule("deal.created", steps)
    make_deal(inside.stages["Lead"])
    assert last().outcome == "failed" and db.session.scalars(select(AutomationTurn)).all() == []
    make_deal(inside.stages["Lead"], company_id=make_company().id)
    assert owners() == [None, inside.owner.id]


def test_the_least_busy_and_the_fixed_one(inside: Any) -> None:
    for _ in range(2):
        make_deal(inside.stages["Lead"], owner_id=inside.owner.id)
    make_deal(inside.stages["Lead"], owner_id=inside.admin.id)
    assign(how="least_busy", person_ids=[inside.owner.id, inside.admin.id])
    make_deal(inside.stages["Lead"])
    assert owners()[-1] == inside.admin.id
    assign(how="person", person_id=inside.member.id, only_if_empty=False)
    make_deal(inside.stages["Lead"])
    assert owners()[-1] == inside.member.id


def test_an_owner_is_kept_if_asked(inside: Any) -> None:
    assign(how="person", person_id=inside.member.id)
    make_deal(inside.stages["Lead"], owner_id=inside.owner.id)
    assert owners() == [inside.owner.id] and last().detail == "kept its owner"


def test_nobody_of_another_workspace_can_be_meant(inside: Any, rivals: Any) -> None:
    for settings in ({"how": "person", "person_id": rivals.owner.id}, {"person_ids": [rivals.owner.id]}):
        with pytest.raises(Refused):
            assign(**settings)


def test_a_person_who_leaves_is_replaced_everywhere(inside: Any) -> None:
    rule = assign(how="in_turn", person_ids=[inside.owner.id, inside.admin.id])
    assert rules_with_person(inside.admin.id) == 1
    with write_transaction():
        assert replace_person(inside.admin.id, inside.member.id) == 1
    assert definition_of(rule).steps[0].settings.person_ids == (inside.owner.id, inside.member.id)
    with write_transaction():
        replace_person(inside.member.id, None)
    assert definition_of(rule).steps[0].settings.person_ids == (inside.owner.id,)


def test_a_deal_is_moved_from_its_own_rule_and_from_its_tasks(inside: Any) -> None:
    make_rule("deal.created", [("move_stage", {"stage_id": inside.stages["Proposal"]})])
    deal = make_deal(inside.stages["Lead"])
    db.session.refresh(deal)
    assert deal.stage_id == inside.stages["Proposal"] and last().detail == "moved to Proposal"
    assert last().trace["steps"][0]["made"][0]["verb"] == "changed"
    with pytest.raises(Refused, match="Say why"):
        make_rule("deal.created", [("move_stage", {"stage_id": inside.stages["Lost"]})])


def test_a_stage_that_is_gone_is_told(inside: Any, rivals: Any) -> None:
    for stage_id in (rivals.stages["Won"], 10**9):
        with pytest.raises(Refused, match="does not exist any more"):
            make_rule("deal.created", [("move_stage", {"stage_id": stage_id})])
        definition = build("x", "deal.created", {}, [("create_deal", {"title": "t", "stage_id": stage_id})])
        assert definition.problems()[0][1] == "stage_id" and "⚠ a stage" in definition.sentence()


def test_a_deal_is_made_with_owner_company_and_contact(inside: Any) -> None:
    make_rule("deal.won", [("create_deal", {"title": "Renewal of {{ deal.title }}",
                                            "stage_id": inside.stages["Lead"], "amount": "500"})])  # fmt: skip
    company, contact = make_company(), make_contact()
    deal = make_deal(
        inside.stages["Lead"], owner_id=inside.owner.id, company_id=company.id, contact_ids=[contact.id]
    )
    move(deal, inside.stages["Won"])
    assert last().outcome == "succeeded", last().detail
    fresh = db.session.scalars(select(Deal).order_by(Deal.id.desc())).first()
    assert fresh is not None and fresh.title == "Renewal of Roll-out" and fresh.amount == Decimal(500)
    assert (fresh.owner_id, fresh.company_id) == (inside.owner.id, company.id)
    assert [row.contact_id for row in fresh.people] == [contact.id]


def test_an_appointment_is_made_at_the_wall_clock_of_the_workspace(inside: Any) -> None:
    make_rule("deal.won", [("create_appointment", {"title": "Kick-off {{ deal.title }}", "in_days": 1,
                                                   "at": "09:30", "minutes": 45, "place": "Room 1"})])  # fmt: skip
    deal = make_deal(inside.stages["Lead"], owner_id=inside.owner.id)
    with clock.at(datetime(2026, 3, 28, 12, tzinfo=UTC)):  # the clocks change in the night
        move(deal, inside.stages["Won"])
    made = db.session.scalars(select(Appointment)).one()
    from soconnective.core.workspace import current_workspace

    local = clock.local(made.starts_at, current_workspace().timezone)
    assert (local.day, local.hour, local.minute) == (29, 9, 30)
    assert (made.ends_at - made.starts_at).total_seconds() == 45 * 60
    assert (made.deal_id, made.owner_id, made.place) == (deal.id, inside.owner.id, "Room 1")


def test_turns_of_workspaces_are_their_own(app: Any, team: Any, rivals: Any) -> None:
    for workspace in (team, rivals):
        with app.app_context(), acting_in(workspace.id):
            make_rule("deal.created", [("assign_owner", {"target": "deal"})])
            make_deal(workspace.stages["Lead"])
            assert [row.number for row in db.session.scalars(select(AutomationTurn))] == [0]
            db.session.rollback()

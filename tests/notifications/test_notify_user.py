"""The action *Notify somebody*: whom it tells, what it says, and what it answers when there is nobody."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from soconnective.accounts.models import Membership
from soconnective.accounts.queries import forget_people
from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import definition_of
from soconnective.automation.references import replace_person, rules_with_person
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.notifications.models import Notification
from soconnective.notifications.operations import choose
from soconnective.tasks.operations import complete_task, create_task
from tests.factories.records import make_deal, make_rule, move

TEXT = "{{ deal.title }} is won\nBy {{ actor.name }}."


def notifying(who: str = "owner", text: str = TEXT, trigger: str = "deal.won", **more: Any) -> Any:
    return make_rule(trigger, [("notify_user", {"who": who, "text": text, **more})])


def won(team: Any, **values: Any) -> AutomationRun:
    deal = make_deal(team.stages["Lead"], **values)
    move(deal, team.stages["Won"])
    return last()


def last() -> AutomationRun:
    db.session.expire_all()
    run = db.session.scalars(select(AutomationRun).order_by(AutomationRun.id.desc())).first()
    assert run is not None
    return run


def told() -> list[tuple[int, str, str]]:
    rows = db.session.scalars(
        select(Notification).where(Notification.kind == "message").order_by(Notification.id)
    )
    return [(row.person_id, row.title, row.text) for row in rows]


def leave(person: Any) -> None:
    with write_transaction():
        row = db.session.scalars(select(Membership).where(Membership.user_id == person.id)).one()
        row.status = "removed"
        forget_people()


def test_the_owner_is_told(inside: Any) -> None:
    notifying()
    run = won(inside, owner_id=inside.member.id)
    assert (run.outcome, run.detail) == ("succeeded", "Acme member notified")
    assert told() == [(inside.member.id, "Roll-out is won", "By Acme owner.")]
    row = db.session.scalars(select(Notification)).one()
    assert (row.record_type, row.record_id, row.is_shown) == ("deal", run.record_id, True)


def test_a_fixed_person_and_all_admins(inside: Any) -> None:
    notifying("person", person_id=inside.viewer.id)
    assert won(inside).detail == "Acme viewer notified"
    notifying("admins")
    assert won(inside).detail == "2 people notified"
    assert [person for person, *_ in told()][-2:] == sorted([inside.owner.id, inside.admin.id], reverse=True)


def test_a_task_belongs_to_whom_it_is_assigned(inside: Any) -> None:
    notifying(text="{{ task.title }}", trigger="task.completed")
    with write_transaction():
        task = create_task("Call", assignee_id=inside.member.id)
    with write_transaction():
        complete_task(task)
    assert told() == [(inside.member.id, "Call", "")]


def test_nobody_to_tell_fails_in_words_and_keeps_the_save(inside: Any) -> None:
    notifying()
    run = won(inside)
    assert (run.outcome, run.detail) == ("failed", "step 1 failed: The deal has no owner to notify.")
    leave(inside.member)
    run = won(inside, owner_id=inside.member.id)
    assert run.detail == "step 1 failed: Acme member is no longer an active member."
    assert told() == []


def test_an_empty_text_fails(inside: Any) -> None:
    notifying(text="{{ deal.source }}")
    assert "empty once its fields are filled in" in won(inside, owner_id=inside.owner.id).detail


def test_who_does_not_want_to_be_told_is_not(inside: Any) -> None:
    notifying("admins")
    with write_transaction():
        choose(inside.admin.id, {"message": (False, False)})
    run = won(inside)
    assert run.detail == "Acme owner notified"
    assert run.trace["steps"][0]["remarks"] == ["Acme admin does not want to be told of this"]
    with write_transaction():
        choose(inside.owner.id, {"message": (False, False)})
    assert (won(inside).outcome, last().detail) == ("succeeded", "nobody notified")


def test_it_goes_with_the_rest_of_a_rule_that_fails(inside: Any) -> None:
    make_rule("deal.won", [("notify_user", {"who": "admins", "text": "x"}),
                           ("create_task", {"title": "{{ deal.source }}", "due_in_days": 1})])  # fmt: skip
    assert won(inside).outcome == "failed"
    assert told() == []


def test_many_rules_tell_together(inside: Any) -> None:
    for _ in range(5):
        notifying("admins")
    won(inside)
    assert len(told()) == 10


SENTENCES = [
    ({"who": "owner", "text": "Well\ndone"}, "notify the record's owner: “Well ⏎ done”"),
    (
        {"who": "admins", "text": "x" * 170},
        f"notify all admins and owners: “{'x' * 60}…” (170 letters, b150200a)",
    ),
    ({"who": "person", "person_id": 4711, "text": "x"}, "notify ⚠ somebody who is gone: “x”"),
]


@pytest.mark.parametrize(("settings", "said"), SENTENCES)
def test_it_is_said_plainly(inside: Any, settings: dict[str, Any], said: str) -> None:
    assert (
        build("x", "deal.won", {}, [("notify_user", settings)]).sentence() == f"When a deal is won → {said}"
    )


WRONG = [
    ({"who": "person", "text": "x"}, "person_id"), ({"who": "person", "person_id": 4711, "text": "x"}, "person_id"),
    ({"text": "{{ deal.secret }}"}, "text"), ({"text": ""}, ""), ({"who": "everybody", "text": "x"}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "where"), WRONG)
def test_what_makes_no_sense_is_refused(inside: Any, settings: dict[str, Any], where: str) -> None:
    with pytest.raises(Refused) as refused:
        make_rule(steps=[("notify_user", settings)])
    assert refused.value.field == (f"steps-0-{where}" if where else "steps-0")


def test_a_person_who_leaves_shows_on_the_rule_and_is_handed_over(inside: Any, rivals: Any) -> None:
    with pytest.raises(Refused):
        notifying("person", person_id=rivals.owner.id)
    rule = notifying("person", person_id=inside.member.id)
    assert rules_with_person(inside.member.id) == 1
    leave(inside.member)
    assert "no longer an active member" in definition_of(rule).problems()[0][2]
    with write_transaction():
        assert replace_person(inside.member.id, inside.admin.id) == 1
    assert definition_of(rule).steps[0].settings.person_id == inside.admin.id


def test_the_builder_offers_it(owner: Any, inside: Any) -> None:
    data = {"name": "Tell", "trigger": "deal.won", "is_active": "y", "on_failure": "undo",
            "steps-0-kind": "notify_user", "steps-0-who": "person", "steps-0-text": "Well done"}  # fmt: skip
    answer = owner.post("/dashboard/automations/new", data=data)
    assert (
        answer.status_code == 422 and "Choose whom to notify." in answer.text and "Well done" in answer.text
    )
    data["steps-0-person_id"] = str(inside.viewer.id)
    assert owner.post("/dashboard/automations/new", data=data).status_code == 302
    won(inside)
    assert told() == [(inside.viewer.id, "Well done", "")]

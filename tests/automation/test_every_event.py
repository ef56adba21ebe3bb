"""Whatever happens to a record can start a rule, that of a deleted record too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from soconnective.appointments.operations import (
    delete_appointment,
    schedule_appointment,
    set_status,
    update_appointment,
)
from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.automation.registry import trigger_types
from soconnective.automation.timed import Addressed
from soconnective.contacts.operations import (
    Identity,
    delete_company,
    delete_contact,
    update_company,
    update_contact,
)
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.registry import registry
from soconnective.deals.operations import delete_deal, set_deal_contacts, update_deal
from soconnective.events import event_types
from soconnective.tasks.operations import complete_task, create_task, delete_task, reopen_task, update_task
from soconnective.timeline.models import Note
from soconnective.timeline.operations import delete_note, update_note, write_note
from soconnective.webhooks.hook_operations import create_hook, receive
from tests.factories.records import make_company, make_contact, make_deal, make_rule, move


def _deal(inside: Any, **values: Any) -> Any:
    return make_deal(inside.stages["Lead"], "Roll-out", owner_id=inside.owner.id, **values)


def _task(_inside: Any) -> Any:
    with write_transaction():
        return create_task("Call")


def _appointment(_inside: Any) -> Any:
    with write_transaction():
        return schedule_appointment("Demo", clock.now(), clock.now() + timedelta(hours=1))


def _note(inside: Any) -> Any:
    deal = _deal(inside)
    with write_transaction():
        return write_note("Seen", deal_id=deal.id)


def _done(_inside: Any) -> Any:
    with write_transaction():
        return complete_task(create_task("Call"))


def _nothing(_inside: Any) -> None:
    return None


# event: what there is, what is done to it
CASES: dict[str, tuple[Any, Any]] = {
    "deal.created": (_nothing, lambda inside, _r: _deal(inside)),
    "deal.updated": (_deal, lambda _i, deal: update_deal(deal, title="Another")),
    "deal.stage_changed": (_deal, lambda i, deal: move(deal, i.stages["Proposal"])),
    "deal.won": (_deal, lambda i, deal: move(deal, i.stages["Won"])),
    "deal.lost": (_deal, lambda i, deal: move(deal, i.stages["Lost"], "price")),
    "deal.deleted": (_deal, lambda _i, deal: delete_deal(deal)),
    "contact.created": (_nothing, lambda _i, _r: make_contact()),
    "contact.updated": (lambda _i: make_contact(), lambda _i, it: update_contact(it, job_title="CEO")),
    "contact.deleted": (lambda _i: make_contact(), lambda _i, it: delete_contact(it)),
    "company.created": (_nothing, lambda _i, _r: make_company()),
    "company.updated": (lambda _i: make_company(), lambda _i, it: update_company(it, name="Initrode")),
    "company.deleted": (lambda _i: make_company(), lambda _i, it: delete_company(it)),
    "deal.tag_added": (_deal, lambda _i, deal: update_deal(deal, new_tags="VIP")),
    "deal.tag_removed": (lambda i: _deal(i, new_tags="VIP"), lambda _i, deal: update_deal(deal, tag_ids=[])),
    "contact.tag_added": (lambda _i: make_contact(), lambda _i, it: update_contact(it, new_tags="VIP")),
    "contact.tag_removed": (
        lambda _i: make_contact(new_tags="VIP"),
        lambda _i, it: update_contact(it, tag_ids=[]),
    ),
    "company.tag_added": (lambda _i: make_company(), lambda _i, it: update_company(it, new_tags="VIP")),
    "company.tag_removed": (
        lambda _i: make_company(new_tags="VIP"),
        lambda _i, it: update_company(it, tag_ids=[]),
    ),
    "task.created": (_nothing, lambda i, _r: create_task("Call")),
    "task.updated": (_task, lambda _i, task: update_task(task, title="Write")),
    "task.completed": (_task, lambda _i, task: complete_task(task)),
    "task.reopened": (_done, lambda _i, task: reopen_task(task)),
    "task.deleted": (_task, lambda _i, task: delete_task(task)),
    "appointment.scheduled": (_nothing, lambda i, _r: _appointment(i)),
    "appointment.rescheduled": (
        _appointment,
        lambda _i, it: update_appointment(it, ends_at=it.ends_at + timedelta(hours=1)),
    ),
    "appointment.cancelled": (_appointment, lambda _i, it: set_status(it, "cancelled")),
    "appointment.updated": (_appointment, lambda _i, it: update_appointment(it, title="Show")),
    "appointment.deleted": (_appointment, lambda _i, it: delete_appointment(it)),
    "note.logged": (_nothing, lambda i, _r: _note(i)),
    "note.updated": (_note, lambda _i, note: update_note(note, "Seen again")),
    "webhook.received": (
        lambda _i: create_hook("Form", mapping="email = email")[0],
        lambda _i, hook: receive(hook, {"email": "a@x.example"}, "{}", "1", None),
    ),
    "note.deleted": (_note, lambda _i, note: delete_note(note)),
}


# Addressed to one rule, so no change makes them: tests/automation/test_due_dates.py, test_silence.py,
# test_schedules.py, test_by_hand.py and test_start_rule.py.
ADDRESSED = {name for name, cls in trigger_types().items() if issubclass(cls, Addressed)}


def test_every_event_has_a_trigger_and_a_case() -> None:
    addressed = {name for name in ADDRESSED if trigger_types()[name].is_offered}
    offered = {name for name, trigger in trigger_types().items() if trigger.is_offered}
    assert offered == set(CASES) | addressed and set(trigger_types()) == set(event_types())
    assert len(ADDRESSED) == 23


@pytest.mark.parametrize("name", sorted(CASES))
def test_it_starts_its_rules_and_every_action_works(inside: Any, name: str) -> None:
    make, happen = CASES[name]
    record = make(inside)
    kind = registry.record_types[trigger_types()[name].record_type]
    fields = " ".join(f"{{{{ {kind.name}.{field} }}}}" for field, _label in kind.fields)
    make_rule(
        name, [("log_note", {"body": f"{name}: {fields}"}), ("create_task", {"title": f"After {name}"})]
    )
    with write_transaction():
        happen(inside, record)
    runs = list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))
    assert runs[0].outcome == "succeeded", runs[0].detail
    assert [run.outcome for run in runs[1:]] == ["skipped"] * (name in ("note.logged", "task.created"))
    assert f"{name}: " in "\n".join(db.session.scalars(select(Note.body)))


def test_a_rule_does_not_start_itself(inside: Any) -> None:
    make_rule("note.logged", [("log_note", {"body": "again"})])
    _note(inside)
    runs = list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))
    assert [run.outcome for run in runs] == ["succeeded", "skipped"]
    assert runs[1].detail == "stopped: this rule made this change itself"


def test_a_deleted_record_is_told_of_with_its_names(inside: Any) -> None:
    deal = _deal(inside, company_id=make_company("Initech").id)
    text = "{{ deal.title }}, {{ deal.owner }}, {{ deal.company }}, {{ deal.stage }}"
    make_rule("deal.deleted", [("log_note", {"body": text})])
    with write_transaction():
        delete_deal(deal)
    assert db.session.scalars(select(Note.body)).one() == f"Roll-out, {inside.owner.name}, Initech, Lead"


def test_a_change_of_the_field_that_is_meant(inside: Any) -> None:
    rule = make_rule("deal.updated", [("log_note", {"body": "x"})], settings={"field": "amount"})
    deal = _deal(inside)
    with write_transaction():
        update_deal(deal, title="Another")
    with write_transaction():
        update_deal(deal, amount="5", title="A third")
    runs = list(db.session.scalars(select(AutomationRun).order_by(AutomationRun.id)))
    assert [run.outcome for run in runs] == ["not_matched", "succeeded"]
    assert runs[0].detail == "Changed field: wanted amount, was title"
    from soconnective.automation.operations import definition_of

    assert definition_of(rule).sentence() == "When the amount of a deal is changed → log note “x”"


@pytest.mark.parametrize(
    ("trigger", "field", "change"),
    [
        ("deal.updated", "contact_ids", lambda deal, contact: set_deal_contacts(deal, [contact.id])),
        ("contact.updated", "identities",
         lambda _deal, contact: update_contact(contact, identities=[Identity("phone", "+34600000000")])),
    ],
)  # fmt: skip
def test_lists_are_fields_too(inside: Any, trigger: str, field: str, change: Any) -> None:
    make_rule(trigger, [("log_note", {"body": "x"})], settings={"field": field})
    deal, contact = _deal(inside), make_contact()
    with write_transaction():
        change(deal, contact)
    assert list(db.session.scalars(select(AutomationRun.outcome))) == ["succeeded"]


def test_a_field_that_is_gone_or_has_its_own_event_is_told(inside: Any) -> None:
    for field in ("nonsense", "stage_id", "status", "tag_ids"):
        definition = build("Rule", "deal.updated", {"field": field}, [("log_note", {"body": "x"})])
        assert definition.problems() == [
            ("trigger", "field", "This field does not exist any more. Choose another one.")
        ]
        assert "⚠ a field that is gone" in definition.sentence()

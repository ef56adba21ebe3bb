"""A trial does all that the rule would do, and leaves nothing: no row, no job, no note of an event, no turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.automation import trial
from soconnective.automation.definition import build
from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import definition_of
from soconnective.automation.registry import action_types, trigger_types
from soconnective.automation.trial import Trial, as_rule, made_up, try_rule
from soconnective.core.db import db, discarded_transaction, write_transaction
from soconnective.events import EventRow
from soconnective.events.pending import pending_of
from soconnective.mail.account import save_account
from soconnective.notifications.operations import choose
from soconnective.tags.operations import set_tags
from soconnective.timeline.models import Note
from soconnective.webhooks.hook_operations import create_hook, receive
from soconnective.webhooks.operations import create_endpoint
from tests.factories.records import make_company, make_contact, make_deal, make_rule, make_tag, move
from tests.proofs.digests import digest_now

IF = ("if", {"conditions": {"match": "all", "items": [{"field": "amount", "operator": "not_empty"}]}})
NOTE = ("log_note", {"body": "Seen {{ deal.title }}"})
END = ("end_if", {})


def cases(inside: Any) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """For each action that is registered: steps with it in."""
    steps: dict[str, Any] = {
        "create_task": {"title": "Call {{ deal.title }}", "due_in_days": 2},
        "log_note": NOTE[1],
        "change_field": {"target": "deal", "field": "title", "value": "{{ deal.title }}!"},
        "assign_owner": {"target": "deal", "how": "in_turn", "only_if_empty": False},
        "move_stage": {"stage_id": inside.stages["Proposal"]},
        "create_deal": {"title": "Renewal", "stage_id": inside.stages["Lead"]},
        "create_appointment": {"title": "Kick-off", "in_days": 1, "at": "09:30", "minutes": 45},
        "add_tag": {"target": "deal", "tag_id": inside.tag},
        "remove_tag": {"target": "contact", "tag_id": inside.tag},
        "send_email": {"to": "contact", "subject": "{{ deal.title }}", "body": "Won"},
        "call_webhook": {"endpoint_id": inside.endpoint},
        "notify_user": {"who": "owner", "text": "{{ deal.title }} is won"},
        "start_rule": {"rule_id": inside.target},
        "cancel_waiting": {},
        "find_or_create_contact": {"email": "{{ webhook.email }}", "last_name": "New"},
    }
    found = {kind: [(kind, settings)] for kind, settings in steps.items()}
    found["if"] = [IF, NOTE, END]
    found["otherwise"] = [IF, ("stop", {}), ("otherwise", {}), NOTE, END]
    found["otherwise_if"] = [IF, NOTE, ("otherwise_if", IF[1]), NOTE, END]
    found["end_if"] = found["if"]
    found["stop"] = [NOTE, ("stop", {}), NOTE]
    found["wait"] = [("wait", {"mode": "time", "amount": 3, "unit": "days"}), NOTE]
    return found


def set_sender() -> None:
    save_account(
        None, host="smtp.acme.example", port=587, security="starttls", from_address="crm@acme.example",
        from_name="Acme", username=None, hourly_cap=200,
    )  # fmt: skip


@pytest.fixture
def deal(inside: Any) -> Any:
    company, contact = make_company(), make_contact(email="ana@x.example")
    made_tag = make_tag()
    with write_transaction():
        set_sender()
        set_tags(contact, [made_tag.id])
        hook, _token = create_hook("Form", mapping="email = email")
        receive(hook, {"email": "new@x.example"}, "{}", None, None)
        choose(inside.owner.id, {"message": (True, True)})
        endpoint = create_endpoint("Billing", "https://billing.example/hook")
        db.session.flush()
        inside.endpoint = endpoint.id
    inside.tag, inside.target = made_tag.id, make_rule("deal.rule_started", [NOTE], "Target").id
    make_rule("deal.stage_changed", [("wait", {"mode": "time"}), NOTE], "Waits")
    made = make_deal(
        inside.stages["Lead"], amount="500", owner_id=inside.owner.id, company_id=company.id, contact_ids=[contact.id]
    )  # fmt: skip
    move(made, inside.stages["Won"])
    return made


def happened(name: str = "deal.won") -> EventRow:
    return db.session.scalars(select(EventRow).where(EventRow.name == name)).one()


def on_won(rule: Any) -> Trial:
    with discarded_transaction():
        return try_rule(db.session(), as_rule(definition_of(rule), rule), happened(rule.trigger).as_event())


@pytest.mark.parametrize("on_failure", ["undo", "keep"])
def test_every_action_is_tried_and_leaves_nothing(
    app: Flask, inside: Any, deal: Any, on_failure: str
) -> None:
    steps = cases(inside)
    assert set(steps) == set(action_types()), "each action needs a case here"
    rules = {
        kind: make_rule(
            "webhook.received" if kind.startswith("find_or") else "deal.won",
            steps[kind],
            kind,
            on_failure=on_failure,
            is_active=False,
        )
        for kind in steps
    }
    db.session.rollback()
    before, found = digest_now(app), {}
    for kind, rule in rules.items():
        tried = on_won(rule)
        assert tried.run.outcome == "succeeded", (kind, tried.run.detail)
        assert len(tried.run.steps) >= 1 and digest_now(app) == before, kind
        made = [one for step in tried.run.steps for one in step["made"]]
        assert all(one["id"] is None for one in made if one["verb"] != "changed"), kind
        assert pending_of(db.session()).notes == []
        found[kind] = (tried.run.detail, tried.further)
    assert found["wait"][1] == ("note.logged",)
    assert found["cancel_waiting"][0] == "1 waiting run cancelled"
    assert found["start_rule"] == ("started “Target”", ("deal.rule_started",))
    assert found["find_or_create_contact"] == ("contact created", ("contact.created",))
    assert found["remove_tag"][1] == ("contact.tag_removed",)
    assert found["notify_user"][0] == "Acme owner notified"
    assert found["send_email"][0] == "e-mail to ana@x.example on its way"


def test_one_that_forgets_to_take_back_is_found(
    app: Flask, inside: Any, deal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def forgetful(session: Any) -> Iterator[None]:
        with session.begin_nested():
            yield

    rule = make_rule(is_active=False)
    db.session.rollback()
    before = digest_now(app)
    monkeypatch.setattr(trial, "undone", forgetful)
    with write_transaction():
        try_rule(db.session(), as_rule(definition_of(rule), rule), happened().as_event())
    changed = [name for name, digest in digest_now(app).items() if digest != before[name]]
    assert {"tasks", "notes"} <= set(changed)


def test_it_says_what_would_be_made_and_what_would_follow(inside: Any, deal: Any) -> None:
    tried = on_won(make_rule(is_active=False))
    assert tried.run.detail == "task created; note logged"
    made = [step["made"][0] for step in tried.run.steps]
    assert [(m["type"], m["id"], m["title"]) for m in made] == [
        ("task", None, "Kick off Roll-out"),
        ("note", None, "Roll-out is won."),
    ]
    assert set(tried.further) == {"task.created", "note.logged"}


def test_it_says_why_not_with_what_it_wanted_and_saw(inside: Any, deal: Any) -> None:
    tree = {"match": "all", "items": [{"field": "amount", "operator": "greater", "value": "1000"}]}
    definition = build("Draft", "deal.won", {}, [NOTE], conditions=tree)
    with discarded_transaction():
        run = try_rule(db.session(), as_rule(definition, None), happened().as_event()).run
    assert (run.outcome, run.detail) == ("not_matched", "amount is more than 1000, was 500.00")
    assert run.checks[0]["wanted"] == "is more than 1000" and not run.checks[0]["passed"]


def test_a_draft_needs_no_rule(app: Flask, inside: Any, deal: Any) -> None:
    definition = build(
        "Draft", "deal.won", {}, [("assign_owner", {"target": "deal", "only_if_empty": False})]
    )
    db.session.rollback()
    before = digest_now(app)
    with discarded_transaction():
        run = try_rule(db.session(), as_rule(definition, None), happened().as_event()).run
    assert run.outcome == "succeeded", run.detail
    assert digest_now(app) == before


def test_a_failure_is_told_in_words_and_leaves_nothing(app: Flask, inside: Any, deal: Any) -> None:
    rule = make_rule(
        steps=[NOTE, ("create_task", {"title": "{{ deal.source }}", "due_in_days": 0})], is_active=False
    )
    db.session.rollback()
    before = digest_now(app)
    run = on_won(rule).run
    assert run.outcome == "failed" and "step 2 failed" in run.detail
    assert [step["outcome"] for step in run.steps] == ["undone", "failed"]
    assert digest_now(app) == before


def test_it_goes_on_past_waits_as_if_the_time_had_come(inside: Any, deal: Any) -> None:
    steps = [
        NOTE,
        ("wait", {"mode": "time", "amount": 3, "unit": "days"}),
        ("change_field", {"target": "deal", "field": "expected_close_on", "value": "0"}),
        ("wait", {"mode": "event", "event": "deal.updated", "amount": 1, "unit": "hours"}),
        ("create_task", {"title": "After", "due_in_days": 0}),
    ]
    run = on_won(make_rule(steps=steps, is_active=False)).run
    assert run.outcome == "succeeded", run.detail
    said = [step["text"] for step in run.steps]
    assert said[1].startswith("would wait until ") and said[3].endswith("at the latest")
    assert [step["outcome"] for step in run.steps] == ["succeeded"] * 5


def test_a_made_up_event_of_every_trigger_can_be_tried(app: Flask, inside: Any, deal: Any) -> None:
    kinds = {"deal": deal.id, "contact": 1, "company": 1}
    dates = {"deal": "expected_close_on", "contact": "created_at", "company": "created_at"}
    for name, trigger in trigger_types().items():
        if trigger.record_type not in kinds:
            continue
        asked = {"field": dates[trigger.record_type]} if name.endswith(".date_reached") else {}
        definition = build("Draft", name, asked, [("log_note", {"body": "x"})])
        with discarded_transaction():
            event = made_up(db.session(), definition.trigger, kinds[trigger.record_type])
            assert event is not None
            run = try_rule(db.session(), as_rule(definition, None), event).run
        assert run.outcome == "succeeded", (name, run.detail)
    with discarded_transaction():
        assert made_up(db.session(), definition.trigger, 10**9) is None
    assert db.session.scalars(select(Note)).all() == []
    outcomes = db.session.scalars(select(AutomationRun.outcome)).all()
    assert outcomes == ["waiting"]  # the fixture's

"""Every action as the victim of a fault: its settings, what it does in its middle, and the workspace it does it in.

An action that is registered and not in `VICTIMS` fails `test_every_action_has_its_victim`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import select

from soconnective.appointments import actions as appointment_actions
from soconnective.automation import assign_owner, conditions, start_rule, wait, waiting, writable
from soconnective.automation.contracts import Action
from soconnective.automation.flow import If
from soconnective.automation.registry import action_types
from soconnective.automation.trace import Run
from soconnective.contacts import actions as contact_actions
from soconnective.core.access import current_actor
from soconnective.core.db import db, write_transaction
from soconnective.deals import actions as deal_actions
from soconnective.deals.models import Deal
from soconnective.deals.operations import update_deal
from soconnective.deals.pipeline_operations import create_pipeline
from soconnective.mail import email, outbox
from soconnective.mail.account import save_account
from soconnective.mail.models import MailAccount
from soconnective.mail.templates import create_template
from soconnective.notifications import action as notification_action
from soconnective.tags import actions as tag_actions
from soconnective.tags.operations import create_tag
from soconnective.tasks import automation as tasks_automation
from soconnective.timeline import automation as timeline_automation
from soconnective.webhooks import actions as webhook_actions
from soconnective.webhooks import operations as webhook_operations
from soconnective.webhooks.hook_operations import create_hook, receive
from soconnective.webhooks.models import WebhookHook
from tests.factories.records import make_company, make_contact, make_deal, make_rule, move

Step = tuple[str, dict[str, Any]]
YES = {"conditions": {"match": "all", "items": [{"field": "title", "operator": "not_empty"}]}}
NO = {"conditions": {"match": "all", "items": [{"field": "title", "operator": "empty"}]}}
END: Step = ("end_if", {})
HEAD: Step = ("log_note", {"body": "head"})
TAIL: Step = ("create_task", {"title": "tail", "due_in_days": 1})
MINE: Step = ("log_note", {"body": "victim step"})
SPARED = ("head", "tail", "of the first", "of the last")


@dataclass(frozen=True)
class Victim:
    """`settings(desk)` of the step; `middle` names (owner, attribute) of what it uses; `around` the steps with it in.

    `entry` is where the step itself begins and ends, when that is not its `run`; `struck` is the kind of the step that
    is struck instead, for one that has no work of its own.
    """

    settings: Callable[[Desk], dict[str, Any]] = lambda _desk: {}
    middle: Sequence[tuple[Any, str]] = ()
    around: Callable[[Step], list[Step]] = lambda step: [step]
    trigger: str = "deal.won"
    entry: tuple[Any, str] | None = None
    struck: str = ""
    is_alone: bool = True  # it can be switched off, or fail, and the steps around it go on


class Desk:
    """The workspace of the victims: something of everything that an action needs."""

    def __init__(self, team: Any) -> None:
        self.team = team
        with write_transaction():
            self.other_won = next(s.id for s in create_pipeline("Other").stages if s.kind == "won")
            self.tag, self.old_tag = create_tag("VIP").id, create_tag("Old").id
            account = db.session.scalars(select(MailAccount)).first()
            save_account(account, host="smtp.x.example", port=587, security="starttls", username="crm",
                         from_address="crm@x.example", from_name="CRM", password=None)  # fmt: skip
            self.template = create_template(
                name="Hello", record_type="deal", subject="To {{ deal.title }}", body="{{ deal.title }}"
            ).id
            endpoint = webhook_operations.create_endpoint("Endpoint", "https://x.example/hook")
            hook, _token = create_hook("Hook", mapping="email = email\nphone = phone")
            db.session.flush()
            self.endpoint, self.hook = endpoint.id, hook.id
        company, contact = make_company(), make_contact(email="ana@x.example", owner_id=team.owner.id)
        self.deal = make_deal(
            team.stages["Lead"], amount="500", owner_id=team.owner.id, company_id=company.id,
            contact_ids=[contact.id], tag_ids=[self.old_tag],
        ).id  # fmt: skip
        self.started = make_rule("deal.rule_started", [("log_note", {"body": "started"})], "Started").id
        make_rule("deal.updated", [("wait", {"mode": "time", "amount": 9})], "Sleeper")
        with write_transaction():
            update_deal(db.session.get_one(Deal, self.deal), source="Fair")
        db.session.remove()

    def save(self, trigger: str) -> None:
        """What a person (or another program) does that sends `trigger`."""
        if trigger == "deal.won":
            move(db.session.get_one(Deal, self.deal), self.team.stages["Won"])
        else:
            with write_transaction():
                hook = db.session.scalars(select(WebhookHook).where(WebhookHook.id == self.hook)).one()
                receive(hook, {"email": "bob@x.example"}, "{}", "call-1", None)

    def steps(self, action: str) -> list[Step]:
        victim = VICTIMS[action]
        return [HEAD, *victim.around((action, victim.settings(self))), TAIL]

    def failing(self, trigger: str) -> list[Step]:
        """Steps that fail in words, without any fault."""
        if trigger == "deal.won":
            return [("log_note", {"body": "{{ deal.lost_reason }}"})]
        return [("find_or_create_contact", {"phone": "{{ webhook.phone }}"})]


DEAL_UPDATE = (writable._writable, "deal")  # the operation of the area, as it was registered
SAY_STEP = (Run, "say_step")
VICTIMS: dict[str, Victim] = {
    "create_task": Victim(
        lambda _d: {"title": "victim step", "due_in_days": 1}, [(tasks_automation, "create_task")]
    ),
    "log_note": Victim(lambda _d: MINE[1], [(timeline_automation, "write_note")]),
    "change_field": Victim(
        lambda _d: {"target": "deal", "field": "title", "value": "{{ deal.title }}!"}, [DEAL_UPDATE]
    ),
    "assign_owner": Victim(
        lambda d: {
            "target": "deal", "how": "in_turn", "only_if_empty": False,
            "person_ids": [d.team.member.id, d.team.admin.id],
        },
        [DEAL_UPDATE, (assign_owner, "_turn")],
    ),
    "move_stage": Victim(lambda d: {"stage_id": d.other_won}, [(deal_actions, "move_deal")]),
    "create_deal": Victim(
        lambda d: {"title": "victim deal", "stage_id": d.team.stages["Lead"], "amount": "7"},
        [(deal_actions, "create_deal")],
    ),
    "create_appointment": Victim(
        lambda _d: {"title": "victim call", "in_days": 1}, [(appointment_actions, "schedule_appointment")]
    ),
    "add_tag": Victim(lambda d: {"target": "deal", "tag_id": d.tag}, [(tag_actions, "add_tag")]),
    "remove_tag": Victim(lambda d: {"target": "deal", "tag_id": d.old_tag}, [(tag_actions, "remove_tag")]),
    "send_email": Victim(
        lambda d: {"to": "contact", "template_id": d.template}, [(email, "enqueue_mail"), (outbox, "enqueue")]
    ),
    "call_webhook": Victim(
        lambda d: {"endpoint_id": d.endpoint},
        [(webhook_actions, "deliver"), (webhook_operations, "enqueue")],
    ),
    "notify_user": Victim(
        lambda _d: {"who": "admins", "text": "victim {{ deal.title }}"}, [(notification_action, "notify")]
    ),
    "start_rule": Victim(
        lambda d: {"rule_id": d.started}, [(start_rule, "addressed_event"), (start_rule, "below")]
    ),
    "cancel_waiting": Victim(
        lambda _d: {"rule_id": None}, [(start_rule, "cancel_run"), (waiting, "cancel")]
    ),
    "find_or_create_contact": Victim(
        lambda _d: {"email": "{{ webhook.email }}"},
        [(contact_actions, "create_contact"), (contact_actions, "_with")],
        trigger="webhook.received",
    ),
    "wait": Victim(
        lambda _d: {"mode": "time", "amount": 1, "within_hours": True},
        [(wait, "work_hours"), (waiting, "enqueue")],
        entry=(wait.Wait, "plan"), is_alone=False,
    ),
    "if": Victim(
        lambda _d: YES, [(conditions.Conditions, "match")], lambda step: [step, MINE, END], entry=(If, "match"), is_alone=False,
    ),
    "otherwise_if": Victim(
        lambda _d: YES, [(conditions.Conditions, "match")],
        lambda step: [("if", NO), ("stop", {}), step, MINE, END], entry=(If, "match"), is_alone=False,
    ),
    "otherwise": Victim(
        middle=[(timeline_automation, "write_note")],
        around=lambda step: [("if", NO), ("stop", {}), step, MINE, END], struck="log_note",
    ),
    "end_if": Victim(
        middle=[(timeline_automation, "write_note")], around=lambda step: [("if", YES), MINE, step],
        struck="log_note",
    ),
    "stop": Victim(around=lambda step: [("if", YES), MINE, step, END], entry=SAY_STEP, is_alone=False),
}  # fmt: skip


@dataclass
class Hit:
    """What is struck now: the step of this kind of the rule of this name, at this place."""

    rule: str
    action: str
    place: str
    strike: Callable[[], None]
    times: int = field(default=0)

    def at(self, place: str) -> None:
        if self.place == place:
            self.times += 1
            self.strike()


class Injector:
    """Stands at the beginning, in the middle and at the end of every action; `hit` says which of them is struck."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hit: Hit | None = None
        self._is_inside = False
        entries: dict[tuple[Any, str], None] = {}
        for kind, cls in action_types().items():
            if kind in VICTIMS and not VICTIMS[kind].struck:
                entries[VICTIMS[kind].entry or (cls, "run")] = None
        for owner, name in entries:
            where = None if name == "run" else (owner, name)
            monkeypatch.setattr(owner, name, self._entry(getattr(owner, name), where))
        seen = set()
        for victim in VICTIMS.values():
            for owner, name in victim.middle:
                if (id(owner), name) in seen:
                    continue
                seen.add((id(owner), name))
                if isinstance(owner, dict):
                    item = owner[name]
                    monkeypatch.setitem(owner, name, replace(item, update=self._middle(item.update, name)))
                else:
                    is_behind = (owner, name) == (waiting, "enqueue")  # the step has said its part by then
                    monkeypatch.setattr(owner, name, self._middle(getattr(owner, name), name, is_behind))

    def _entry(self, real: Any, where: tuple[Any, str] | None) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            piece = next(one for one in args if isinstance(one, Action))
            hit = self._meant(piece)
            if hit is None or VICTIMS[piece.type_id].entry != where:
                return real(*args, **kwargs)
            self._is_inside = True
            try:
                hit.at("before")
                result = real(*args, **kwargs)
                hit.at("after")
                return result
            finally:
                self._is_inside = False

        return run

    def _meant(self, piece: Action) -> Hit | None:
        hit = self.hit
        if hit is None or piece.type_id != hit.action or current_actor().name != hit.rule:
            return None
        said = getattr(piece.settings, "title", None) or getattr(piece.settings, "body", None)
        return None if said in SPARED else hit

    def _middle(self, real: Any, place: str, is_behind: bool = False) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            hit = self.hit
            if hit is not None and (self._is_inside or (is_behind and current_actor().name == hit.rule)):
                hit.at(place)
            return result

        return run


def places(action: str) -> list[str]:
    """Where the action can be struck."""
    return ["before", *(name for _owner, name in VICTIMS[action].middle), "after"]

"""Ways to reach somebody, and kinds of records that can be reached: both come here by registration.

A channel is one class, registered once: it becomes an action of its own (`send_message.py`). E-mail is the
first. Records that lead to a person say so here: `find(kind, id)` gives the address of a kind ("email",
"phone", "handle") that the record has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from soconnective.automation.contracts import RunContext, Scope, StepResult
from soconnective.core.conditions import fields_of
from soconnective.core.registry import registry


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is written to. `record`: the record whose address it is, as (type, id)."""

    address: str
    name: str = ""
    record: tuple[str, int] | None = None


class Channel:
    """A way out. Subclasses set the attributes; what cannot be is said as `Refused` or `ActionFailed`, in words.

    `address_kind` names the address that it needs. `has_subject` is False for what knows only texts, `has_html`
    True for what takes HTML beside one.
    """

    name: ClassVar[str]
    label: ClassVar[str]  # "Send an e-mail"
    verb: ClassVar[str]  # in the sentence: "send e-mail"
    icon: ClassVar[str] = "message"
    address_kind: ClassVar[str]
    address_label: ClassVar[str]  # "e-mail address"
    has_subject: ClassVar[bool] = True
    has_html: ClassVar[bool] = False
    text_length: ClassVar[int] = 20_000

    def clean(self, address: str) -> str:
        """`address` in its normal form; raises `Refused` if nobody can be reached under it."""
        raise NotImplementedError

    def trouble(self) -> str | None:
        """Why nothing might get out now, in words: said before a rule is switched on."""
        return None

    def send(self, to: Recipient, subject: str, text: str, context: RunContext, html: str = "") -> StepResult:
        """Enqueue it in the transaction of the run; nothing leaves the house here. `html` may be all there is."""
        raise NotImplementedError


@dataclass(frozen=True)
class Addressee:
    """A kind of record with an address. `find(kind, id)` is None if the record is gone; its address may be empty."""

    record_type: str
    find: Callable[[str, int], Recipient | None]


_channels: dict[str, Channel] = {}
_addressees: dict[str, Addressee] = {}


def register_channel(channel: Channel) -> Channel:
    _channels[channel.name] = channel
    return channel


def channels() -> dict[str, Channel]:
    return dict(_channels)


def register_addressee(*items: Addressee) -> None:
    for item in items:
        _addressees[item.record_type] = item


def addressees(scope: Scope) -> dict[str, str]:
    """Record types with an address that a rule in `scope` can reach, with their names: "the contact"."""
    own = scope.record_type or ""
    found = [] if scope.is_gone else [own]
    found += [field.record_type for field in fields_of(own).values() if field.kind == "record"]
    return {
        name: f"the {registry.record_types[name].label.lower()}"
        for name in dict.fromkeys(found)
        if name in _addressees and name in registry.record_types
    }


def addressee(record_type: str) -> Addressee | None:
    return _addressees.get(record_type)


def reached(context: RunContext, record_type: str) -> Any:
    """The id of the record of this type that the event is about, or leads to; None if there is none."""
    event = context.event
    if record_type == event.record_type:
        return event.record_id
    return event.snapshot.get(f"{record_type}_id")

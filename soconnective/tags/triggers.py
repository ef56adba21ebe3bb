"""Triggers about tags: a record gets one, or loses one; any tag, or the one that is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field
from wtforms import Form, SelectChoice

from soconnective.automation.contracts import BrokenPiece, Check, Scope, Settings, Trigger, Verdict
from soconnective.core.fields import IdField
from soconnective.events import DomainEvent
from soconnective.tags.facts import FIELD
from soconnective.tags.queries import every_tag, tag_choices, tag_names

GONE = "This tag does not exist any more. Choose another one."


class TagField(IdField):
    """A tag of the workspace; one that is gone is shown as such, and its piece refuses it."""

    def offer_tags(self) -> None:
        self.offer((int(tag_id), name) for tag_id, name in tag_choices())
        if self.data is not None and self.data not in every_tag():
            self.choices = [*self.choices, SelectChoice(str(self.data), "⚠ a tag that is gone")]


def tag_said(tag_id: int) -> str:
    tag = every_tag().get(tag_id)
    return f"the tag “{tag.name}”" if tag else "⚠ a tag that is gone"


class WhichTagSettings(Settings):
    """tag_id: None means any tag."""

    tag_id: int | None = Field(None, ge=1, lt=2**62)


class WhichTagForm(Form):  # type: ignore[misc]
    tag_id = TagField("Which tag", blank="any tag")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tag_id.offer_tags()


class TagTrigger(Trigger):
    """A change of tags; `side` of it: 0 what left, 1 what came."""

    side: ClassVar[int]
    Settings = WhichTagSettings
    references = {"tag_id": "tag"}
    form = WhichTagForm

    def heard(self) -> Sequence[str]:
        tag_id = self.settings.tag_id
        return self.reads if tag_id is None else [f"{name}={tag_id}" for name in self.reads]

    def match(self, event: DomainEvent) -> Verdict:
        wanted = self.settings.tag_id
        if wanted is None:
            return Verdict(True)
        if wanted not in every_tag():
            raise BrokenPiece("The tag that the rule looks for does not exist any more")
        moved: list[int] = event.changes.get(FIELD, [[], []])[self.side]
        names = tag_names({wanted, *moved})
        actual = ", ".join(names.get(tag_id, "one that is gone") for tag_id in moved)
        check = Check("tag_id", "Tag", names[wanted], actual, wanted in moved)
        return Verdict(check.passed, (check,))

    def describe(self) -> str:
        if self.settings.tag_id is None:
            return self.label
        return f"{self.label.removesuffix('a tag')}{tag_said(self.settings.tag_id)}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        tag_id = self.settings.tag_id
        return [] if tag_id is None or tag_id in every_tag() else [("tag_id", GONE)]


def on_tags(record_type: str, who: str, group: str) -> tuple[type[Trigger], type[Trigger]]:
    """The two triggers of a kind of record; `who` is "a deal"."""
    return _trigger(record_type, "added", 1, f"{who} gets a tag", group), _trigger(
        record_type, "removed", 0, f"{who} loses a tag", group
    )


def _trigger(record_type: str, what: str, side: int, label: str, group: str) -> type[Trigger]:
    parts = {
        "type_id": f"{record_type}.tag_{what}", "record_type": record_type, "label": label, "group": group,
        "icon": "tag", "side": side, "reads": (f"tag_{'add' if side else 'remove'}:{record_type}",),
    }  # fmt: skip
    return type(f"{record_type.capitalize()}Tag{what.capitalize()}", (TagTrigger,), parts)

"""The actions *Add a tag* and *Remove a tag*: of the record, or of one that it points to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from wtforms import Form, SelectChoice, SelectField
from wtforms.validators import InputRequired

from soconnective.automation.contracts import (
    Action,
    ActionFailed,
    Made,
    RunContext,
    Scope,
    Settings,
    StepResult,
)
from soconnective.automation.registry import register_action
from soconnective.automation.writable import check_target, record_of, targets
from soconnective.core.db import db
from soconnective.core.registry import registry
from soconnective.tags.models import Tag
from soconnective.tags.operations import add_tag, remove_tag
from soconnective.tags.queries import every_tag
from soconnective.tags.taggable import taggable
from soconnective.tags.triggers import GONE, TagField, tag_said


class TagStepSettings(Settings):
    target: str = Field(max_length=40)
    tag_id: int = Field(ge=1, lt=2**62)


class _TagStep(Action):
    """What both share; `_change` says whether anything had to be done."""

    group = "Tags"
    icon = "tag"
    Settings = TagStepSettings
    writes = ("tag_ids",)
    references = {"tag_id": "tag"}
    done: ClassVar[str]
    idle: ClassVar[str]
    verb: ClassVar[str]

    @classmethod
    def form_for(cls, scope: Scope, values: Mapping[str, Any]) -> type[Form]:
        reachable = {name: label for name, label in targets(scope).items() if taggable(name)}
        chosen = values.get("target")
        if chosen and chosen not in reachable:
            reachable[chosen] = "⚠ a record that it cannot reach"

        class TagStepForm(Form):  # type: ignore[misc]
            target = SelectField(
                "Of",
                choices=[SelectChoice(k, v) for k, v in reachable.items()],
                default=next(iter(reachable), ""),
                validate_choice=False,
            )
            tag_id = TagField("Tag", blank="choose a tag", validators=[InputRequired("Choose a tag.")])

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.tag_id.offer_tags()

        return TagStepForm

    def run(self, context: RunContext) -> StepResult:
        target = self.settings.target
        if taggable(target) is None:
            raise ActionFailed("This kind of record has no tags any more.")
        record = record_of(context, target)
        tag = db.session.get(Tag, self.settings.tag_id)
        if tag is None or tag.deleted_at is not None:
            raise ActionFailed("The tag is gone.")
        if not self._change(record, tag):
            return StepResult(f"{self.idle} {tag.name}{' already' if self.verb == 'add' else ''}")
        made = Made(target, record.id, registry.record_types[target].title(record), "changed")
        return StepResult(f"{self.done} {tag.name}", (made,))

    def written(self, scope: Scope) -> dict[str, Any]:
        return {f"tag_{self.verb}:{self.settings.target}": str(self.settings.tag_id)}

    def _change(self, record: Any, tag: Tag) -> bool:
        raise NotImplementedError(self.type_id)

    def describe(self) -> str:
        kind = registry.record_types.get(self.settings.target)
        what = f"the {kind.label.lower()}" if kind else "⚠ something that is gone"
        preposition = "to" if self.verb == "add" else "from"
        return f"{self.verb} {tag_said(self.settings.tag_id)} {preposition} {what}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        target = self.settings.target
        if (problem := check_target(target, scope)) is not None or taggable(target) is None:
            return [("target", problem or "This kind of record has no tags. Choose another one.")]
        return [] if self.settings.tag_id in every_tag() else [("tag_id", GONE)]


class AddTag(_TagStep):
    """Puts a tag on; one that is there stays, and nothing is told."""

    type_id = "add_tag"
    label = "Add a tag"
    verb, done, idle = "add", "added the tag", "had the tag"

    def _change(self, record: Any, tag: Tag) -> bool:
        return add_tag(record, tag)


class RemoveTag(_TagStep):
    """Takes a tag off; without it nothing is done."""

    type_id = "remove_tag"
    label = "Remove a tag"
    verb, done, idle = "remove", "removed the tag", "did not have the tag"

    def _change(self, record: Any, tag: Tag) -> bool:
        return remove_tag(record, tag)


register_action(AddTag, RemoveTag)

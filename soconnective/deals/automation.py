"""What deals offer to rules: created, changed, moved (from and to a stage), won, lost, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy import select
from wtforms import Form, SelectChoice

from soconnective.automation.contracts import Check, Scope, Settings, Trigger, Verdict
from soconnective.automation.registry import register_trigger
from soconnective.automation.timed_registry import register_timed
from soconnective.automation.triggers import on_change, on_event
from soconnective.core.db import db
from soconnective.core.fields import IdField
from soconnective.deals.models import Pipeline, Stage
from soconnective.events import DomainEvent
from soconnective.tags.facts import FIELD
from soconnective.tags.triggers import on_tags


class StageSettings(Settings):
    """Both optional: None means any stage."""

    from_stage_id: int | None = None
    to_stage_id: int | None = None


def _stage_choices() -> list[SelectChoice]:
    rows = db.session.execute(
        select(Pipeline.name, Stage.id, Stage.name.label("stage"))
        .join(Stage, Stage.pipeline_id == Pipeline.id)
        .order_by(Pipeline.position, Pipeline.id, Stage.position, Stage.id)
    )
    found = [SelectChoice(str(stage_id), stage, optgroup=pipeline) for pipeline, stage_id, stage in rows]
    return [SelectChoice("", "any stage", optgroup="Any"), *found]


class StageForm(Form):  # type: ignore[misc]
    from_stage_id = IdField("From stage", blank="any stage")
    to_stage_id = IdField("To stage", blank="any stage")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = _stage_choices()
        self.from_stage_id.choices = choices
        self.to_stage_id.choices = choices


class DealStageChanged(Trigger):
    """`deal.stage_changed`, narrowed to where the deal comes from and goes to."""

    type_id = "deal.stage_changed"
    record_type = "deal"
    label = "a deal moves to another stage"
    group = "Deals"
    icon = "arrow-right"
    Settings = StageSettings
    form = StageForm
    reads = ("deal.stage_id",)
    references: ClassVar[Mapping[str, str]] = {"from_stage_id": "stage", "to_stage_id": "stage"}

    def hears(self, written: Mapping[str, Any]) -> bool:
        goes_to = written.get("deal.stage_id")
        return goes_to is not None and self.settings.to_stage_id in (None, goes_to)

    def match(self, event: DomainEvent) -> Verdict:
        was, now = event.changes.get("stage_id", (None, None))
        checks = []
        for field, label, wanted, actual in (
            ("from_stage_id", "From stage", self.settings.from_stage_id, was),
            ("to_stage_id", "To stage", self.settings.to_stage_id, now),
        ):
            if wanted is not None:
                checks.append((field, label, wanted, actual))
        if not checks:
            return Verdict(True)
        names = _stage_names()
        found = tuple(
            Check(
                field,
                label,
                names.get(wanted, "a stage that is gone"),
                names.get(actual, "a stage that is gone"),
                wanted == actual,
            )
            for field, label, wanted, actual in checks
        )
        return Verdict(all(check.passed for check in found), found)

    def describe(self) -> str:
        names = _stage_names()
        came = (
            f" from {names.get(self.settings.from_stage_id, '⚠ a stage that is gone')}"
            if self.settings.from_stage_id
            else ""
        )
        went = (
            f" to {names.get(self.settings.to_stage_id, '⚠ a stage that is gone')}"
            if self.settings.to_stage_id
            else ""
        )
        return f"a deal moves{came}{went}" if came or went else self.label

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        names = _stage_names()
        found = [
            (field, "This stage does not exist any more. Choose another one.")
            for field in ("from_stage_id", "to_stage_id")
            if (value := getattr(self.settings, field)) is not None and value not in names
        ]
        if (
            self.settings.from_stage_id is not None
            and self.settings.from_stage_id == self.settings.to_stage_id
        ):
            found.append(("to_stage_id", "A deal cannot move from a stage to the same stage."))
        return found


def _stage_names() -> dict[Any, str]:
    """Every stage's name, read once in a transaction: a hundred rules may ask in one save."""
    session = db.session()
    transaction = session.get_transaction()
    kept = session.info.get("deals.stage_names")
    if kept is None or kept[0] is not transaction or transaction is None:
        names = {row.id: row.name for row in session.execute(select(Stage.id, Stage.name))}
        kept = session.info["deals.stage_names"] = (session.get_transaction(), names)
    return kept[1]  # type: ignore[no-any-return]


_OTHERS = ("stage_id", "pipeline_id", "status", FIELD)

register_trigger(
    on_event("deal.created", "a deal is created", "Deals", "briefcase"),
    on_change("deal.updated", "a deal is changed", "Deals", "edit", others=_OTHERS, contact_ids="contacts"),
    DealStageChanged,
    on_event("deal.won", "a deal is won", "Deals", "trophy", ("deal.status=won",)),
    on_event("deal.lost", "a deal is lost", "Deals", "x", ("deal.status=lost",)),
    on_event("deal.deleted", "a deal is deleted", "Deals", "trash"),
    *on_tags("deal", "a deal", "Deals"),
)
register_timed("deal", "a deal", "Deals")

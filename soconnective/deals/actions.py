"""What rules may do with deals: move one to a stage, make one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from pydantic import Field
from sqlalchemy import func, select
from wtforms import Form, SelectChoice, StringField
from wtforms.validators import InputRequired, Length

from soconnective.automation import merge
from soconnective.automation.contracts import (
    ANY,
    Action,
    ActionFailed,
    Made,
    RunContext,
    Scope,
    Settings,
    StepResult,
)
from soconnective.automation.registry import register_action
from soconnective.automation.undo_run import Undoable, register_undoable
from soconnective.automation.writable import Writable, check_target, record_of, register_writable
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.fields import MAX_AMOUNT, AmountField, IdField
from soconnective.core.forms import clean_text
from soconnective.core.registry import people
from soconnective.core.words import told
from soconnective.deals.conditions import stage_kinds, stage_names
from soconnective.deals.from_texts import LONGEST, READERS, problems_of, values_from
from soconnective.deals.models import Deal, Stage
from soconnective.deals.operations import create_deal, delete_deal, move_deal, update_deal
from soconnective.tags.undo import TAG_LISTS

TITLE_LENGTH = 200


class MoveStageSettings(Settings):
    """lost_reason: a text with merge fields, asked for if the stage is a lost one."""

    stage_id: int = Field(ge=1, lt=2**62)
    lost_reason: str | None = Field(None, max_length=TITLE_LENGTH)


class _StageField(IdField):
    """A stage of any pipeline; one that is gone is shown as such and refused."""

    def offer_stages(self) -> None:
        self.offer((int(stage_id), name) for stage_id, name in stage_names().items())
        if self.data is not None and str(self.data) not in stage_names():
            self.choices = [*self.choices, SelectChoice(str(self.data), "⚠ a stage that is gone")]


class MoveStageForm(Form):  # type: ignore[misc]
    stage_id = _StageField("To stage", blank="choose a stage", validators=[InputRequired("Choose a stage.")])
    lost_reason = StringField(
        "Reason, if it is a lost stage", filters=[clean_text], validators=[Length(max=TITLE_LENGTH)]
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stage_id.offer_stages()


class MoveStage(Action):
    """Moves the deal, or the deal that the record belongs to."""

    type_id = "move_stage"
    label = "Move the deal to a stage"
    group = "Deals"
    icon = "arrow-right"
    Settings = MoveStageSettings
    form = MoveStageForm
    references: ClassVar[Mapping[str, str]] = {"stage_id": "stage"}
    writes = ("deal.stage_id", "deal.status")

    def written(self, scope: Scope) -> dict[str, Any]:
        stage_id = self.settings.stage_id
        return {"deal.stage_id": stage_id, "deal.status": stage_kinds().get(str(stage_id), ANY)}

    def run(self, context: RunContext) -> StepResult:
        deal: Deal = record_of(context, "deal")
        stage = db.session.get(Stage, self.settings.stage_id)
        if stage is None:
            raise ActionFailed("The stage is gone.")
        if deal.stage_id == stage.id:
            return StepResult(f"already in {stage.name}")
        reason = merge.render(self.settings.lost_reason or "", context.fields).strip()[:TITLE_LENGTH]
        move_deal(deal, stage, reason or None)
        return StepResult(f"moved to {stage.name}", (Made("deal", deal.id, deal.title, "changed"),))

    def describe(self) -> str:
        stage = stage_names().get(str(self.settings.stage_id), "⚠ a stage that is gone")
        reason = f", because {told(self.settings.lost_reason)}" if self.settings.lost_reason else ""
        return f"move the deal to {stage}{reason}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        if (problem := check_target("deal", scope)) is not None:
            return [("", problem)]
        stage = db.session.get(Stage, self.settings.stage_id)
        if stage is None:
            return [("stage_id", "This stage does not exist any more. Choose another one.")]
        reason = self.settings.lost_reason
        if stage.kind == "lost" and not reason:
            return [("lost_reason", "Say why the deal is lost.")]
        return [("lost_reason", problem) for problem in merge.problems(reason or "", scope.record_type)]


class CreateDealSettings(Settings):
    """title: a text with merge fields. amount: in the workspace's currency, as a decimal text.

    The four that end in "from" are texts with merge fields that are read as such a value (`from_texts`).
    """

    title: str = Field(min_length=1, max_length=TITLE_LENGTH)
    stage_id: int = Field(ge=1, lt=2**62)
    amount: Decimal | None = Field(None, ge=0, le=MAX_AMOUNT, decimal_places=2)
    amount_from: str | None = Field(None, max_length=LONGEST)
    currency_from: str | None = Field(None, max_length=LONGEST)
    close_from: str | None = Field(None, max_length=LONGEST)
    source_from: str | None = Field(None, max_length=LONGEST)


def _from_field(label: str, description: str) -> StringField:
    return StringField(label, filters=[clean_text], validators=[Length(max=LONGEST)], description=description)


class CreateDealForm(Form):  # type: ignore[misc]
    title = StringField(
        "Title", filters=[clean_text], validators=[InputRequired("Give the deal a title."), Length(max=TITLE_LENGTH)]
    )  # fmt: skip
    stage_id = _StageField("Stage", blank="choose a stage", validators=[InputRequired("Choose a stage.")])
    amount = AmountField("Amount")
    amount_from = _from_field("Amount from a field", "In place of a fixed amount, like {{ webhook.total }}.")
    currency_from = _from_field("Currency", "A code like EUR, or a field. Empty: the workspace’s.")
    close_from = _from_field("Expected to close", "A date like 2026-12-01, or a field.")
    source_from = _from_field("Source", "A text, or a field.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stage_id.offer_stages()


class CreateDeal(Action):
    """Makes a deal with the record's owner, company and contact."""

    type_id = "create_deal"
    label = "Create a deal"
    group = "Deals"
    icon = "briefcase"
    Settings = CreateDealSettings
    form = CreateDealForm
    references: ClassVar[Mapping[str, str]] = {"stage_id": "stage"}
    writes = ("deal",)

    def written(self, scope: Scope) -> dict[str, Any]:
        kind = stage_kinds().get(str(self.settings.stage_id), "open")
        return {"deal": ANY, **({"deal.status": kind} if kind != "open" else {})}

    def run(self, context: RunContext) -> StepResult:
        title = merge.render(self.settings.title, context.fields).strip()
        if not title:
            raise ActionFailed("The title is empty once its fields are filled in.")
        title = title if len(title) <= TITLE_LENGTH else f"{title[: TITLE_LENGTH - 1]}…"
        values, empty = values_from(self.settings, context.fields)
        links, owner = context.event.snapshot, people().get(context.event.snapshot.get("owner_id") or 0)
        contact = links.get("contact_id")
        try:
            deal = create_deal(
                title,
                self.settings.stage_id,
                **{"amount": self.settings.amount, **values},
                owner_id=owner.id if owner and owner.is_active else None,
                company_id=links.get("company_id"),
                contact_ids=[contact] if contact else (),
            )
        except Refused as refused:
            raise ActionFailed(refused.message) from None
        remarks = (
            () if owner and owner.is_active else ("left without an owner: the record has no active one",)
        )
        return StepResult("deal created", (Made("deal", deal, title),), (*remarks, *empty))

    def describe(self) -> str:
        stage = stage_names().get(str(self.settings.stage_id), "⚠ a stage that is gone")
        amount = f" of {self.settings.amount:,}" if self.settings.amount is not None else ""
        more = [
            f"{label} {told(text)}"
            for name, (_column, _read, label) in READERS.items()
            if (text := getattr(self.settings, name)) is not None
        ]
        return f"create deal {told(self.settings.title)}{amount} in {stage}{', with ' if more else ''}{', '.join(more)}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        found = [("title", problem) for problem in merge.problems(self.settings.title, scope.record_type)]
        if str(self.settings.stage_id) not in stage_names():
            found.append(("stage_id", "This stage does not exist any more. Choose another one."))
        if self.settings.amount is not None and self.settings.amount_from is not None:
            found.append(("amount_from", "Write a fixed amount or a field, not both."))
        return [*found, *problems_of(self.settings, scope.record_type)]


def _open_counts() -> Mapping[int, int]:
    rows = db.session.execute(
        select(Deal.owner_id, func.count())
        .where(Deal.status == "open", Deal.owner_id.is_not(None))
        .group_by(Deal.owner_id)
    )
    return {row[0]: row[1] for row in rows if row[0] is not None}


register_writable(
    Writable(
        "deal",
        update_deal,
        ("title", "amount", "currency", "expected_close_on", "source", "lost_reason"),
        ("title", "currency"),
        "owner_id",
        _open_counts,
    )
)
register_undoable(
    Undoable(
        "deal",
        delete_deal,
        lambda deal, values: update_deal(deal, **values),
        (
            "title", "amount", "currency", "stage_id", "owner_id", "company_id",
            "expected_close_on", "source", "lost_reason",
        ),
        ("pipeline_id", "status"),
        TAG_LISTS,
    )
)  # fmt: skip
register_action(MoveStage, CreateDeal)

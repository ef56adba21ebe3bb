"""The action *Assign an owner*: a fixed person, the next in turn, or whoever has least to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field as Setting
from pydantic import model_validator
from sqlalchemy import select
from wtforms import BooleanField, Form, SelectChoice, SelectField

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
from soconnective.automation.models import AutomationTurn
from soconnective.automation.registry import register_action
from soconnective.automation.writable import check_target, record_of, targets, writable
from soconnective.core.db import db
from soconnective.core.fields import MOST_CHOSEN, IdsField, PersonField
from soconnective.core.registry import Person, active_people, called, people, registry

HOW = {
    "person": "a fixed person",
    "in_turn": "each in turn (round robin)",
    "least_busy": "whoever has the fewest open ones",
}


class AssignOwnerSettings(Settings):
    """person_id: for a fixed person. person_ids: among whom to choose; empty means every active member."""

    target: str = Setting(max_length=40)
    how: Literal["person", "in_turn", "least_busy"] = "in_turn"
    person_id: int | None = Setting(None, ge=1, lt=2**62)
    person_ids: tuple[int, ...] = Setting((), max_length=MOST_CHOSEN)
    only_if_empty: bool = True

    @model_validator(mode="before")
    @classmethod
    def _keep_what_counts(cls, data: Any) -> Any:
        """What the chosen way does not ask for is not stored: two rules that do the same have equal texts."""
        if not isinstance(data, dict):
            return data
        return {**data, "person_ids": ()} if data.get("how") == "person" else {**data, "person_id": None}


class AssignOwner(Action):
    type_id = "assign_owner"
    label = "Assign an owner"
    group = "Records"
    icon = "user-plus"
    Settings = AssignOwnerSettings

    @classmethod
    def form_for(cls, scope: Scope, values: Mapping[str, Any]) -> type[Form]:
        reachable = {name: label for name, label in targets(scope).items() if _owner(name)}
        target = values.get("target") or next(iter(reachable), "")
        if target and target not in reachable:
            reachable[target] = "⚠ a record that it cannot reach"

        class AssignOwnerForm(Form):  # type: ignore[misc]
            target = SelectField(
                "Of", choices=[SelectChoice(k, v) for k, v in reachable.items()], validate_choice=False
            )
            how = SelectField(
                "Choose", choices=[SelectChoice(k, v) for k, v in HOW.items()], default="in_turn"
            )
            person_id = PersonField(
                "Fixed person", blank="choose a person", render_kw={"data-only-when": "how=person"}
            )
            person_ids = IdsField("Among", description="Nobody marked: every active member.")
            only_if_empty = BooleanField("Only if there is no owner yet", default=True)

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.person_id.offer_people(self.person_id.data)
                offered = {person.id: called(person.id) or person.name for person in active_people()}
                for person_id in self.person_ids.data or ():
                    if person_id not in offered and (gone := people().get(person_id)):
                        offered[person_id] = f"{gone.name} (no longer active)"
                self.person_ids.offer(offered.items())

        return AssignOwnerForm

    def written(self, scope: Scope) -> dict[str, Any]:
        s = self.settings
        if s.only_if_empty:
            return {}
        return {f"{s.target}.{_owner(s.target)}": s.person_id if s.how == "person" else ANY}

    def run(self, context: RunContext) -> StepResult:
        target = self.settings.target
        item = writable(target)
        if item is None or not item.owner:
            raise ActionFailed("This kind of record has no owner any more.")
        record = record_of(context, target)
        kept = getattr(record, item.owner)
        if self.settings.only_if_empty and kept is not None:
            return StepResult("kept its owner")
        chosen, remarks = self._choose(context, item.open_counts)
        item.update(record, **{item.owner: chosen.id})
        made = Made(target, record.id, registry.record_types[target].title(record), "changed")
        return StepResult(f"assigned to {chosen.name}", (made,), remarks)

    def _choose(self, context: RunContext, open_counts: Any) -> tuple[Person, tuple[str, ...]]:
        active = {person.id: person for person in active_people()}
        if self.settings.how == "person":
            person = active.get(self.settings.person_id or 0)
            if person is None:
                raise ActionFailed("The person is no longer an active member.")
            return person, ()
        wanted = self.settings.person_ids or tuple(sorted(active))
        left = [active[person_id] for person_id in wanted if person_id in active]
        if not left:
            raise ActionFailed("None of those to choose among is an active member any more.")
        gone = len(wanted) - len(left)
        remarks = (f"{gone} of those to choose among left",) if gone else ()
        if self.settings.how == "least_busy":
            counts = open_counts()
            return min(left, key=lambda person: (counts.get(person.id, 0), person.id)), remarks
        return left[_turn(context.rule_id, self.settings.target) % len(left)], remarks

    def describe(self) -> str:
        kind = registry.record_types.get(self.settings.target)
        what = f"the {kind.label.lower()}" if kind else "⚠ something that is gone"
        if self.settings.how == "person":
            who = called(self.settings.person_id) or "⚠ somebody who is gone"
        else:
            names = [called(person_id) or "⚠ gone" for person_id in self.settings.person_ids]
            among = f"of {', '.join(names)}" if names else "of everybody"
            who = f"the next {among} in turn" if self.settings.how == "in_turn" else f"the least busy {among}"
        return f"assign {what} to {who}{' unless it has an owner' if self.settings.only_if_empty else ''}"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        if (problem := check_target(self.settings.target, scope)) is not None or not _owner(
            self.settings.target
        ):
            return [("target", problem or "This kind of record has no owner.")]
        active = {person.id for person in active_people()}
        if self.settings.how == "person":
            return [] if self.settings.person_id in active else [("person_id", "Choose who gets it.")]
        if self.settings.person_ids and not active & set(self.settings.person_ids):
            return [("person_ids", "None of these is an active member. Choose others.")]
        return []


def _owner(record_type: str) -> str:
    item = writable(record_type)
    return item.owner if item else ""


def _turn(rule_id: int, target: str) -> int:
    """The number of this turn, 0 first; two at once take different ones, and a rule that fails gives its back."""
    row = db.session.scalars(
        select(AutomationTurn)
        .where(AutomationTurn.automation_id == rule_id, AutomationTurn.name == target)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()
    if row is None:
        row = AutomationTurn(automation_id=rule_id, name=target, number=0)
        db.session.add(row)
    else:
        row.number += 1
    db.session.flush()
    return row.number


register_action(AssignOwner)

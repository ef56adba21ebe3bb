"""Triggers that need no code of their own: one declared event each, and *a record is changed* with the field meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from wtforms import Form, SelectChoice, SelectField

from soconnective.automation.contracts import Check, Scope, Settings, Trigger, Verdict
from soconnective.core.conditions import fields_of
from soconnective.events import DomainEvent, watches_of


def on_event(name: str, label: str, group: str, icon: str, reads: tuple[str, ...] = ()) -> type[Trigger]:
    """A trigger for the event `name`, without settings. `reads`: whose change it hears (see `Piece.reads`)."""
    kind, _, what = name.partition(".")
    told = reads or {"created": (kind,), "deleted": (f"{kind}.deleted",)}.get(what, ())
    return type(_class_name(name), (Trigger,), {**_parts(name, label, group, icon), "reads": told})


def on_change(
    name: str, label: str, group: str, icon: str, *, others: tuple[str, ...] = (), **lists: str
) -> type[Trigger]:
    """A trigger for the event `name` that a record was changed.

    `others` are watched fields that have events of their own; `lists` names the watched lists ("contact_ids")
    as people read them.
    """
    parts = {**_parts(name, label, group, icon), "others": others, "lists": lists}
    return type(_class_name(name), (RecordChanged,), parts)


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.replace(".", "_").split("_"))


def _parts(name: str, label: str, group: str, icon: str) -> dict[str, Any]:
    kind = name.split(".", maxsplit=1)[0]
    return {"type_id": name, "record_type": kind, "label": label, "group": group, "icon": icon}


class ChangedSettings(Settings):
    """field: a watched field of the record; None means any of them."""

    field: str | None = Field(None, max_length=80)


class _ChangedForm(Form):  # type: ignore[misc]
    """The select of one trigger's fields; `names` is set by the class that `RecordChanged.form` makes."""

    names: ClassVar[Any]
    field = SelectField(
        "Which field",
        filters=[lambda value: value or None],
        validate_choice=False,
        description="From which value, or to which: add a condition like “was changed to”.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = type(self).names()
        chosen = self.field.data
        gone = [SelectChoice(chosen, "⚠ a field that is gone")] if chosen and chosen not in known else []
        self.field.choices = [
            SelectChoice("", "any field"),
            *(SelectChoice(name, label[:1].upper() + label[1:]) for name, label in known.items()),
            *gone,
        ]


class RecordChanged(Trigger):
    """A record of the kind was changed; with a field set, only if that one was among it."""

    others: ClassVar[tuple[str, ...]] = ()
    lists: ClassVar[Mapping[str, str]] = {}
    Settings = ChangedSettings

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.form = type(f"{cls.__name__}Form", (_ChangedForm,), {"names": cls.names})

    @classmethod
    def names(cls) -> dict[str, str]:
        """The fields that can be meant, with their labels."""
        known = fields_of(cls.record_type)
        found = {}
        for name in watches_of(cls.record_type):
            if name in cls.lists:
                found[name] = cls.lists[name]
            elif name not in cls.others:
                found[name] = known[name].label if name in known else name.replace("_", " ")
        return found

    def heard(self) -> list[str]:
        names = [self.settings.field] if self.settings.field else self.names()
        return [f"{self.record_type}.{name}" for name in names]

    def match(self, event: DomainEvent) -> Verdict:
        wanted = self.settings.field
        if wanted is None:
            return Verdict(True)
        names = self.names()
        changed = ", ".join(names.get(name, name) for name in event.changes)
        check = Check("field", "Changed field", names.get(wanted, wanted), changed, wanted in event.changes)
        return Verdict(check.passed, (check,))

    def describe(self) -> str:
        if self.settings.field is None:
            return self.label
        name = self.names().get(self.settings.field, "⚠ a field that is gone")
        return f"the {name} of {self.label.removesuffix(' is changed')} is changed"

    def check(self, scope: Scope) -> list[tuple[str, str]]:
        if self.settings.field is None or self.settings.field in self.names():
            return []
        return [("field", "This field does not exist any more. Choose another one.")]

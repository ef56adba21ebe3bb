"""Mail templates: kept, changed, deleted, and filled with an example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import abort
from sqlalchemy import select

from soconnective.automation import merge
from soconnective.automation.models import Automation, AutomationStep
from soconnective.automation.walk import as_fields
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.registry import registry
from soconnective.events import snapshot_now
from soconnective.mail.models import MailTemplate

_KEPT = "mail.templates"


@dataclass(frozen=True, slots=True)
class Known:
    """A template as rules need it."""

    name: str
    record_type: str
    subject: str
    body: str


def known_templates() -> dict[int, Known]:
    """Every template by id, in the order of their names; read once in a transaction."""
    session = db.session()
    transaction = session.get_transaction()
    kept = session.info.get(_KEPT)
    if kept is None or kept[0] is not transaction or transaction is None:
        rows = session.scalars(select(MailTemplate).order_by(MailTemplate.name))
        found = {row.id: Known(row.name, row.record_type, row.subject, row.body) for row in rows}
        kept = session.info[_KEPT] = (session.get_transaction(), found)
    return kept[1]  # type: ignore[no-any-return]


def _forget() -> None:
    db.session.flush()
    db.session().info.pop(_KEPT, None)


def get_template(template_id: int) -> MailTemplate:
    return db.session.get(MailTemplate, template_id) or abort(404)


def create_template(**values: Any) -> MailTemplate:
    actor = current_actor()
    template = MailTemplate(
        created_by_kind=actor.kind, created_by_id=actor.id, created_by_name=actor.name, **_checked(values)
    )
    db.session.add(template)
    _forget()
    return template


def update_template(template: MailTemplate, **values: Any) -> MailTemplate:
    for name, value in _checked(values, template.id).items():
        setattr(template, name, value)
    _forget()
    return template


def delete_template(template: MailTemplate) -> None:
    """Rules that use it show that it is gone, and fail in words."""
    db.session.delete(template)
    _forget()


def _checked(values: dict[str, Any], own_id: int | None = None) -> dict[str, Any]:
    taken = select(MailTemplate.id).where(MailTemplate.name == values["name"])
    if db.session.scalar(taken) not in (None, own_id):
        raise Refused("There is a template with this name already.", "name")
    for field in ("subject", "body"):
        wrong = merge.problems(values[field], values["record_type"])
        if wrong:
            raise Refused(wrong[0], field)
    return values


def rules_with(template_id: int) -> list[Automation]:
    """The rules that name the template in a step: few enough to be read and compared."""
    found = db.session.execute(
        select(Automation, AutomationStep.settings)
        .join(AutomationStep, AutomationStep.automation_id == Automation.id)
        .where(Automation.deleted_at.is_(None), AutomationStep.kind.startswith("send_"))
        .order_by(Automation.position)
    )
    return list(dict.fromkeys(rule for rule, settings in found if settings.get("template_id") == template_id))


@dataclass(frozen=True, slots=True)
class Preview:
    """A template filled with the values of a record that exists (`record`), or with the names of its fields."""

    subject: str
    text: str
    record: str | None


def preview(record_type: str, subject: str, body: str) -> Preview:
    """Fill both texts with the newest record's values; raises `merge.MergeError`."""
    kind = registry.record_types[record_type]
    newest = db.session.scalar(select(kind.model.id).order_by(kind.model.id.desc()).limit(1))
    found = snapshot_now(record_type, newest) if newest is not None else None
    own = as_fields(record_type, found) if found else {name: f"[{label}]" for name, label in kind.fields}
    fields = {record_type: own, "rule": {"name": "Name of the rule"}, "actor": {"name": current_actor().name}}
    title = kind.title(kind.get(newest)) if newest is not None else None
    return Preview(merge.render(subject, fields), merge.render(body, fields), title)


def record_types() -> list[tuple[str, str]]:
    """What templates can be about: (name, label) of every kind of record that rules know."""
    return [(kind.name, kind.label) for kind in registry.record_types.values() if kind.fields]

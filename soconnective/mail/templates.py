"""Mail templates: kept, changed, deleted, and filled with an example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import abort
from sqlalchemy import select

from soconnective.automation import merge
from soconnective.automation.walk import as_fields
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.kept import forget, kept
from soconnective.core.registry import registry
from soconnective.events import snapshot_now
from soconnective.mail import markup, markup_check
from soconnective.mail.html import html_of
from soconnective.mail.models import MailTemplate
from soconnective.mail.plain import text_of

NOTHING = "Write the text, or the HTML."
_KEPT = "mail.templates"


@dataclass(frozen=True, slots=True)
class Known:
    """A template as rules need it."""

    name: str
    record_type: str
    subject: str
    body: str
    html: str = ""
    has_images: bool = False


def known_templates() -> dict[int, Known]:
    """Every template by id, in the order of their names; read once in a transaction."""
    return kept(_KEPT, _read)


def _read() -> dict[int, Known]:
    return {
        row.id: Known(row.name, row.record_type, row.subject, row.body, row.html, row.has_images)
        for row in db.session.scalars(select(MailTemplate).order_by(MailTemplate.name))
    }


def _forget() -> None:
    db.session.flush()
    forget(_KEPT)


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
    """Rules that still use it show that it is gone, and fail in words."""
    db.session.delete(template)
    _forget()


def others_like(template: MailTemplate) -> list[tuple[int, str]]:
    """(id, name) of the templates that could take its place."""
    return [
        (other_id, one.name)
        for other_id, one in known_templates().items()
        if one.record_type == template.record_type and other_id != template.id
    ]


def _checked(values: dict[str, Any], own_id: int | None = None) -> dict[str, Any]:
    values = {**values, "body": values.get("body") or "", "html": values.get("html") or ""}
    taken = select(MailTemplate.id).where(MailTemplate.name == values["name"])
    if db.session.scalar(taken) not in (None, own_id):
        raise Refused("There is a template with this name already.", "name")
    for field, wrong in text_problems(Known(**values)):
        raise Refused(wrong, field)
    if not (values["body"] or values["html"]):
        raise Refused(NOTHING, "body")
    return values


def text_problems(texts: Known) -> list[tuple[str, str]]:
    """What is wrong with a subject, a text and HTML, as (field, message)."""
    found = [
        (field, said)
        for field in ("subject", "body", "html")
        for said in merge.problems(getattr(texts, field), texts.record_type)
    ]
    return [*found, *(("html", said) for said in markup_check.problems(texts.html, texts.has_images))]


@dataclass(frozen=True, slots=True)
class Preview:
    """A template filled with the values of a record that exists (`record`), or with the names of its fields."""

    subject: str
    text: str
    html: str  # the page as it is sent; empty without HTML of its own
    left_out: list[str]
    record: str | None


def preview(texts: Known) -> Preview:
    """Fill all of it with the newest record's values; raises `merge.MergeError`."""
    kind = registry.record_types[texts.record_type]
    newest = db.session.scalar(select(kind.model.id).order_by(kind.model.id.desc()).limit(1))
    found = snapshot_now(kind.name, newest) if newest is not None else None
    own = as_fields(kind.name, found) if found else {name: f"[{label}]" for name, label in kind.fields}
    fields = {kind.name: own, "rule": {"name": "Name of the rule"}, "actor": {"name": current_actor().name}}
    subject, text = merge.render(texts.subject, fields), merge.render(texts.body, fields)
    html = markup.filled(texts.html, fields, texts.has_images)
    return Preview(
        subject,
        text or text_of(html.html),
        html_of("", subject, own=html.html) if html.html else "",
        html.left_out,
        kind.title(kind.get(newest)) if newest is not None else None,
    )


def record_types() -> list[tuple[str, str]]:
    """What templates can be about: (name, label) of every kind of record that rules know."""
    return [(kind.name, kind.label) for kind in registry.record_types.values() if kind.fields]

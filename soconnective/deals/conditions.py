"""What can be asked of deals, in rules and in filters."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from soconnective.contacts.models import Company, Contact, ContactIdentity
from soconnective.core.conditions import Field, register_fields, through
from soconnective.core.db import db
from soconnective.core.formats import currencies
from soconnective.deals.events import DEALS
from soconnective.deals.models import Deal, DealContact, Pipeline, Stage
from soconnective.tags.queries import tag_field

DEAL_STATUSES = (("open", "open"), ("won", "won"), ("lost", "lost"))


def _primary() -> Any:
    return (
        select(DealContact.contact_id)
        .where(DealContact.deal_id == Deal.id, DealContact.is_primary)
        .correlate(Deal)
        .scalar_subquery()
    )


def _email() -> Any:
    """The first e-mail address of the primary contact."""
    return (
        select(ContactIdentity.value)
        .where(ContactIdentity.contact_id == _primary(), ContactIdentity.kind == "email")
        .order_by(ContactIdentity.id)
        .limit(1)
        .scalar_subquery()
    )


def _pipelines() -> list[tuple[str, str]]:
    """Every pipeline, read once in a transaction."""
    return _kept("pipelines")


def _stages() -> list[tuple[str, str]]:
    return _kept("stages")


def stage_names() -> dict[str, str]:
    """Every stage's name by the text of its id, read once in a transaction."""
    return dict(_stages())


def stage_kinds() -> dict[str, str]:
    """What each stage means, by the text of its id."""
    return dict(_kept("kinds"))


def _kept(what: str) -> list[tuple[str, str]]:
    session = db.session()
    kept = session.info.get("deals.choices")
    if kept is None or kept[0] is not session.get_transaction() or kept[0] is None:
        rows = session.execute(
            select(
                Pipeline.id, Pipeline.name, Stage.id.label("stage_id"), Stage.name.label("stage"), Stage.kind
            )
            .outerjoin(Stage, Stage.pipeline_id == Pipeline.id)
            .order_by(Pipeline.position, Pipeline.id, Stage.position, Stage.id)
        ).all()
        pipelines = {str(row.id): row.name for row in rows}
        is_one = len(pipelines) == 1
        stages = {
            str(row.stage_id): row.stage if is_one else f"{row.stage} ({row.name})"
            for row in rows
            if row.stage_id is not None
        }
        kinds = [(str(row.stage_id), row.kind) for row in rows if row.stage_id is not None]
        found = {"pipelines": list(pipelines.items()), "stages": list(stages.items()), "kinds": kinds}
        kept = session.info["deals.choices"] = (session.get_transaction(), found)
    return kept[1][what]  # type: ignore[no-any-return]


register_fields(
    "deal",
    Field("title", "title", "text", lambda: Deal.title),
    Field("amount", "amount", "number", lambda: Deal.amount),
    Field("currency", "currency", "choice", lambda: Deal.currency, choices=currencies),
    Field("stage_id", "stage", "choice", lambda: Deal.stage_id, choices=_stages, shown="stage", reference="stage"),
    Field("pipeline_id", "pipeline", "choice", lambda: Deal.pipeline_id, choices=_pipelines, shown="pipeline", reference="pipeline"),
    Field(
        "status", "status", "choice", lambda: Deal.status,
        choices=lambda: DEAL_STATUSES,
    ),
    Field("owner_id", "owner", "person", lambda: Deal.owner_id, shown="owner"),
    Field("company_id", "company", "record", lambda: Deal.company_id, record_type="company", shown="company"),
    Field("contact_id", "primary contact", "record", _primary, record_type="contact", shown="contact"),
    Field("company_domain", "company's domain", "text", lambda: through(Deal.company_id, Company, Company.domain), is_related=True),
    Field("contact_email", "contact's e-mail", "text", _email, is_related=True),
    Field(
        "contact_job_title", "contact's job title", "text",
        lambda: through(_primary(), Contact, Contact.job_title), is_related=True,
    ),
    Field("expected_close_on", "expected close", "date", lambda: Deal.expected_close_on),
    Field("stage_entered_at", "in its stage since", "moment", lambda: Deal.stage_entered_at),
    Field("source", "source", "text", lambda: Deal.source),
    Field("lost_reason", "lost reason", "text", lambda: Deal.lost_reason),
    tag_field(DEALS),
)  # fmt: skip

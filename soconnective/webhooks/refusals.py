"""What a hook did not take: its last refusals, kept so that its page can say what became of each call.

Only calls to the right address count; who guesses addresses writes nothing. A hook keeps its last `MOST`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from limits import parse
from sqlalchemy import delete, select

from soconnective.accounts.limits import count
from soconnective.core.db import db
from soconnective.core.tenancy import current_tenant_id
from soconnective.webhooks.models import WebhookCall, WebhookRefusal

MOST = 100  # refusals that a hook keeps
SHOWN = 20
OFTEN = parse("1 per minute")  # how often a hook writes down that it gets too many calls
DUPLICATE = "A call with this id came before. Nothing was done."
_table: Any = WebhookRefusal.__table__


@dataclass(frozen=True, slots=True)
class Delivery:
    """One call and what became of it; `call_id` is the call that was taken, now or before."""

    at: datetime
    state: str  # accepted, duplicate, rejected
    said: str
    call_id: int | None


def note_refusal(hook_id: int, said: str, external_id: str | None = None) -> None:
    """Write it down in the caller's transaction; the oldest beyond `MOST` go."""
    db.session.add(WebhookRefusal(hook_id=hook_id, said=said, external_id=external_id))
    db.session.flush()
    mine = (_table.c.tenant_id == current_tenant_id()) & (_table.c.hook_id == hook_id)
    connection = db.session.connection()
    last = select(_table.c.id).where(mine).order_by(_table.c.id.desc()).offset(MOST).limit(1)
    beyond = connection.execute(last).scalar()
    if beyond is not None:
        connection.execute(delete(_table).where(mine, _table.c.id <= beyond))


def may_note_flood(hook_id: int) -> bool:
    """Whether one of the calls beyond the limit is written down: the first in a minute, since the limit spares work."""
    return count(OFTEN, "webhook-flood", str(current_tenant_id()), str(hook_id))


def last_deliveries(hook_id: int) -> list[Delivery]:
    """The last calls to the hook, taken or not, the newest first."""
    taken = _newest(WebhookCall, hook_id)
    refused = _newest(WebhookRefusal, hook_id)
    before = _calls_with(hook_id, [one.external_id for one in refused if one.external_id is not None])
    found = [Delivery(call.received_at, "accepted", call.external_id or "", call.id) for call in taken]
    for one in refused:
        if one.external_id is None:
            found.append(Delivery(one.at, "rejected", one.said, None))
        else:
            found.append(Delivery(one.at, "duplicate", one.external_id, before.get(one.external_id)))
    return sorted(found, key=lambda one: one.at, reverse=True)[:SHOWN]


def _newest(model: Any, hook_id: int) -> Sequence[Any]:
    rows = select(model).where(model.hook_id == hook_id).order_by(model.id.desc()).limit(SHOWN)
    return db.session.scalars(rows).all()


def _calls_with(hook_id: int, ids: Sequence[str]) -> dict[str | None, int]:
    if not ids:
        return {}
    rows = select(WebhookCall.external_id, WebhookCall.id).where(
        WebhookCall.hook_id == hook_id, WebhookCall.external_id.in_(ids)
    )
    return {row.external_id: row.id for row in db.session.execute(rows)}

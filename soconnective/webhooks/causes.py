"""The loop mark: a call says which event it comes from and how deep its chain of rules is.

A call that comes back to us goes on from there, so that a webhook to ourselves ends at the same bound as rules
that start each other. The depth is believed of anybody: saying too much of it only stops the sayer's own
call. The event is believed only where this workspace wrote the mark itself.
"""

from __future__ import annotations

import re

from flask import current_app
from itsdangerous import BadSignature, Signer

from soconnective.core import clock
from soconnective.core.access import SYSTEM
from soconnective.core.db import db
from soconnective.core.tenancy import current_tenant_id
from soconnective.events import DomainEvent, EventRow

HEADER = "SoConnective-Cause"
_FORM = re.compile(
    r"(\d{1,18})\.(\d{1,18})\.(\d{1,4})\.[\w-]{1,100}", re.ASCII
)  # root, event, depth, signature


def mark(event: DomainEvent) -> str:
    """What a call says that is made because of `event`."""
    return _signer().sign(f"{event.root_id or event.id}.{event.id}.{event.depth}").decode()


def cause_of(header: str | None) -> DomainEvent | None:
    """What a call was caused by, as far as its mark tells: for `fold`. None if it is nobody's consequence."""
    found = _FORM.fullmatch(header or "")
    if header is None or found is None:
        return None
    cause = DomainEvent(
        "webhook.called", current_tenant_id(), "webhook", 0, SYSTEM, clock.now(), {}, depth=int(found[3])
    )
    try:
        _signer().unsign(header)
    except BadSignature:
        return cause
    row = db.session.get(EventRow, int(found[2]))
    if row is not None:
        cause.id, cause.root_id = row.id, row.root_id or row.id
    return cause


def _signer() -> Signer:
    return Signer(current_app.config["SECRET_KEY"], salt=f"webhook-cause-{current_tenant_id()}")

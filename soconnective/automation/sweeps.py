"""What backtests and applications share: they begin, they can be cancelled, the older ones are forgotten."""

from __future__ import annotations

from typing import Any

from flask import abort
from sqlalchemy import delete, select

from soconnective.automation.definition import Definition
from soconnective.automation.models import Automation
from soconnective.automation.operations import current_version
from soconnective.automation.sweep_models import Sweep, SweepRow
from soconnective.core import clock
from soconnective.core.access import current_actor
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.tenancy import current_tenant_id
from soconnective.jobs import enqueue

KEPT = 30  # of each kind in a workspace
_rows: Any = SweepRow.__table__
_sweeps: Any = Sweep.__table__


def begin(kind: str, what: str, definition: Definition, rule: Automation | None, **values: Any) -> Sweep:
    """A sweep and the job that does it, in the current transaction. It has a number if `rule` is saved like this."""
    _forget_old(what)
    actor = current_actor()
    text = definition.to_text()
    version = current_version(rule) if rule else None
    sweep = Sweep(
        what=what,
        automation_id=rule.id if rule else None,
        number=version.number if version and version.definition == text else None,
        definition=text,
        created_by_kind=actor.kind,
        created_by_id=actor.id,
        created_by_name=actor.name,
        **values,
    )
    db.session.add(sweep)
    db.session.flush()
    enqueue(kind, {"sweep_id": sweep.id}, key=f"{kind}-{sweep.id}")
    return sweep


def get_sweep(sweep_id: int) -> Sweep:
    return db.session.get(Sweep, sweep_id) or abort(404)


def held(sweep_id: int) -> Sweep | None:
    """The sweep, locked for this transaction, if it is still to go on."""
    sweep = db.session.get(Sweep, sweep_id, with_for_update=True, populate_existing=True)
    return sweep if sweep is not None and sweep.state == "running" else None


def end(sweep: Sweep, state: str, error: str = "") -> None:
    sweep.state, sweep.error, sweep.ended_at = state, error, clock.now()


def cancel_sweep(sweep_id: int) -> None:
    """Let it stop where it is. What it did so far stays. Raises `Refused`."""
    sweep = held(sweep_id)
    if sweep is None:
        raise Refused("It has ended already.")
    end(sweep, "cancelled")


def sweeps_of(automation_id: int, what: str, limit: int = 10) -> list[Sweep]:
    return list(
        db.session.scalars(
            select(Sweep)
            .where(Sweep.automation_id == automation_id, Sweep.what == what)
            .order_by(Sweep.id.desc())
            .limit(limit)
        )
    )


def _forget_old(what: str) -> None:
    """All but the newest, with their rows."""
    mine = _sweeps.c.tenant_id == current_tenant_id()
    connection = db.session.connection()
    old = [
        row.id
        for row in connection.execute(
            select(_sweeps.c.id)
            .where(mine, _sweeps.c.what == what, _sweeps.c.state != "running")
            .order_by(_sweeps.c.id.desc())
            .offset(KEPT)
        )
    ]
    if old:
        connection.execute(
            delete(_rows).where(_rows.c.tenant_id == current_tenant_id(), _rows.c.sweep_id.in_(old))
        )
        connection.execute(delete(_sweeps).where(mine, _sweeps.c.id.in_(old)))

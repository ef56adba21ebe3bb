"""Whether the machinery runs: for the Health page, and for whoever watches `/readyz`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.registry import SettingsSection
from soconnective.events import EventRow
from soconnective.jobs.models import LIVE, Job, TickRow, WorkerRow
from soconnective.jobs.worker import SHOW_EVERY

LATE = timedelta(minutes=5)  # a job that is due for so long says that nobody works, or not fast enough
SILENT = SHOW_EVERY * 2  # a worker that missed two of its signs of life

SECTION = SettingsSection(
    "health", "Health", "jobs.health", "circle-dot", 90, "workspace.edit", "Workers, the scheduler and jobs."
)


@dataclass(frozen=True, slots=True)
class Sign:
    """One line of the Health page: is it as it should be, and since when."""

    label: str
    is_good: bool
    text: str
    at: datetime | None = None


_more: dict[str, Callable[[], Sign]] = {}


def add_sign(name: str, look: Callable[[], Sign]) -> None:
    """Let another package say how it is (the automation engine: when it last looked at something)."""
    _more[name] = look


def workers(now: datetime) -> list[WorkerRow]:
    """Those at work and those that fell silent within the last day, the youngest first."""
    rows = select(WorkerRow).where(WorkerRow.seen_at > now - timedelta(days=1))
    return list(db.session.scalars(rows.order_by(WorkerRow.started_at.desc()).limit(50)))


def is_at_work(worker: WorkerRow, now: datetime) -> bool:
    return worker.stopped_at is None and now - worker.seen_at <= SILENT + SHOW_EVERY


def late_ticks(now: datetime) -> list[TickRow]:
    """Ticks that should have come and did not: twice their time is over."""
    rows = db.session.scalars(select(TickRow).order_by(TickRow.name))
    return [row for row in rows if row.last_at is not None and now > row.next_at + SILENT]


def readiness() -> str | None:
    """Why the machinery is not ready to work, or None. Reads nothing of any workspace."""
    now = clock.now()
    if not any(is_at_work(worker, now) for worker in workers(now)):
        return "no worker is at work"
    if late := late_ticks(now):
        return f"the scheduler's tick {late[0].name} is late"
    return None


def signs(now: datetime) -> list[Sign]:
    """The state of things, as the current workspace's admins see it."""
    busy = [worker for worker in workers(now) if is_at_work(worker, now)]
    last_tick = db.session.scalar(select(func.max(TickRow.last_at)))
    late = late_ticks(now)
    failing = list(db.session.scalars(select(TickRow).where(TickRow.error != "")))
    oldest = db.session.scalar(select(func.min(Job.next_at)).where(LIVE, Job.state == "ready"))
    dead = db.session.scalar(select(func.count()).select_from(Job).where(Job.state == "dead")) or 0
    last_event = db.session.scalar(select(EventRow.occurred_at).order_by(EventRow.id.desc()).limit(1))
    is_behind = oldest is not None and now - oldest > LATE
    found = [
        Sign(
            "Workers",
            bool(busy),
            f"{len(busy)} at work"
            if busy
            else "none is at work: start `soconnective serve` or `soconnective worker`",
            max((worker.seen_at for worker in busy), default=None),
        ),
        Sign(
            "Scheduler",
            last_tick is not None and not late and not failing,
            f"{late[0].name} is late"
            if late
            else f"{failing[0].name} failed: {failing[0].error}"
            if failing
            else ("ticks" if last_tick else "has never ticked"),
            last_tick,
        ),
        Sign(
            "Oldest job that is due",
            not is_behind,
            "nobody gets to it"
            if is_behind
            else "nothing waits"
            if oldest is None or oldest > now
            else "in its turn",
            oldest if oldest is not None and oldest <= now else None,
        ),
        Sign(
            "Given up",
            not dead,
            f"{dead} {'job needs' if dead == 1 else 'jobs need'} somebody to look" if dead else "none",
        ),
        Sign("Last change", True, "recorded" if last_event else "nothing has happened yet", last_event),
    ]
    return found + [more() for more in _more.values()]

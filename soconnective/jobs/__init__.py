"""What happens later: the durable queue in the database, the worker that empties it, and the scheduler's ticks.

Owns the tables `jobs`, `workers` and `ticks`. Names no area: each registers its kinds of jobs and its ticks.

    enqueue("send_email", {"message_id": 7})      # in the transaction of the change that asks for it

A job is a row of the caller's transaction: it is there if and only if the change is. A worker claims due
rows with a lease and a fencing token, and finishes each in the transaction that holds its effect.
"""

from flask import Flask

from soconnective.core.registry import registry
from soconnective.jobs import views
from soconnective.jobs.health import SECTION, readiness
from soconnective.jobs.kinds import (
    Again,
    GiveUp,
    JobKind,
    OutsideJob,
    RetryLater,
    Tick,
    register_job,
    register_tick,
)
from soconnective.jobs.models import Job
from soconnective.jobs.queue import cancel, enqueue, run_again
from soconnective.jobs.upkeep import PruneJobs, forget_workers, register_daily
from soconnective.jobs.worker import Worker

__all__ = [
    "Again",
    "GiveUp",
    "Job",
    "JobKind",
    "OutsideJob",
    "RetryLater",
    "Tick",
    "Worker",
    "cancel",
    "enqueue",
    "init_app",
    "readiness",
    "register_daily",
    "register_job",
    "register_tick",
    "run_again",
]


def init_app(app: Flask) -> None:
    app.register_blueprint(views.bp)
    registry.add(SECTION)
    register_daily(PruneJobs, also=forget_workers)

"""Time: stored in UTC, shown and reckoned in the workspace's time zone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

_at: ContextVar[datetime | None] = ContextVar("at", default=None)


def now() -> datetime:
    """The present moment, timezone-aware in UTC."""
    return _at.get() or datetime.now(UTC)


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Act as if it were `moment`: for made-up history and for tests."""
    token = _at.set(moment)
    try:
        yield
    finally:
        _at.reset(token)


@lru_cache(maxsize=1)
def zone_names() -> tuple[str, ...]:
    """Every IANA zone this machine knows, sorted; what a workspace may choose from."""
    return tuple(sorted(name for name in available_timezones() if "/" in name or name == "UTC"))


def is_zone(name: str) -> bool:
    return name in zone_names()


def local(moment: datetime, zone: str) -> datetime:
    """`moment` on the wall clocks of `zone`."""
    return moment.astimezone(ZoneInfo(zone))


def today(zone: str, moment: datetime | None = None) -> date:
    """The date on the wall calendar of `zone`."""
    return local(moment or now(), zone).date()


def from_local(wall: datetime, zone: str) -> datetime:
    """A naive wall-clock time in `zone` as UTC.

    A time that the clocks skip in spring is moved forward by the gap; a time that comes twice in
    autumn is the first of the two (PEP 495, ``fold=0``).
    """
    return wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def day_bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    """The UTC moments at which `day` begins and ends in `zone` (23 to 25 hours apart)."""
    start = datetime(day.year, day.month, day.day)  # noqa: DTZ001  a wall clock, given its zone below
    return from_local(start, zone), from_local(start + timedelta(days=1), zone)

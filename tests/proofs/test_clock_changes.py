"""Proof 10, clock changes: around every change of every zone's clocks from 2020 to 2037, each schedule is due exactly once.

What is expected is reckoned another way than the code does: from the offsets before and after the change, without `fold`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from soconnective.automation.timed_schedule import ScheduleSettings, upcoming
from soconnective.automation.timed_silence import WentSilent
from soconnective.core import clock
from soconnective.core.workhours import WorkHours

NAME = "10 Clock changes"
FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SAMPLE = ("Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Santiago",
          "Asia/Gaza", "America/Nuuk", "Pacific/Norfolk", "Antarctica/Troll", "Europe/Dublin")  # fmt: skip
Nexts = Callable[[Any, datetime, str], datetime | None]


def offset(at: datetime, zone: str) -> timedelta:
    found = at.astimezone(ZoneInfo(zone)).utcoffset()
    assert found is not None
    return found


@lru_cache(maxsize=1024)
def changes(zone: str) -> tuple[datetime, ...]:
    """The moments at which the clocks of `zone` are changed."""
    found, at = [], FIRST
    while at < LAST:
        if offset(at, zone) != offset(at + DAY, zone):
            low, high = at, at + DAY
            while high - low > MINUTE:
                middle = (low + (high - low) / 2).replace(second=0, microsecond=0)
                low, high = (middle, high) if offset(middle, zone) == offset(at, zone) else (low, middle)
            found.append(high)
        at += DAY
    return tuple(found)


def moment_of(day: date, wall: time, zone: str, change: datetime, at_gap_end: bool) -> datetime:
    """When it is `wall` on `day` for the first time; where that is skipped, later by the gap or as the gap ends."""
    naive = datetime.combine(day, wall)
    before, after = offset(change - MINUTE, zone), offset(change, zone)
    others = {offset(datetime.combine(day, wall, UTC) + shift, zone) for shift in (-2 * DAY, 2 * DAY)}
    meant = sorted(
        at
        for shift in {before, after, *others}
        if offset(at := (naive - shift).replace(tzinfo=UTC), zone) == shift
    )
    if meant:
        return meant[0]
    skipped_by = min(changes(zone), key=lambda other: abs(other - naive.replace(tzinfo=UTC)))
    return skipped_by if at_gap_end else (naive - offset(skipped_by - MINUTE, zone)).replace(tzinfo=UTC)


def days_around(change: datetime, zone: str, reach: int) -> Iterator[date]:
    middle = clock.today(zone, change)
    yield from (middle + timedelta(days=n) for n in range(-reach, reach + 1))


def cases(zone: str, change: datetime) -> Iterator[tuple[str, ScheduleSettings, set[datetime], int]]:
    """(what, schedule, the moments expected, days to each side) with a time of day that the change meets."""
    before, after = (change + shift for shift in (offset(change - MINUTE, zone), offset(change, zone)))
    edge = min(before, after).replace(tzinfo=None)
    for minutes in (0, 15, 30, 59):
        wall = (edge + timedelta(minutes=minutes)).time()
        fixed = f"{wall.minute} {wall.hour}"
        for what, reach, is_meant, settings in (
            ("daily", 3, lambda day: True, ScheduleSettings(weekdays=tuple(range(7)), at=wall)),
            ("weekly", 15, lambda day: day.weekday() == 6, ScheduleSettings(weekdays=(6,), at=wall)),
            ("daily cron", 3, lambda day: True, ScheduleSettings(mode="cron", cron=f"{fixed} * * *")),
            (
                "monthly",
                40,
                lambda day: day.day >= 29,
                ScheduleSettings(mode="cron", cron=f"{fixed} 29,30,31 * *"),
            ),
        ):
            days = [day for day in days_around(change, zone, reach + 2) if is_meant(day)]
            is_cron = settings.mode == "cron"
            yield what, settings, {moment_of(day, wall, zone, change, is_cron) for day in days}, reach
    begin = change.replace(minute=0) - timedelta(hours=30)
    minutes_around = [begin + n * 5 * MINUTE for n in range(12 * 60)]
    whole = {at for at in minutes_around if at.astimezone(ZoneInfo(zone)).minute == 0}
    yield "hourly", ScheduleSettings(mode="cron", cron="0 * * * *"), whole, 1


def ours(settings: ScheduleSettings, after: datetime, zone: str) -> datetime | None:
    return next(iter(upcoming(settings, after, WorkHours(zone), 1)), None)


def wrong(zone: str, nexts: Nexts, changes_: list[datetime]) -> tuple[int, list[str]]:
    """How many schedules were followed through a change, and which of them came too often, too rarely or late."""
    tried, found = 0, []
    for change in changes_:
        for what, settings, expected, reach in cases(zone, change):
            first, last = change - reach * DAY, change + reach * DAY
            came, at = [], nexts(settings, first, zone)
            while at is not None and at <= last and len(came) < 500:
                came.append(at)
                at = nexts(settings, at + timedelta(seconds=20), zone)  # the scheduler is never quite on time
            wanted = sorted(one for one in expected if first < one <= last)
            tried += 1
            if came != wanted:
                found.append(
                    f"{zone} {change} {what} {settings.cron or settings.at}: {came[:3]} {wanted[:3]}"
                )
    return tried, found


def zones(proof: Any) -> list[str]:
    return (
        [*clock.zone_names()] if proof.is_long else [*SAMPLE, *random.Random(7).sample(clock.zone_names(), 6)]
    )


@pytest.mark.proof(NAME)
def test_each_schedule_is_due_exactly_once(proof: Any) -> None:
    problems: list[str] = []
    for zone in zones(proof):
        known = list(changes(zone))
        tried, found = wrong(zone, ours, known if proof.is_long else known[:4])
        proof.cases += tried
        problems += found
    proof.found += len(problems)
    assert proof.cases > proof.scale(500, 50_000)
    assert problems == []


@pytest.mark.proof(NAME)
def test_a_silence_and_a_delay_end_once_at_their_moment(proof: Any) -> None:
    """So many days of silence end at the same wall clock; a delay is a length of time."""
    trigger = WentSilent(WentSilent.Settings(days=2))
    for zone in zones(proof):
        for change in changes(zone)[: None if proof.is_long else 4]:
            for hours in range(-60, 12, 7):
                begin = change + timedelta(hours=hours, minutes=11)
                wall = begin.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
                due = trigger.due(begin, WorkHours(zone))
                day = (wall + 2 * DAY).date()
                assert due == moment_of(day, wall.time(), zone, change, at_gap_end=False), (
                    zone,
                    change,
                    begin,
                )
                proof.cases += 1


def _a_day_is_24_hours(settings: ScheduleSettings, after: datetime, zone: str) -> datetime | None:
    """The defect: the next day's moment reckoned from today's."""
    at = ours(settings, after - DAY, zone)
    while at is not None and at <= after:
        at += DAY
    return at


def _the_second_time(settings: ScheduleSettings, after: datetime, zone: str) -> datetime | None:
    """The defect: where the clocks go back, taken again."""
    last = after - timedelta(seconds=20)
    again = last + timedelta(hours=1)
    walls = [at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for at in (last, again)]
    return again if walls[0] == walls[1] else ours(settings, after, zone)


@pytest.mark.control(NAME)
@pytest.mark.parametrize("defect", [_a_day_is_24_hours, _the_second_time])
def test_a_schedule_that_is_reckoned_wrongly_is_found(defect: Nexts) -> None:
    assert wrong("Europe/Madrid", defect, list(changes("Europe/Madrid"))[:4])[1]

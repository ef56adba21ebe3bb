"""Business hours: when a workspace is open, by weekday, without its country's holidays and the days it closes itself.

Pure functions of a frozen value; wall clocks in the workspace's zone, moments in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

import holidays

from soconnective.core import clock

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MOST_AHEAD = 800  # days one after the other without an opening, before it is said that it never opens
Span = tuple[time, time]


@dataclass(frozen=True, slots=True)
class WorkHours:
    """`opening` has one pair of wall clocks for each weekday from Monday on, or None for a day that is closed.

    `country` and `subdivision` name the holidays ("" for none); `closed` are further days.
    """

    zone: str = "UTC"
    opening: tuple[Span | None, ...] = (*((time(9), time(17)),) * 5, None, None)
    country: str = ""
    subdivision: str = ""
    closed: frozenset[date] = frozenset()

    def is_working_day(self, day: date) -> bool:
        return (
            self.opening[day.weekday()] is not None
            and day not in self.closed
            and day not in public_holidays(self.country, self.subdivision, day.year)
        )

    def span(self, day: date) -> tuple[datetime, datetime] | None:
        """The moments at which it opens and closes on `day`; None if it does not open."""
        span = self.opening[day.weekday()]
        if span is None or not self.is_working_day(day):
            return None
        first, last = (clock.from_local(datetime.combine(day, wall), self.zone) for wall in span)
        return (first, last) if first < last else None

    def is_open(self, moment: datetime) -> bool:
        span = self.span(clock.today(self.zone, moment))
        return span is not None and span[0] <= moment < span[1]

    def next_opening(self, moment: datetime) -> datetime:
        """`moment` itself if it is open then, else when it opens next. Raises `NeverOpen`."""
        for first, last in self._spans(moment):
            if moment < last:
                return max(moment, first)
        raise NeverOpen

    def next_working_day(self, day: date) -> date:
        """`day` itself if it is one, else the next. Raises `NeverOpen`."""
        for ahead in range(MOST_AHEAD):
            if self.is_working_day(day + timedelta(days=ahead)):
                return day + timedelta(days=ahead)
        raise NeverOpen

    def add_working_days(self, moment: datetime, days: int) -> datetime:
        """The same wall clock, `days` working days later (0: on the next working day, if this is none)."""
        wall = clock.local(moment, self.zone).replace(tzinfo=None)
        day = self.next_working_day(wall.date())
        for _ in range(days):
            day = self.next_working_day(day + timedelta(days=1))
        return clock.from_local(datetime.combine(day, wall.time()), self.zone)

    def add_working_time(self, moment: datetime, span: timedelta) -> datetime:
        """The moment at which it will have been open for `span` since `moment`. Raises `NeverOpen`."""
        left = span
        for first, last in self._spans(moment):
            begin = max(first, moment)
            if begin >= last:
                continue
            if left <= last - begin:
                return begin + left
            left -= last - begin
        raise NeverOpen

    def _spans(self, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
        day, closed = clock.today(self.zone, moment), 0
        while closed < MOST_AHEAD:
            span, closed = self.span(day), closed + 1
            if span is not None:
                closed = 0
                yield span
            day += timedelta(days=1)


class NeverOpen(Exception):
    """It is closed for years to come: there is nothing to wait for."""

    def __str__(self) -> str:
        return "The business hours never open again. Look at them in the settings."


@lru_cache(maxsize=512)
def public_holidays(country: str, subdivision: str, year: int) -> frozenset[date]:
    """The holidays of a year; none for a country that is not known (any more)."""
    if not country or not 1900 <= year < 2200:
        return frozenset()
    try:
        found = holidays.country_holidays(country, subdiv=subdivision or None, years=year)
    except NotImplementedError:
        return frozenset()
    return frozenset(day for day in found if day.year == year)


@lru_cache(maxsize=1)
def countries() -> dict[str, tuple[str, ...]]:
    """The countries whose holidays are known, by ISO code, each with its subdivisions."""
    return {
        code: tuple(parts)
        for code, parts in sorted(holidays.list_supported_countries(include_aliases=False).items())
    }

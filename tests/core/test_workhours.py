"""Business hours: pure, in any zone; what is reckoned agrees with going there minute by minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soconnective.core import clock
from soconnective.core.workhours import NeverOpen, WorkHours, countries, public_holidays

ZONES = ("UTC", "Europe/Madrid", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")
walls = st.integers(0, 95).map(lambda quarter: time(quarter // 4, quarter % 4 * 15))
spans = st.one_of(st.none(), st.tuples(walls, walls).map(sorted).filter(lambda s: s[0] < s[1]).map(tuple))
hours = st.builds(
    WorkHours,
    st.sampled_from(ZONES),
    st.lists(spans, min_size=7, max_size=7).map(tuple),
    st.sampled_from(["", "ES", "DE", "US"]),
    st.just(""),
    st.frozensets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=5),
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)).map(
    lambda m: m.replace(tzinfo=UTC, microsecond=0)
)
MADRID = WorkHours("Europe/Madrid", country="ES", closed=frozenset({date(2026, 12, 24)}))


def local(text: str) -> datetime:
    return clock.from_local(datetime.fromisoformat(text), "Europe/Madrid")


OPEN = [
    ("2026-03-02T09:00", True), ("2026-03-02T08:59", False), ("2026-03-02T16:59", True), ("2026-03-02T17:00", False),
    ("2026-03-07T10:00", False), ("2026-12-25T10:00", False), ("2026-12-24T10:00", False), ("2026-12-28T10:00", True),
]  # fmt: skip


@pytest.mark.parametrize(("at", "is_open"), OPEN)
def test_it_is_open_on_working_days(at: str, is_open: bool) -> None:
    assert MADRID.is_open(local(at)) is is_open


NEXT = [
    ("2026-03-02T10:00", "2026-03-02T10:00"), ("2026-03-02T07:00", "2026-03-02T09:00"),
    ("2026-03-06T17:00", "2026-03-09T09:00"), ("2026-12-23T18:00", "2026-12-28T09:00"),
    ("2026-03-27T20:00", "2026-03-30T09:00"),
]  # fmt: skip


@pytest.mark.parametrize(("at", "opens"), NEXT)
def test_the_next_opening(at: str, opens: str) -> None:
    assert MADRID.next_opening(local(at)) == local(opens)


@pytest.mark.parametrize(
    ("at", "days", "then"),
    [("2026-03-02T10:00", 0, "2026-03-02T10:00"), ("2026-03-07T10:00", 0, "2026-03-09T10:00"),
     ("2026-03-06T10:00", 1, "2026-03-09T10:00"), ("2026-12-23T10:00", 2, "2026-12-29T10:00")],
)  # fmt: skip
def test_working_days_are_counted(at: str, days: int, then: str) -> None:
    assert MADRID.add_working_days(local(at), days) == local(then)


@pytest.mark.parametrize(
    ("at", "hours_", "then"),
    [("2026-03-02T10:00", 7, "2026-03-02T17:00"), ("2026-03-02T16:00", 2, "2026-03-03T10:00"),
     ("2026-03-06T16:30", 1, "2026-03-09T09:30"), ("2026-03-07T12:00", 8, "2026-03-09T17:00")],
)  # fmt: skip
def test_working_time_is_counted(at: str, hours_: int, then: str) -> None:
    assert MADRID.add_working_time(local(at), timedelta(hours=hours_)) == local(then)


def test_little_that_is_open_adds_up_over_years() -> None:
    """A quarter of an hour a week: 1,711 minutes are 115 Sundays, and it is not said that it never opens."""
    found = WorkHours("UTC", (*(None,) * 6, (time(0), time(0, 15))))
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    assert found.add_working_time(begin, timedelta(minutes=1711)) == datetime(2028, 3, 12, 0, 1, tzinfo=UTC)
    with pytest.raises(NeverOpen):
        WorkHours("UTC", (None,) * 7).add_working_time(begin, timedelta(minutes=1))


@settings(max_examples=150, deadline=None)
@given(hours, moments)
def test_the_next_opening_is_open_and_nothing_before_it_is(found: WorkHours, moment: datetime) -> None:
    try:
        opens = found.next_opening(moment)
    except NeverOpen:
        assert not any(found.opening)
        return
    assert opens >= moment and found.is_open(opens)
    step = max((opens - moment) / 50, timedelta(minutes=1))
    at = moment
    while at < opens:
        assert not found.is_open(at)
        at += step


@settings(max_examples=100, deadline=None)
@given(hours, moments, st.integers(0, 3000))
def test_working_time_adds_up(found: WorkHours, moment: datetime, minutes: int) -> None:
    """In two parts or at once; and quarter by quarter it has been open for as long."""
    span = timedelta(minutes=minutes)
    if not any(found.opening):
        return
    whole = found.add_working_time(moment, span)
    assert found.add_working_time(found.add_working_time(moment, span / 2), span / 2) == whole
    at, counted = moment.replace(minute=0, second=0), timedelta()
    if minutes < 600 and moment == at:
        while at < whole:
            counted += timedelta(minutes=5) if found.is_open(at) else timedelta()
            at += timedelta(minutes=5)
        assert abs(counted - span) <= timedelta(minutes=5)


@settings(max_examples=100, deadline=None)
@given(hours, moments, st.integers(0, 30))
def test_working_days_keep_the_wall_clock(found: WorkHours, moment: datetime, days: int) -> None:
    if not any(found.opening):
        with pytest.raises(NeverOpen):
            found.add_working_days(moment, days)
        return
    then = found.add_working_days(moment, days)
    day = clock.today(found.zone, then)
    assert found.is_working_day(day)
    first = clock.today(found.zone, moment)
    between = [first + timedelta(days=n) for n in range((day - first).days)]
    assert sum(found.is_working_day(one) for one in between) == days


def test_one_that_never_opens_says_so() -> None:
    with pytest.raises(NeverOpen, match="never open again"):
        WorkHours(opening=(None,) * 7).next_opening(datetime(2026, 1, 1, tzinfo=UTC))


def test_holidays_of_a_country_and_its_region() -> None:
    assert date(2026, 12, 25) in public_holidays("DE", "", 2026)
    assert date(2026, 1, 6) in public_holidays("DE", "BY", 2026) - public_holidays("DE", "", 2026)
    assert public_holidays("XX", "", 2026) == frozenset() == public_holidays("", "", 2026)
    known: Any = countries()
    assert "BY" in known["DE"] and len(known) > 100

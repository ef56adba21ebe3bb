"""How values are written on pages: moments and dates in the workspace's zone, money with its currency."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency
from flask import Flask

from soconnective.core import clock
from soconnective.core.tenancy import has_tenant
from soconnective.core.workspace import current_workspace

LOCALE = "en_GB"


def zone() -> str:
    return current_workspace().timezone if has_tenant() else "UTC"


def iso(value: datetime | date | str | None) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return value.isoformat() if isinstance(value, date) else (value or "")


def moment(value: datetime | str | None) -> datetime | None:
    """A moment given as such or as the ISO text that events store."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def datetime_text(value: datetime | str | None) -> str:
    found = moment(value)
    return format_datetime(clock.local(found, zone()), "d MMM y, HH:mm", locale=LOCALE) if found else ""


def time_text(value: datetime | str | None) -> str:
    found = moment(value)
    return format_datetime(clock.local(found, zone()), "HH:mm", locale=LOCALE) if found else ""


def date_text(value: date | datetime | str | None) -> str:
    if isinstance(value, str):
        value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    if isinstance(value, datetime):
        value = clock.local(value, zone()).date()
    return format_date(value, "EEE d MMM y", locale=LOCALE) if value else ""


def short_date_text(value: date) -> str:
    """A day for narrow places: the year only where it is another one."""
    pattern = "EEE d MMM" if value.year == clock.today(zone()).year else "d MMM y"
    return format_date(value, pattern, locale=LOCALE)


def money(amount: Decimal | str | None, currency: str | None = None) -> str:
    if amount is None or amount == "":
        return ""
    code = currency or (current_workspace().currency if has_tenant() else "EUR")
    value = Decimal(amount)
    return (
        format_currency(
            value,
            code,
            locale=LOCALE,
            currency_digits=value != value.to_integral_value(),
            decimal_quantization=value != value.to_integral_value(),
            format=None,
        )
        if value != value.to_integral_value()
        else format_currency(value, code, "¤#,##0", locale=LOCALE, currency_digits=False)
    )


@lru_cache(maxsize=1)
def currencies() -> tuple[tuple[str, str], ...]:
    """(code, name) of every current currency, by code."""
    names = Locale.parse(LOCALE).currencies
    return tuple(sorted((code, name) for code, name in names.items() if len(code) == 3 and "(" not in name))


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(
        iso=iso,
        datetime_text=datetime_text,
        time_text=time_text,
        date_text=date_text,
        short_date_text=short_date_text,
        money=money,
        zip=zip,
    )

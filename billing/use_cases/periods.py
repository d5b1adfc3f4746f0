"""Billing periods: calendar months of the operator's zone, as `2026-11`."""

import calendar
from collections.abc import Iterator
from datetime import UTC, date, datetime, time

from common.clock import OPERATOR_ZONE


def period_of(at: datetime) -> str:
    """The month in which an instant lies."""
    return f"{at.astimezone(OPERATOR_ZONE):%Y-%m}"


def day_of(at: datetime) -> date:
    """The operator's day in which an instant lies."""
    return at.astimezone(OPERATOR_ZONE).date()


def first_day(period: str) -> date:
    return date.fromisoformat(f"{period}-01")


def days_in(period: str) -> int:
    first = first_day(period)
    return calendar.monthrange(first.year, first.month)[1]


def after(period: str) -> str:
    """The month that follows."""
    first = first_day(period)
    return f"{first.year + first.month // 12}-{first.month % 12 + 1:02d}"


def from_to(first: str, last: str) -> Iterator[str]:
    """The months from one to another, both included."""
    while first <= last:
        yield first
        first = after(first)


def start_of(day: date) -> datetime:
    """The instant at which a day begins."""
    return datetime.combine(day, time(), OPERATOR_ZONE).astimezone(UTC)


def days_held(starts_at: datetime, ends_at: datetime | None, period: str) -> int:
    """How many days of a month belong to a term. A day belongs to the term that holds at its end."""
    first = first_day(period)
    last = first_day(after(period))
    starts = max(first, day_of(starts_at))
    ends = last if ends_at is None else min(last, day_of(ends_at))
    return max(0, (ends - starts).days)

"""The only source of the present: tests freeze it, services never call datetime.now themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

OPERATOR_ZONE = ZoneInfo("Asia/Colombo")
"""Business days (due dates, periods) are Sri Lankan days; instants are always UTC."""

_frozen: list[datetime] = []


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return _frozen[-1] if _frozen else datetime.now(UTC)


def today() -> date:
    """The present business day of the operator."""
    return now().astimezone(OPERATOR_ZONE).date()


@contextmanager
def frozen(at: datetime) -> Iterator[None]:
    """Hold `now()` at an aware instant for the length of the block (tests only; nests)."""
    _frozen.append(at.astimezone(UTC))
    try:
        yield
    finally:
        _frozen.pop()


def move(by: timedelta) -> None:
    """Move the innermost frozen clock (tests only)."""
    _frozen[-1] += by


def rfc3339(at: datetime) -> str:
    """An instant as RFC 3339 in UTC with `Z` and microseconds."""
    return f"{at.astimezone(UTC).isoformat(timespec='microseconds')[:26]}Z"

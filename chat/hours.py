"""Business hours: when people answer. Parsed from one line of configuration."""

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from common.clock import OPERATOR_ZONE

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PART = re.compile(r"(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))?\s+(?P<periods>[0-9:,\-\s]+)")
_PERIOD = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class Hours:
    """Open periods of each weekday (Monday first), in minutes of the operator's day."""

    week: tuple[tuple[tuple[int, int], ...], ...]
    text: str

    @classmethod
    def parse(cls, line: str) -> "Hours":
        """`mon-fri 08:00-12:00,13:00-20:00; sat 09:00-13:00`; a period ends by 24:00. Raises ValueError."""
        week: list[tuple[tuple[int, int], ...]] = [()] * 7
        for part in line.lower().split(";"):
            found = _PART.fullmatch(part.strip())
            if found is None or found["first"] not in DAYS or (found["last"] or "mon") not in DAYS:
                raise ValueError(f"{part.strip()!r} is not like 'mon-fri 08:00-12:00,13:00-20:00'")
            first = DAYS.index(found["first"])
            last = DAYS.index(found["last"]) if found["last"] else first
            periods = tuple(sorted(_period(period.strip()) for period in found["periods"].split(",")))
            for day in range(first, last + 1 if last >= first else last + 8):
                week[day % 7] = periods
        return cls(tuple(week), "; ".join(part.strip() for part in line.split(";")))

    def is_open(self, at: datetime) -> bool:
        local = at.astimezone(OPERATOR_ZONE)
        minute = local.hour * 60 + local.minute
        return any(start <= minute < end for start, end in self.week[local.weekday()])

    def opens_at(self, at: datetime) -> datetime | None:
        """When it opens next, in the operator's zone; None when it never does."""
        local = at.astimezone(OPERATOR_ZONE)
        minute = local.hour * 60 + local.minute
        for ahead in range(8):
            day = local.date() + timedelta(days=ahead)
            for start, _ in self.week[day.weekday()]:
                if ahead or start > minute:
                    return datetime.combine(day, time(start // 60, start % 60), OPERATOR_ZONE)
        return None


def _period(text: str) -> tuple[int, int]:
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a period like 08:00-12:00")
    h1, m1, h2, m2 = map(int, found.groups())
    start, end = h1 * 60 + m1, h2 * 60 + m2
    if m1 > 59 or m2 > 59 or not 0 <= start < end <= _DAY_MINUTES:
        raise ValueError(f"{text!r} is not a period of one day")
    return start, end

"""When the janitor looks again."""

from datetime import timedelta

FIRST, LONGEST = timedelta(seconds=5), timedelta(hours=1)


def backoff(checks: int) -> timedelta:
    """The pause after so many looks: 5 s, doubling up to an hour."""
    return min(LONGEST, FIRST * (1 << min(checks, 20)))

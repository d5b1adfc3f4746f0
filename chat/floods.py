"""How many events are too many: token buckets in memory, of a connection and of a user in this process."""

import time
from collections.abc import Callable


class Bucket:
    """`burst` at once, then `rate` a second."""

    __slots__ = ("_at", "_burst", "_left", "_monotonic", "_rate")

    def __init__(self, rate: float, burst: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._monotonic = rate, burst, monotonic
        self._left, self._at = float(burst), monotonic()

    def take(self) -> bool:
        """Whether there is one left."""
        self._fill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    @property
    def full(self) -> bool:
        self._fill()
        return self._left >= self._burst

    def _fill(self) -> None:
        now = self._monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now


class Buckets:
    """A bucket per name; one that is full again is the same as none."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: dict[str, Bucket] = {}

    def take(self, name: str) -> bool:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets.setdefault(name, Bucket(self._rate, self._burst))
        return bucket.take()

    def forget_the_full(self) -> None:
        for name, bucket in list(self._buckets.items()):
            if bucket.full:
                self._buckets.pop(name, None)

"""Waiting for what must come true soon, instead of sleeping and hoping."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PROMISED = 5.0
"""Limits up to here are promises to users, and hold on a machine that has time; longer ones are only patience,"""
AMONG_OTHERS = "PYTEST_XDIST_WORKER" in os.environ
PATIENCE = 2 if AMONG_OTHERS else 1
"""of which a run of several tests at once on two cores needs more."""


def eventually(condition: Callable[[], T], *, within: float = 10.0, every: float = 0.02) -> T:
    """Ask until the answer is true, and return it; AssertionError with the last answer after `within` seconds.

    The condition may itself assert: then its last AssertionError is what the test shows.
    """
    within *= crowding() * (PATIENCE if within > PROMISED else 1)
    deadline = time.monotonic() + within
    while True:
        failure: AssertionError | None = None
        try:
            answer = condition()
        except AssertionError as error:
            failure = error
        else:
            if answer:
                return answer
        if time.monotonic() > deadline:
            raise failure or AssertionError(f"not within {within:.1f} s; the last answer was {answer!r}")
        time.sleep(every)


def crowding() -> float:
    """How many programs want each core, from 1 to 4: what takes a second alone takes so many in a crowd.

    The load average is a minute late: among other tests it is never taken for less than 2.
    """
    return min(4.0, max(2.0 if AMONG_OTHERS else 1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))

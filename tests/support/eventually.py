"""Waiting for what must come true soon, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, within: float = 10.0, every: float = 0.02) -> T:
    """Ask until the answer is true, and return it; AssertionError with the last answer after `within` seconds.

    The condition may itself assert: then its last AssertionError is what the test shows.
    """
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
            raise failure or AssertionError(f"not within {within} s; the last answer was {answer!r}")
        time.sleep(every)

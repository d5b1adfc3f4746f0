"""Reconciling in a process that is killed -9 in its n-th batch: `-m tests.support.reconciling URL FOLDER N`."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from payment.jobs import compare_settlements
from payment.use_cases import reconciliations
from tests.support.services import make_app


def die_in_batch(number: int) -> None:
    place: Any = reconciliations
    real, done = place.compare_batch, 0

    def compare_or_die(*given: Any) -> bool:
        nonlocal done
        more: bool = real(*given)
        done += 1
        if done == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return more

    place.compare_batch = compare_or_die


if __name__ == "__main__":
    reconciliations.BATCH = 2
    die_in_batch(int(sys.argv[3]))
    with make_app("payment", sys.argv[1], Path(sys.argv[2])).app_context():
        while compare_settlements():
            pass

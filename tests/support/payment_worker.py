"""payment's real worker with a kill -9 at one step: `python -m tests.support.payment_worker "after the charge"`."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from payment import worker
from payment.gateway.simulated import SimulatedGateway
from payment.use_cases import payments

SEAMS: dict[str, tuple[Any, str, bool]] = {
    "before the charge": (SimulatedGateway, "charge", False),
    "after the charge": (SimulatedGateway, "charge", True),
    "before settling": (payments, "settle_charge", False),
    "in settling's transaction": (payments, "settle_charge", True),
}
"""Step → where it is, and whether the process dies after or before it."""


def die_at(seam: str) -> None:
    place, name, after = SEAMS[seam]
    real: Callable[..., Any] = getattr(place, name)

    def act_and_die(*given: Any, **named: Any) -> None:
        if after:
            real(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, name, act_and_die)


if __name__ == "__main__":
    die_at(sys.argv[1])
    worker.main()

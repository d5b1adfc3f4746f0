"""The steps between intend and settle, at each of which a real process can be killed -9."""

import os
import signal
from collections.abc import Callable
from typing import Any

from payment.gateway.simulated import SimulatedGateway
from payment.use_cases import payments

SEAMS: dict[str, tuple[Any, str, bool]] = {
    "before the intent": (payments, "begin_payment", False),
    "in the intent's transaction": (payments, "begin_payment", True),
    "before the charge": (SimulatedGateway, "charge", False),
    "after the charge": (SimulatedGateway, "charge", True),
    "before settling": (payments, "settle_charge", False),
    "in settling's transaction": (payments, "settle_charge", True),
}
"""Step → where it is, and whether the process dies after or before it."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(seam: str, when: Callable[[], bool] = lambda: True) -> None:
    """Have this process end at a step, each time that `when` says so."""
    place, name, after = SEAMS[seam]
    real: Callable[..., Any] = getattr(place, name)

    def act_or_die(*given: Any, **named: Any) -> Any:
        if not after and when():
            die()
        done = real(*given, **named)
        if after and when():
            die()
        return done

    setattr(place, name, act_or_die)

"""The simulated card gateway: what stands for the outside world where there is no real one."""

from payment.gateway.simulated.callbacks import Callbacks
from payment.gateway.simulated.gateway import OTP, TEST_CARDS, SimulatedGateway
from payment.gateway.simulated.settlement import settlement
from payment.gateway.simulated.tables import (
    Behaviour,
    SimulatedCallback,
    SimulatedCharge,
    SimulatedRefund,
    SimulatedToken,
)

__all__ = [
    "OTP",
    "TEST_CARDS",
    "Behaviour",
    "Callbacks",
    "SimulatedCallback",
    "SimulatedCharge",
    "SimulatedGateway",
    "SimulatedRefund",
    "SimulatedToken",
    "settlement",
]

"""Network elements: what they are told and what they answer, behind a Protocol.

Elements know a command that is repeated by its id and answer as they did before, so a call whose outcome was lost is
simply made again.
"""

from provisioning.config import Settings
from provisioning.gateway.element import Answer, Call, Found, NetworkElements, Sight, Verdict
from provisioning.gateway.http import HttpElements
from provisioning.gateway.simulated import Faults, SimulatedElements

__all__ = [
    "Answer",
    "Call",
    "Faults",
    "Found",
    "HttpElements",
    "NetworkElements",
    "Sight",
    "SimulatedElements",
    "Verdict",
    "connect_elements",
]


def connect_elements(settings: Settings) -> NetworkElements:
    """The driver that the settings name."""
    if settings.element_driver == "http":
        return HttpElements(
            settings.element_urls, token=settings.element_token, timeout_s=settings.element_timeout_s
        )
    return SimulatedElements(
        Faults(
            refuses=frozenset(name.strip() for name in settings.simulated_refuses.split(",") if name.strip()),
            latency_s=settings.simulated_latency_ms / 1000,
            failure_rate=settings.simulated_failure_rate,
            late_s=settings.simulated_late_ms / 1000,
            outage_s=settings.simulated_outage_s,
            outage_every_s=settings.simulated_outage_every_s,
            seed=settings.simulated_seed,
        )
    )

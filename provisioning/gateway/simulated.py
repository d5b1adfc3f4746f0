"""Network elements: what they are told and what they answer, behind a Protocol; here the simulated ones.

Elements know a command that is repeated by its id and answer as they did before, so a call whose outcome was lost is
simply made again.
"""

import random
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from common.db import rerun_lost_race, transaction
from provisioning.config import Settings
from provisioning.models import Action, Element, SimulatedAnswer


class Verdict(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Answer:
    """What became of a call: done; refused for good; or failed, with nobody knowing whether it took effect.

    `reason` is a word that customers may see, `detail` is for the operator.
    """

    verdict: Verdict
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Call:
    """A command as an element gets it. `characteristics` and `allowances` are what the service is to have."""

    command_id: str
    attempt: int
    element: Element
    action: Action
    service_id: str
    subscriber_id: str
    msisdn: str | None
    offering_code: str
    characteristics: dict[str, str] = field(default_factory=dict)
    allowances: dict[str, int] = field(default_factory=dict)


class NetworkElements(Protocol):
    """A driver. Never raises for what an element does: a time-out is a `FAILED` answer."""

    def execute(self, call: Call) -> Answer: ...


class SimulatedElements:
    """Elements in this process, with their memory in this service's database.

    A failing call fails before or after it took effect, half and half, as a network does.
    """

    def __init__(
        self, *, latency_s: float = 0.0, failure_rate: float = 0.0, seed: int = 0, refuses: frozenset[str]
    ) -> None:
        self._latency_s = latency_s
        self._failure_rate = failure_rate
        self._random = random.Random(seed)  # noqa: S311 (repeatable faults, not a secret)
        self._refuses = refuses

    def execute(self, call: Call) -> Answer:
        time.sleep(self._latency_s)
        luck = self._random.random()
        if luck < self._failure_rate / 2:
            return Answer(Verdict.FAILED, "element_unavailable", "simulated: away")
        refusal = _remember(call, self._refusal(call))
        if luck < self._failure_rate:
            return Answer(Verdict.FAILED, "no_answer", "simulated: the answer was lost")
        return Answer(Verdict.REFUSED, refusal, "simulated") if refusal else Answer(Verdict.DONE)

    def _refusal(self, call: Call) -> str | None:
        if call.action not in (Action.ACTIVATE, Action.CHANGE):
            return None
        named = {call.offering_code, *call.characteristics.values()}
        return "refused_by_network" if named & self._refuses else None


def connect_elements(settings: Settings) -> NetworkElements:
    """The driver that the settings name."""
    return SimulatedElements(
        latency_s=settings.simulated_latency_ms / 1000,
        failure_rate=settings.simulated_failure_rate,
        seed=settings.simulated_seed,
        refuses=frozenset(name.strip() for name in settings.simulated_refuses.split(",") if name.strip()),
    )


@rerun_lost_race
def _remember(call: Call, refusal: str | None) -> str | None:
    """How this command is answered: as the first time."""
    with transaction() as session:
        answer = session.get(SimulatedAnswer, call.command_id)
        if answer is None:
            answer = SimulatedAnswer(
                command_id=call.command_id,
                element=call.element.value,
                action=call.action.value,
                service_id=call.service_id,
                refusal=refusal,
            )
            session.add(answer)
        return answer.refusal

"""Network elements in this process, with their memory in this service's database: for development and tests."""

import random
import time
from dataclasses import dataclass
from datetime import datetime

from common import clock
from common.db import reading, rerun_lost_race, transaction
from provisioning.gateway.element import Answer, Call, Found, Sight, Verdict
from provisioning.models import Action, Element, SimulatedAnswer, SimulatedService


@dataclass(frozen=True)
class Faults:
    """What befalls simulated elements. `failure_rate` is the share of calls that fail for now: half of them before they
    took effect, half after (the answer comes `late_s` after the effect, when nobody waits for it any more).

    Each element is away altogether for `outage_s` of every `outage_every_s`, each at its own time. `refuses` are the
    offering codes and characteristic values refused for good. The same seed gives the same latencies, faults and times.
    """

    refuses: frozenset[str] = frozenset()
    latency_s: float = 0.0
    failure_rate: float = 0.0
    late_s: float = 0.0
    outage_s: float = 0.0
    outage_every_s: float = 3600.0
    seed: int = 0

    def away(self, element: Element, at: datetime) -> bool:
        phase = random.Random(f"{self.seed}:{element.value}").random()  # noqa: S311 (repeatable, not a secret)
        return (at.timestamp() + phase * self.outage_every_s) % self.outage_every_s < self.outage_s


class SimulatedElements:
    """Elements that take half to one and a half of the latency to answer."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._random = random.Random(faults.seed)  # noqa: S311 (repeatable faults, not a secret)

    def execute(self, call: Call) -> Answer:
        time.sleep(self._faults.latency_s * self._random.uniform(0.5, 1.5))
        luck = self._random.random()
        if self._faults.away(call.element, clock.now()) or luck < self._faults.failure_rate / 2:
            return Answer(Verdict.FAILED, "element_unavailable", "simulated: away")
        refusal = _remember(call, self._refusal(call))
        if luck < self._faults.failure_rate:
            time.sleep(self._faults.late_s)
            return Answer(Verdict.FAILED, "no_answer", "simulated: the answer came too late")
        return Answer(Verdict.REFUSED, refusal, "simulated") if refusal else Answer(Verdict.DONE)

    def inspect(self, element: Element, service_id: str) -> Sight:
        if self._faults.away(element, clock.now()):
            return Sight(Found.UNKNOWN)
        with reading() as session:
            service = session.get(SimulatedService, service_id)
            if service is None or service.element != element:
                return Sight(Found.ABSENT)
            return Sight(Found(service.state), service.characteristics)

    def close(self) -> None:
        """There is nothing to close."""

    def _refusal(self, call: Call) -> str | None:
        if call.action not in (Action.ACTIVATE, Action.CHANGE):
            return None
        named = {call.offering_code, *call.characteristics.values()}
        return "refused_by_network" if named & self._faults.refuses else None


@rerun_lost_race
def _remember(call: Call, refusal: str | None) -> str | None:
    """How this command is answered: as the first time, and only then it takes effect."""
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
            if refusal is None:
                service = session.get(SimulatedService, call.service_id) or SimulatedService(
                    service_id=call.service_id, element=call.element.value, state=Found.ABSENT.value
                )
                session.add(service)
                service.state = state_after(call, service.state)
                service.characteristics = call.characteristics
        return answer.refusal


def state_after(call: Call, state: str) -> str:
    """The state that a command leaves a service in."""
    match call.action:
        case Action.ACTIVATE:
            return Found.ACTIVE.value
        case Action.RESTORE:
            return Found.ACTIVE.value if state == Found.SUSPENDED else state
        case Action.SUSPEND:
            return Found.SUSPENDED.value if state == Found.ACTIVE else state
        case Action.DEACTIVATE:
            return Found.ABSENT.value
        case Action.RECONCILE:
            return call.state
        case Action.CHANGE | Action.RENEW:
            return state

"""Network elements in this process, with their memory in this service's database: for development and tests."""

import random
import time

from common.db import reading, rerun_lost_race, transaction
from provisioning.gateway.element import Answer, Call, Found, Sight, Verdict
from provisioning.models import Action, Element, SimulatedAnswer, SimulatedService


class SimulatedElements:
    """A failing call fails before or after it took effect, half and half, as a network does."""

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

    def inspect(self, element: Element, service_id: str) -> Sight:
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
        return "refused_by_network" if named & self._refuses else None


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

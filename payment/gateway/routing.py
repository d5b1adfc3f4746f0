"""The configured gateways in their order: the first that is up takes new charges, each keeps those it has."""

from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from common.money import Money
from payment.cards import Card
from payment.gateway import CardToken, Gateway, GatewayDown, GatewayTrouble, Notice, Outcome
from payment.gateway.breaker import Breaker

P = ParamSpec("P")
T = TypeVar("T")


class Gateways:
    """All gateways, each guarded by the breaker. The first is preferred; the others step in when it is down."""

    def __init__(self, gateways: Sequence[Gateway], breaker: Breaker) -> None:
        self._breaker = breaker
        self._guarded = {gateway.name: Guarded(gateway, breaker) for gateway in gateways}
        self.inner = {gateway.name: gateway for gateway in gateways}

    def choose(self, *, but: str | None = None) -> "Guarded":
        """A gateway for a new charge. Raises GatewayDown when none is up."""
        for name, gateway in self._guarded.items():
            if name != but and self._breaker.admits(name):
                return gateway
        raise GatewayDown("no card gateway is up")

    def named(self, name: str | None) -> "Guarded":
        """The gateway that has a charge. Raises GatewayTrouble when it is not configured any more."""
        try:
            return self._guarded[name or ""]
        except KeyError:
            raise GatewayTrouble(f"gateway {name} is not configured") from None

    def knows(self, name: str) -> bool:
        return name in self._guarded

    @property
    def names(self) -> Sequence[str]:
        return list(self._guarded)


class Guarded:
    """A gateway whose answers and failures the breaker counts."""

    def __init__(self, gateway: Gateway, breaker: Breaker) -> None:
        self._gateway = gateway
        self._breaker = breaker

    @property
    def name(self) -> str:
        return self._gateway.name

    def tokenise(self, card: Card, *, key: str) -> CardToken:
        return self._ask(self._gateway.tokenise, card, key=key)

    def forget_left(self, key: str) -> None:
        self._ask(self._gateway.forget_left, key)

    def forget(self, token: str) -> None:
        self._ask(self._gateway.forget, token)

    def charge(self, *, key: str, amount: Money, source: Card | str) -> Outcome:
        return self._ask(self._gateway.charge, key=key, amount=amount, source=source)

    def confirm(self, *, key: str, amount: Money, otp: str) -> Outcome:
        return self._ask(self._gateway.confirm, key=key, amount=amount, otp=otp)

    def look_up(self, *, key: str, amount: Money) -> Outcome | None:
        return self._ask(self._gateway.look_up, key=key, amount=amount)

    def cancel(self, *, key: str, amount: Money) -> Outcome:
        return self._ask(self._gateway.cancel, key=key, amount=amount)

    def refund(self, *, key: str, charge_key: str, amount: Money, retries: int) -> None:
        self._ask(self._gateway.refund, key=key, charge_key=charge_key, amount=amount, retries=retries)

    def read_notice(self, body: bytes, headers: Mapping[str, str]) -> Notice | None:
        return self._gateway.read_notice(body, headers)

    def _ask(self, call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        try:
            answer = call(*given, **named)
        except GatewayTrouble:
            self._breaker.failed(self.name)
            raise
        self._breaker.succeeded(self.name)
        return answer

"""Card gateways behind one Protocol. Never called inside a transaction.

A charge is known to the gateway by our key (the payment's id), a refund by the refund's id: the same key never moves
money twice, however often it is sent.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from common.money import Money
from payment.cards import Card


class GatewayTrouble(Exception):
    """The gateway did not answer, or not sensibly: whether it moved money is unknown until it is asked."""


class Verdict(StrEnum):
    CAPTURED = "captured"
    ACTION_REQUIRED = "action_required"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the gateway says of a charge; `reason` is one of our reason codes."""

    verdict: Verdict
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CardToken:
    """Stands for a card at its gateway; may be stored."""

    token: str
    brand: str
    last4: str


class RefundRefused(Exception):
    """The gateway will never make this refund; the message is its reason code."""


class Gateway(Protocol):
    """Every method may raise GatewayTrouble."""

    @property
    def name(self) -> str: ...

    def tokenise(self, card: Card) -> CardToken:
        """Leave the card with the gateway. Moves no money; safe to repeat."""
        ...

    def charge(self, *, key: str, amount: Money, source: Card | str) -> Outcome:
        """Charge a card, or the one behind a token, once per key: again with the same key gives the same outcome."""
        ...

    def confirm(self, *, key: str, otp: str) -> Outcome:
        """Pass on the bank's one-time password; ACTION_REQUIRED again when it is wrong."""
        ...

    def look_up(self, *, key: str) -> Outcome | None:
        """What became of a charge; None when the gateway has never heard of the key."""
        ...

    def cancel(self, *, key: str) -> Outcome:
        """Give a charge up: unless it answers CAPTURED, nothing will ever be captured under this key."""
        ...

    def refund(self, *, key: str, charge_key: str, amount: Money) -> None:
        """Give back part or all of a captured charge, once per key. Raises RefundRefused."""
        ...

"""Card gateways behind one Protocol. Never called inside a transaction.

A charge is known to the gateway by our key (the payment's id), a refund by the refund's id: the same key never moves
money twice, however often it is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from common.money import Money
from payment.cards import Card


class GatewayTrouble(Exception):
    """The gateway did not answer, or not sensibly: whether it moved money is unknown until it is asked."""


class CardRefused(Exception):
    """The bank will not have the card kept; the message is a reason code."""


class GatewayDown(GatewayTrouble):
    """The gateway was not reached: it certainly moved no money, and another gateway may be asked instead."""


class NoticeRefused(Exception):
    """A callback that is not the gateway's own, or too old to be believed."""


class Verdict(StrEnum):
    CAPTURED = "captured"
    ACTION_REQUIRED = "action_required"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the gateway says of a charge; `reason` is one of our reason codes, `url` where the customer's bank asks."""

    verdict: Verdict
    reason: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class CardToken:
    """Stands for a card at its gateway; may be stored."""

    token: str
    brand: str
    last4: str


class NoticeKind(StrEnum):
    CHARGE = "charge"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    CHARGEBACK = "chargeback"


@dataclass(frozen=True, slots=True)
class Notice:
    """A callback: something happened to a charge or refund of ours. Only a hint: what happened is asked."""

    kind: NoticeKind
    key: str
    detail: str = ""


class RefundRefused(Exception):
    """The gateway will never make this refund; the message is its reason code."""


class Gateway(Protocol):
    """Every method may raise GatewayTrouble."""

    @property
    def name(self) -> str: ...

    def tokenise(self, card: Card, *, key: str) -> CardToken:
        """Leave the card with the gateway under a key of ours, to be charged any number of times. Moves no money; safe
        to repeat.

        Raises CardRefused.
        """
        ...

    def forget_left(self, key: str) -> None:
        """Have the gateway drop whatever was left under a key: also when its token never came back. Safe to repeat."""
        ...

    def forget(self, token: str) -> None:
        """Have the gateway drop a card. Safe to repeat."""
        ...

    def charge(self, *, key: str, amount: Money, source: Card | str) -> Outcome:
        """Charge a card, or the one behind a token, once per key: again with the same key gives the same outcome."""
        ...

    def confirm(self, *, key: str, amount: Money, otp: str) -> Outcome:
        """Pass on the bank's one-time password; ACTION_REQUIRED again when it is wrong."""
        ...

    def look_up(self, *, key: str, amount: Money) -> Outcome | None:
        """What became of a charge; None when the gateway has never heard of the key."""
        ...

    def cancel(self, *, key: str, amount: Money) -> Outcome:
        """Give a charge up: unless it answers CAPTURED, nothing will ever be captured under this key."""
        ...

    def refund(self, *, key: str, charge_key: str, amount: Money, retries: int = 0) -> None:
        """Give back part or all of a captured charge, once per key. Raises RefundRefused.

        A refusal is final until a person has it tried again: with more `retries` than before it is weighed anew.
        """
        ...

    def read_notice(self, body: bytes, headers: Mapping[str, str]) -> Notice | None:
        """What a callback says, or None for what does not concern us. Raises NoticeRefused."""
        ...

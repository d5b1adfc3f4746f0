"""Money: integer minor units and an ISO 4217 code. Never floats, never a sum of two currencies."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_MINOR = 10**15
"""Largest amount accepted, in minor units: far above any bill, far below the 63 bits of the column."""

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["LKR"])]


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies were combined."""


class Money(BaseModel):
    """`{"amount_minor": 120000, "currency": "LKR"}` is 1,200.00 rupees."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    amount_minor: int = Field(ge=-MAX_MINOR, le=MAX_MINOR, description="integer minor units (cents)")
    currency: Currency

    def __eq__(self, other: object) -> bool:
        """By value: what a client sent (PositiveMoney) equals the same Money."""
        if not isinstance(other, Money):
            return NotImplemented
        return (self.amount_minor, self.currency) == (other.amount_minor, other.currency)

    def __hash__(self) -> int:
        return hash((self.amount_minor, self.currency))

    def __add__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(amount_minor=self.amount_minor + other.amount_minor, currency=self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(amount_minor=self.amount_minor - other.amount_minor, currency=self.currency)

    def __str__(self) -> str:
        sign = "-" if self.amount_minor < 0 else ""
        whole, cents = divmod(abs(self.amount_minor), 100)
        return f"{self.currency} {sign}{whole:,}.{cents:02d}"

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency}")


class PositiveMoney(Money):
    """An amount that a client may ask to move: at least one minor unit."""

    amount_minor: int = Field(gt=0, le=MAX_MINOR, description="integer minor units (cents), above zero")

"""What usage costs, as values: no tables here.

A month's charge is a function of the month's records alone, so it does not matter in which order, in what batches or
how late they come: each record costs what it adds to the charge.
"""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from billing.models.usage import HOME

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", examples=["data_mb", "voice_s", "sms"])]
Zone = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", examples=["home", "zone_1"])]
MAX_PRICE_MINOR = 10**9
MAX_QUANTITY = 10**12


class Tier(BaseModel):
    """A price for each unit up to a monthly quantity; the last tier has no end."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    up_to: int | None = Field(default=None, gt=0, le=MAX_QUANTITY)
    price_minor: int = Field(ge=0, le=MAX_PRICE_MINOR, description="per unit")


class Rate(BaseModel):
    """The price of one kind of usage in one zone.

    A record's quantity is rounded up to whole units (`unit`: 60 charges seconds by the minute). `included` is free each
    month, what goes beyond costs its tier's price, and `per_record_minor` is a flat charge for every record besides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Kind
    zone: Zone = HOME
    name: str = Field(min_length=1, max_length=100, description="how the invoice calls it")
    unit: int = Field(default=1, ge=1, le=10**9)
    included: int = Field(
        default=0, ge=0, le=MAX_QUANTITY, description="of the kind's own measure, free each month"
    )
    per_record_minor: int = Field(default=0, ge=0, le=MAX_PRICE_MINOR)
    tiers: tuple[Tier, ...] = Field(
        default=(), max_length=10, description="counted in quantity beyond what is included"
    )

    @model_validator(mode="after")
    def _in_whole_units(self) -> Self:
        bounds = [tier.up_to for tier in self.tiers]
        limits = [bound for bound in bounds[:-1] if bound is not None]
        if any(bound is None for bound in bounds[:-1]) or (bounds and bounds[-1] is not None):
            raise ValueError("the last tier, and only that, has no up_to")
        if any(low >= high for low, high in pairwise(limits)):
            raise ValueError("the tiers' up_to must rise")
        if self.included % self.unit or any(limit % self.unit for limit in limits):
            raise ValueError("included and up_to must be whole units")
        return self

    def in_units(self, quantity: int) -> int:
        """A record's quantity as it counts: rounded up to whole units."""
        return -(-quantity // self.unit) * self.unit

    def charge(self, records: int, quantity: int) -> int:
        """Minor units for a month with so many records and so much counted quantity."""
        total, below = records * self.per_record_minor, 0
        beyond = max(0, quantity - self.included)
        for tier in self.tiers:
            upper = beyond if tier.up_to is None else min(beyond, tier.up_to)
            total += max(0, upper - below) // self.unit * tier.price_minor
            below = max(below, upper)
        return total


RATES = TypeAdapter(tuple[Rate, ...])

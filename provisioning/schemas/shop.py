"""Around the catalogue: ring tones, wishlists, free numbers."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, Field

from common.db import PageQuery
from common.schemas import Body
from provisioning.models import OfferingState, RingTone, StockItem, ToneState, Wish
from provisioning.schemas.sales import Code, OfferingOut, Text, printable

Genre = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40, examples=["baila"])]


class RingToneIn(Body):
    code: Code
    title: Text
    artist: Text
    genre: Genre


class RingToneOut(BaseModel):
    id: str
    code: str
    title: str
    artist: str
    genre: str

    @classmethod
    def of(cls, tone: RingTone) -> Self:
        return cls.model_validate(tone, from_attributes=True)


class AdminRingToneOut(RingToneOut):
    state: ToneState
    created_at: datetime
    updated_at: datetime


class RingTonesQuery(PageQuery):
    query: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(printable)] | None = Field(
        default=None, description="part of a title, an artist or a code"
    )
    genre: str | None = Field(default=None, max_length=40)


class AdminRingTonesQuery(RingTonesQuery):
    state: ToneState | None = None


class WishOut(BaseModel):
    """`available` is whether it is still sold."""

    id: str
    offering: OfferingOut
    available: bool
    created_at: datetime

    @classmethod
    def of(cls, wish: Wish) -> Self:
        return cls(
            id=wish.id,
            offering=OfferingOut.of(wish.offering),
            available=wish.offering.state is OfferingState.ACTIVE,
            created_at=wish.created_at,
        )


class NumbersQuery(PageQuery):
    contains: str | None = Field(default=None, pattern=r"^[0-9]{1,15}$", description="digits in a row")


class NumberOut(BaseModel):
    value: str

    @classmethod
    def of(cls, item: StockItem) -> Self:
        return cls(value=item.value)

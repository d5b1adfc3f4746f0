"""Requests and responses about postal addresses and lines."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from auth.models import Address, Line
from auth.schemas.fields import Label, Phone
from common.schemas import Body


class AddressIn(Body):
    label: Label = "home"
    line1: str = Field(min_length=1, max_length=200)
    line2: str | None = Field(default=None, max_length=200)
    city: str = Field(min_length=1, max_length=100)
    postal_code: str = Field(pattern=r"^[0-9A-Za-z -]{3,12}$", examples=["00100"])
    country: str = Field(default="LK", pattern=r"^[A-Z]{2}$")


class AddressChangeIn(Body):
    label: Label | None = None
    line1: str | None = Field(default=None, min_length=1, max_length=200)
    line2: str | None = Field(default=None, max_length=200)
    city: str | None = Field(default=None, min_length=1, max_length=100)
    postal_code: str | None = Field(default=None, pattern=r"^[0-9A-Za-z -]{3,12}$")
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")

    def changes(self) -> dict[str, Any]:
        """The fields that were given; only `line2` may be taken away."""
        given = self.model_dump(exclude_unset=True)
        return {name: value for name, value in given.items() if value is not None or name == "line2"}


class LineIn(Body):
    phone: Phone
    label: Label | None = None


class AddressOut(BaseModel):
    id: str
    label: str
    line1: str
    line2: str | None
    city: str
    postal_code: str
    country: str
    created_at: datetime

    @classmethod
    def of(cls, address: Address) -> Self:
        return cls.model_validate(address, from_attributes=True)


class LineOut(BaseModel):
    id: str
    phone: str
    label: str | None
    verified: bool
    created_at: datetime

    @classmethod
    def of(cls, line: Line) -> Self:
        return cls(
            id=line.id,
            phone=line.msisdn,
            label=line.label,
            verified=line.verified_at is not None,
            created_at=line.created_at,
        )

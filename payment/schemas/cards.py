"""Cards as they are given, and as they are shown once saved."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from common import clock
from common.schemas import Body
from payment.cards import Card, passes_luhn
from payment.models import SavedMethod
from payment.schemas.fields import digits


def _card_number(value: SecretStr) -> SecretStr:
    number = digits(value, r"[0-9]{12,19}", "not a card number")
    if not passes_luhn(number.get_secret_value()):
        raise ValueError("not a valid card number")
    return number


def _cvc(value: SecretStr) -> SecretStr:
    return digits(value, r"[0-9]{3,4}", "must have 3 or 4 digits")


class CardIn(Body):
    number: Annotated[SecretStr, Field(min_length=12, max_length=30), AfterValidator(_card_number)]
    exp_month: int = Field(ge=1, le=12)
    exp_year: int = Field(ge=2000, le=2100)
    cvc: Annotated[SecretStr, Field(min_length=3, max_length=4), AfterValidator(_cvc)]
    name: str = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _not_expired(self) -> Self:
        today = clock.today()
        if (self.exp_year, self.exp_month) < (today.year, today.month):
            raise ValueError("the card has expired")
        return self

    def card(self) -> Card:
        return Card(self.number, self.exp_month, self.exp_year, self.cvc, self.name)


class SavedMethodOut(BaseModel):
    id: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    expired: bool
    created_at: datetime

    @classmethod
    def of(cls, method: SavedMethod) -> Self:
        return cls(
            id=method.id,
            brand=method.brand,
            last4=method.last4,
            exp_month=method.exp_month,
            exp_year=method.exp_year,
            expired=method.expired,
            created_at=method.created_at,
        )

"""The catalogue, orders and services."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, field_validator, model_validator

from common import clock
from common.db import PageQuery
from common.errors import AppError
from common.ids import UUID_PATTERN
from common.money import MAX_MINOR, Currency, Money
from common.schemas import Body
from provisioning.models import (
    Category,
    Element,
    Offering,
    Order,
    OrderChange,
    OrderState,
    Part,
    Service,
    ServiceState,
)

LATEST_START = timedelta(days=90)


def printable(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("must not contain control characters")
    return value


Code = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64, examples=["data-5gb"])]
Text = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(printable)]
CharacteristicName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40, examples=["ring_tone"])
]
CharacteristicValue = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(printable)]
Characteristics = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=40)], CharacteristicValue],
    Field(max_length=20, examples=[{"ring_tone": "baila-beat"}]),
]


class CharacteristicType(StrEnum):
    CHOICE = "choice"
    PHONE = "phone"
    RING_TONE = "ring_tone"
    MSISDN = "msisdn"
    SIM = "sim"


class AllowedValue(Body):
    value: CharacteristicValue
    label: Text


class CharacteristicSpec(Body):
    """What an order of the offering says besides the offering: `choice` takes one of the allowed values, `phone` a
    number in E.164, `ring_tone` the code of any tone of `/ring-tones` (its allowed values are suggestions), `msisdn`
    and `sim` an item of stock, picked when the order names none. `changeable` ones may change on the live service."""

    name: CharacteristicName
    label: Text
    type: CharacteristicType
    required: bool = True
    changeable: bool = False
    allowed_values: list[AllowedValue] | None = Field(default=None, max_length=300)

    @model_validator(mode="after")
    def _choices(self) -> Self:
        if self.type is CharacteristicType.CHOICE and not self.allowed_values:
            raise ValueError("a choice has allowed_values")
        if self.allowed_values and self.type not in (CharacteristicType.CHOICE, CharacteristicType.RING_TONE):
            raise ValueError("only a choice or a ring tone has allowed_values")
        if self.changeable and self.type in (CharacteristicType.MSISDN, CharacteristicType.SIM):
            raise ValueError("an item of stock stays with its service")
        return self


class Allowance(Body):
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40, examples=["data_mb"])]
    amount: int = Field(gt=0, le=10**9)


PARTS_SAY = {
    "element", "characteristics", "allowances", "requires_kyc", "stackable", "validity_days", "recurring",
}  # fmt: skip


class OfferingIn(Body):
    """An offering as the operator writes it. Of a bundle the parts say everything but names, price and rules."""

    code: Code
    name: Text
    description: str = Field(min_length=1, max_length=1000)
    category: Category
    price_minor: int = Field(ge=0, le=MAX_MINOR)
    currency: Currency = "LKR"
    validity_days: int | None = Field(default=None, ge=1, le=3660)
    recurring: bool = False
    requires_kyc: bool = False
    stackable: bool = Field(default=False, description="may be bought again while it is active")
    element: Element | None = Field(
        default=None, description="which network element is told; needed but for bundles"
    )
    characteristics: list[CharacteristicSpec] = Field(default=[], max_length=20)
    allowances: list[Allowance] = Field(default=[], max_length=20)
    requires: list[Code] = Field(default=[], max_length=50, description="codes that the customer must have")
    excludes: list[Code] = Field(default=[], max_length=50, description="codes that it does not go with")
    bundles: list[Code] = Field(
        default=[], max_length=10, description="codes of the offerings that it is made of"
    )

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [spec.name for spec in self.characteristics]
        kinds = [allowance.kind for allowance in self.allowances]
        if len(set(names)) < len(names) or len(set(kinds)) < len(kinds):
            raise ValueError("a characteristic's name and an allowance's kind come once")
        return self

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.bundles:
            if self.element is None:
                raise ValueError("an offering that is no bundle has an element")
            return self
        if len(set(self.bundles)) != len(self.bundles) or len(self.bundles) < 2:
            raise ValueError("a bundle has at least two different parts")
        if given := sorted(self.model_fields_set & PARTS_SAY):
            raise ValueError(f"of a bundle its parts say {', '.join(given)}")
        return self


class OfferingOut(BaseModel):
    id: str
    code: str
    name: str
    description: str
    category: Category
    price: Money
    validity_days: int | None
    recurring: bool
    requires_kyc: bool
    characteristics: list[CharacteristicSpec]
    allowances: list[Allowance]
    bundles: list[str] = Field(description="codes of the offerings that it is made of")

    @classmethod
    def of(cls, offering: Offering) -> Self:
        return cls(
            id=offering.id,
            code=offering.code,
            name=offering.name,
            description=offering.description,
            category=offering.category,
            price=Money(amount_minor=offering.price_minor, currency=offering.currency),
            validity_days=offering.validity_days,
            recurring=offering.recurring,
            requires_kyc=offering.requires_kyc,
            characteristics=[
                CharacteristicSpec.model_validate(c, strict=False) for c in offering.characteristics
            ],
            allowances=[Allowance.model_validate(a) for a in offering.allowances],
            bundles=offering.bundles,
        )


class OfferingsQuery(PageQuery):
    category: Category | None = None


class OrdersQuery(PageQuery):
    state: OrderState | None = None


class ServicesQuery(PageQuery):
    state: ServiceState | None = None


class OrderIn(Body):
    offering_id: Annotated[str, Field(pattern=f"^{UUID_PATTERN}$")]
    characteristics: Characteristics = Field(default_factory=dict)
    starts_at: AwareDatetime | None = Field(
        default=None, description="when to switch it on, if not at once; up to 90 days ahead", strict=False
    )

    @field_validator("starts_at")
    @classmethod
    def _soon(cls, at: datetime | None) -> datetime | None:
        if at is not None and not clock.now() <= at <= clock.now() + LATEST_START:
            raise ValueError("must be within the next 90 days")
        return at and at.astimezone(UTC)


class ServiceIn(Body):
    characteristics: Characteristics | None = None
    renews: bool | None = Field(default=None, description="whether it is renewed before it ends")


class Obstacle(BaseModel):
    """The refusal that an order would get."""

    code: str
    detail: str


class EligibilityOut(BaseModel):
    eligible: bool
    reasons: list[Obstacle]

    @classmethod
    def of(cls, obstacles: list[AppError]) -> Self:
        reasons = [Obstacle(code=one.code, detail=one.detail or one.title) for one in obstacles]
        return cls(eligible=not reasons, reasons=reasons)


class OrderedOffering(BaseModel):
    """The offering as it was when the order was placed."""

    id: str
    code: str
    name: str
    category: Category


class OrderOut(BaseModel):
    id: str
    number: str
    state: OrderState
    offering: OrderedOffering
    characteristics: dict[str, str]
    parts: list[OrderedOffering] = Field(description="what a bundle is made of")
    total: Money
    starts_at: datetime | None
    renews_service_id: str | None
    payment_id: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, order: Order) -> Self:
        return cls(**order_fields(order))


class OrderChangeOut(BaseModel):
    """The state from then on, and why."""

    state: OrderState
    reason: str
    at: datetime

    @classmethod
    def of(cls, change: OrderChange) -> Self:
        return cls(state=change.state, reason=change.reason, at=change.at)


class OrderDetailOut(OrderOut):
    history: list[OrderChangeOut]

    @classmethod
    def told(cls, order: Order, history: Sequence[OrderChange]) -> Self:
        return cls(**order_fields(order), history=[OrderChangeOut.of(change) for change in history])


class UsedAllowance(BaseModel):
    kind: str
    granted: int
    used: int


class ServiceOut(BaseModel):
    id: str
    order_id: str
    state: ServiceState
    offering: OrderedOffering
    characteristics: dict[str, str]
    allowances: list[UsedAllowance]
    activated_at: datetime | None
    expires_at: datetime | None
    renews: bool
    renewal_order_id: str | None = Field(description="the order that prolongs it")
    deactivation_requested_at: datetime | None = Field(description="asked for, the network is being told")
    terminated_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, service: Service) -> Self:
        return cls(
            id=service.id,
            order_id=service.order_id,
            state=service.state,
            offering=_offering(service),
            characteristics=service.characteristics,
            allowances=[UsedAllowance.model_validate(allowance) for allowance in service.allowances],
            activated_at=service.activated_at,
            expires_at=service.expires_at,
            renews=service.renews,
            renewal_order_id=service.renewal_order_id,
            deactivation_requested_at=service.deactivation_requested_at,
            terminated_at=service.terminated_at,
            created_at=service.created_at,
        )


def _offering(bought: Order | Service | Part) -> OrderedOffering:
    return OrderedOffering(
        id=bought.offering_id, code=bought.offering_code, name=bought.offering_name, category=bought.category
    )


def order_fields(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "number": order.number,
        "state": order.state,
        "offering": _offering(order),
        "characteristics": order.characteristics,
        "parts": [_offering(part) for part in order.parts] if order.bundled else [],
        "total": order.total,
        "starts_at": order.starts_at,
        "renews_service_id": order.renews_service_id,
        "payment_id": order.payment_id,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
    }
